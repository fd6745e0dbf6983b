/**
 * What a channel has from some entry on, joined into one buffer. Those who read from the journal at the same place, since they resumed
 * together or fell behind together, get the same buffers: the bytes are joined once, and each socket is written to once for many events.
 */
import type { ChannelLog, Entry } from '../journal/journal.ts';

/** Bytes of segments that are kept for the next one at the same place. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;

export interface Segment {
  readonly bytes: Buffer;
  readonly count: number;
  /** Of its last entry. */
  readonly sequence: number;
}

type Form = (entry: Entry) => Buffer;

export class Segments {
  readonly #form: Form;
  /** By its bound, channel and the sequence of its first entry. */
  readonly #kept = new Map<string, Segment>();
  #keptBytes = 0;

  /** `form` is an entry's frame as it is sent. */
  constructor(form: Form) {
    this.#form = form;
  }

  /** From the first entry after `cursor` on, of at most `bytesMax` where it has more than one; undefined where there is none. */
  after(log: ChannelLog, cursor: number, bytesMax: number): Segment | undefined {
    const index = log.firstAfter(cursor);
    const first = log.at(index);
    if (first === undefined) return undefined;
    const key = `${bytesMax} ${first.sequence} ${log.name}`;
    const known = this.#kept.get(key);
    if (known !== undefined) return known;
    const segment = this.#make(log, index, bytesMax);
    // alone it is no copy, and there will be more behind it soon
    if (segment.count > 1) this.#keep(key, segment);
    return segment;
  }

  #make(log: ChannelLog, from: number, bytesMax: number): Segment {
    const frames: Buffer[] = [];
    let bytes = 0;
    let sequence = 0;
    for (let index = from; ; index++) {
      const entry = log.at(index);
      if (entry === undefined) break;
      const frame = this.#form(entry);
      if (frames.length > 0 && bytes + frame.length > bytesMax) break;
      frames.push(frame);
      bytes += frame.length;
      sequence = entry.sequence;
    }
    const [only] = frames;
    return {
      bytes: frames.length === 1 && only !== undefined ? only : Buffer.concat(frames, bytes),
      count: frames.length,
      sequence,
    };
  }

  #keep(key: string, segment: Segment): void {
    this.#kept.set(key, segment);
    this.#keptBytes += segment.bytes.length;
    for (const [oldest, { bytes }] of this.#kept) {
      if (this.#keptBytes <= KEPT_BYTES_MAX) return;
      this.#kept.delete(oldest);
      this.#keptBytes -= bytes.length;
    }
  }
}
