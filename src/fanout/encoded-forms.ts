/**
 * Keeps encoded entries that were costly to make, such as compressed ones. The newest are kept with
 * their entries for later clients, up to a maximum of bytes for all encodings together.
 */
import type { EncodedForm, Entry } from '../commit/entry.ts';
import { Deque } from '../deque.ts';

/** Bytes of memory that a form costs beside its content. */
const FORM_OVERHEAD_BYTES = 160;

export class EncodedForms {
  readonly #bytesMax: number;
  /** The forms that hold bytes, oldest first. */
  readonly #forms = new Deque<EncodedForm>();
  #bytes = 0;

  /** `bytesMax`: maximum bytes of all forms together. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes of the forms that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Returns the entry's form of this encoding. Undefined: none is kept. */
  of(entry: Entry, encoding: object): Buffer | undefined {
    return formOf(entry, encoding)?.bytes;
  }

  /** Keeps a form that is not kept yet. An empty form counts no bytes and stays with the entry. */
  keep(entry: Entry, encoding: object, bytes: Buffer): void {
    const known = formOf(entry, encoding);
    const form = known ?? { encoding, bytes, next: entry.forms };
    if (known === undefined) entry.forms = form;
    else known.bytes = bytes;
    if (bytes.length === 0) return;
    this.#forms.push(form);
    this.#bytes += bytes.length + FORM_OVERHEAD_BYTES;
    while (this.#bytes > this.#bytesMax) {
      const dropped = this.#forms.shift();
      if (dropped?.bytes === undefined) return;
      this.#bytes -= dropped.bytes.length + FORM_OVERHEAD_BYTES;
      dropped.bytes = undefined;
    }
  }
}

function formOf(entry: Entry, encoding: object): EncodedForm | undefined {
  let form = entry.forms;
  while (form !== undefined && form.encoding !== encoding) form = form.next;
  return form;
}
