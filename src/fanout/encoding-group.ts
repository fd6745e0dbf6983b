/** The connections of one encoding share bytes: what is sent to several of them is made once. */
import type { Entry } from '../commit/entry.ts';
import { type Encoding, tailOf } from './encoding.ts';
import { Segments } from './segments.ts';

/**
 * Maximum bytes of an encoded entry that is joined with others. A larger one costs more to copy
 * than to write separately.
 */
const JOINED_BYTES_MAX = 16 * 1_024;
const NOTHING: readonly never[] = [];

/**
 * The encodings that connections have used. A group stays when its last connection ends: clients
 * that come back read from the same place of the journal.
 */
export class EncodingGroups {
  readonly #groups = new Map<Encoding, EncodingGroup>();

  [Symbol.iterator](): Iterator<EncodingGroup> {
    return this.#groups.values();
  }

  /**
   * Returns the encoding's group, creating it if needed. A private encoding gets a new one each
   * time.
   */
  of(encoding: Encoding): EncodingGroup {
    if (encoding.isPrivate === true) return new EncodingGroup(encoding);
    let group = this.#groups.get(encoding);
    if (group === undefined) {
      group = new EncodingGroup(encoding);
      this.#groups.set(encoding, group);
    }
    return group;
  }

  /** Entries have been delivered: drops what `shared` has made. */
  forgetShared(): void {
    for (const group of this.#groups.values()) group.forgetShared();
  }
}

export class EncodingGroup {
  readonly encoding: Encoding;
  /** Joined entries for clients that catch up. */
  readonly segments: Segments;
  /** The entries that are being delivered, and their bytes. */
  #entries: readonly Entry[] = NOTHING;
  #pieces: readonly Buffer[] = NOTHING;

  constructor(encoding: Encoding) {
    this.encoding = encoding;
    this.segments = new Segments(encoding);
  }

  /**
   * Returns the entries as bytes. Called for one connection after the other with the same array,
   * it makes the bytes once.
   */
  shared(entries: readonly Entry[]): readonly Buffer[] {
    if (this.#entries !== entries) {
      this.#pieces = this.join(entries);
      this.#entries = entries;
    }
    return this.#pieces;
  }

  forgetShared(): void {
    this.#entries = NOTHING;
    this.#pieces = NOTHING;
  }

  /**
   * Returns the entries as bytes. Adjacent small entries are joined, large ones stay separate.
   * `groups`: those of the entries, in their order. Undefined: all are of this group.
   */
  join(entries: readonly Entry[], groups?: readonly EncodingGroup[]): readonly Buffer[] {
    const pieces: Buffer[] = [];
    let small: Buffer[] = [];
    const join = () => {
      if (small.length > 0) pieces.push(small.length === 1 ? (small[0] as Buffer) : Buffer.concat(small));
      small = [];
    };
    for (let index = 0; index < entries.length; index++) {
      const entry = entries[index] as Entry;
      const { encoding } = groups?.[index] ?? this;
      const bytes = encoding.entry(entry);
      if (bytes.length <= JOINED_BYTES_MAX) {
        small.push(bytes);
      } else {
        join();
        pieces.push(bytes);
      }
      const tail = tailOf(encoding, entry, entries[index + 1]);
      if (tail !== undefined) small.push(tail);
    }
    join();
    return pieces;
  }
}
