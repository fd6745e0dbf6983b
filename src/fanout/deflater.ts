/**
 * Compresses frames for the clients that take them compressed: each once, when the first of them is to get it. Copies of what is in
 * the journal are kept for the next who wants them, the newest ones, within a bound of bytes of their own.
 *
 * Small frames are not worth it. Large ones in the journal are sent as they are, since whoever is live must not wait for another thread
 * and the others must not wait for this one; those of snapshots are compressed on another thread.
 */
import { deflatedFrame, deflatedFrameLater } from '../deflated-frame.ts';
import { Deque } from '../journal/deque.ts';
import type { DeflatedCopy, Entry } from '../journal/journal.ts';
import { Slab } from '../slab.ts';

export interface DeflaterOptions {
  /** Smaller frames are sent as they are; 0: all are. */
  readonly bytesMin: number;
  /** Bytes of all copies together. */
  readonly copiesBytesMax: number;
  /** A frame was compressed. */
  readonly deflated: (bytesBefore: number, bytesAfter: number) => void;
}

/** About a millisecond. */
const ON_THIS_THREAD_BYTES_MAX = 64 * 1024;
/** A larger one would need as much memory again, and hold a thread for long. */
const ON_ANOTHER_THREAD_BYTES_MAX = 8 * 1024 ** 2;
/** What a copy costs beside its bytes. */
const COPY_OVERHEAD_BYTES = 160;

export class Deflater {
  readonly #options: DeflaterOptions;
  readonly #copies = new Deque<DeflatedCopy>();
  readonly #slab = new Slab();
  #bytes = 0;

  constructor(options: DeflaterOptions) {
    this.#options = options;
  }

  /** Bytes of the copies that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The entry's frame as it goes to those who take compressed frames. */
  frameOf(entry: Entry): Buffer {
    const { frame, deflated } = entry;
    if (!this.#isWorthIt(frame, ON_THIS_THREAD_BYTES_MAX)) return frame;
    if (deflated?.frame !== undefined) return deflated.frame;
    const made = this.#counted(frame, deflatedFrame(frame, this.#slab));
    const copy: DeflatedCopy = { frame: made };
    entry.deflated = copy;
    this.#keep(copy, made === frame ? 0 : made.length);
    return made;
  }

  /** The same for a frame of a snapshot. */
  async snapshotFrame(frame: Buffer): Promise<Buffer> {
    if (!this.#isWorthIt(frame, ON_ANOTHER_THREAD_BYTES_MAX)) return frame;
    return this.#counted(frame, await deflatedFrameLater(frame));
  }

  #isWorthIt({ length }: Buffer, bytesMax: number): boolean {
    const { bytesMin } = this.#options;
    return bytesMin > 0 && length >= bytesMin && length <= bytesMax;
  }

  #counted(frame: Buffer, made: Buffer): Buffer {
    this.#options.deflated(frame.length, made.length);
    return made;
  }

  #keep(copy: DeflatedCopy, bytes: number): void {
    // where it is the frame itself the journal holds it; it must not be held for longer than there
    if (bytes === 0) return;
    this.#copies.push(copy);
    this.#bytes += bytes + COPY_OVERHEAD_BYTES;
    while (this.#bytes > this.#options.copiesBytesMax) {
      const dropped = this.#copies.shift();
      if (dropped?.frame === undefined) return;
      this.#bytes -= dropped.frame.length + COPY_OVERHEAD_BYTES;
      dropped.frame = undefined;
    }
  }
}
