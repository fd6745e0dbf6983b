/**
 * Adds the old values of rows to an encoding, for subscriptions that asked for them. Entries that
 * have none are encoded as without it.
 */
import type { Entry } from '../commit/entry.ts';
import type { EncodedForms } from '../fanout/encoded-forms.ts';
import type { Encoding, UnstoredType } from '../fanout/encoding.ts';
import { withOldValues } from '../memory/old-values.ts';
import { type Payload, PayloadArena } from '../memory/payload.ts';
import type { ServerFrame } from '../protocol.ts';

/** Payloads that are made here may wait in slow sockets. */
const KEPT = new PayloadArena();

export class WithOldValues implements Encoding {
  readonly #form: Encoding;
  readonly #forms: EncodedForms;

  /** `form`: the encoding without old values. `forms`: keeps encoded entries for later clients. */
  constructor(form: Encoding, forms: EncodedForms) {
    this.#form = form;
    this.#forms = forms;
  }

  entry(entry: Entry): Buffer {
    if (entry.old === undefined) return this.#form.entry(entry);
    const kept = this.#forms.of(entry, this);
    if (kept !== undefined) return kept;
    const made = this.#form.unstored('changes', withOldValues(entry.payload, entry.old, KEPT));
    this.#forms.keep(entry, this, made);
    return made;
  }

  tail(entry: Entry, endsCommit: boolean): Buffer | undefined {
    return this.#form.tail?.(entry, endsCommit);
  }

  snapshot(payload: Payload, channel: string): Buffer | Promise<Buffer> {
    return this.#form.snapshot(payload, channel);
  }

  unstored(type: UnstoredType | 'changes', payload: Payload): Buffer {
    return this.#form.unstored(type, payload);
  }

  control(frame: ServerFrame): Buffer {
    return this.#form.control(frame);
  }
}
