/**
 * A channel's entries from some entry on, joined into one buffer. Clients that read from the
 * journal at the same place, because they resumed or fell behind together, receive the same
 * buffers. The bytes are joined once, and each socket is written to once for many events.
 */
import type { ChannelLog } from '../journal/journal.ts';
import { type Encoding, tailOf } from './encoding.ts';

/** Maximum bytes of segments kept for later clients at the same place. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;

type EntryEncoding = Pick<Encoding, 'entry' | 'tail' | 'isPrivate'>;

export interface Segment {
  /** One buffer, or what an encoding makes of a single entry. */
  readonly pieces: readonly Buffer[];
  readonly bytes: number;
  readonly count: number;
  /** The connections that do not receive some entry of it. Undefined: each receives all. */
  readonly excepts: ReadonlySet<string> | undefined;
  /** Sequence of its last entry. */
  readonly sequence: number;
}

export class Segments {
  readonly #encoding: EntryEncoding;
  /** Key: maximum bytes, sequence of the first entry, channel. */
  readonly #kept = new Map<string, Segment>();
  #keptBytes = 0;

  constructor(encoding: EntryEncoding) {
    this.#encoding = encoding;
  }

  /**
   * Returns the segment from the first entry after `cursor`, or undefined if there is no entry. A
   * segment with several entries has at most `bytesMax` bytes.
   */
  after(log: ChannelLog, cursor: number, bytesMax: number): Segment | undefined {
    const index = log.firstAfter(cursor);
    const first = log.at(index);
    if (first === undefined) return undefined;
    const key = `${bytesMax} ${first.sequence} ${log.name}`;
    const known = this.#kept.get(key);
    if (known !== undefined) return known;
    const segment = this.#make(log, index, bytesMax);
    // A single entry needs no copy, and more entries will soon follow it.
    if (segment.count > 1 && this.#encoding.isPrivate !== true) this.#keep(key, segment);
    return segment;
  }

  #make(log: ChannelLog, from: number, bytesMax: number): Segment {
    const pieces: Buffer[] = [];
    let bytes = 0;
    let count = 0;
    let sequence = 0;
    let excepts: Set<string> | undefined;
    for (let index = from; ; index++) {
      const entry = log.at(index);
      if (entry === undefined) break;
      const piece = this.#encoding.entry(entry);
      const tail = tailOf(this.#encoding, entry, log.at(index + 1));
      const pieceBytes = piece.length + (tail?.length ?? 0);
      if (count > 0 && bytes + pieceBytes > bytesMax) break;
      pieces.push(piece);
      if (tail !== undefined) pieces.push(tail);
      bytes += pieceBytes;
      count++;
      sequence = entry.sequence;
      if (entry.except !== undefined) {
        excepts ??= new Set();
        excepts.add(entry.except);
      }
    }
    // A single entry may be large: it is not copied.
    return { pieces: count === 1 ? pieces : [Buffer.concat(pieces, bytes)], bytes, count, excepts, sequence };
  }

  #keep(key: string, segment: Segment): void {
    this.#kept.set(key, segment);
    this.#keptBytes += segment.bytes;
    for (const [oldest, { bytes }] of this.#kept) {
      if (this.#keptBytes <= KEPT_BYTES_MAX) return;
      this.#kept.delete(oldest);
      this.#keptBytes -= bytes;
    }
  }
}
