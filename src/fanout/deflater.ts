/**
 * Compresses frames for clients that accept compressed frames. Each frame is compressed once, when
 * the first such client is to receive it. The newest copies of journal frames are kept for later
 * clients, up to a maximum of bytes.
 *
 * Small frames are not compressed. Large journal frames are sent uncompressed: live clients must
 * not wait for another thread, and other clients must not wait for this thread. Large snapshot
 * frames are compressed on another thread.
 */

import type { DeflatedCopy, Entry } from '../commit/entry.ts';
import { Deque } from '../deque.ts';
import { Slab } from '../memory/arena.ts';
import { deflatedFrame, deflatedFrameLater } from '../websocket/deflated-frame.ts';

export interface DeflaterOptions {
  /** Minimum bytes of a frame to compress. 0: no frame is compressed. */
  readonly bytesMin: number;
  /** Maximum bytes of all copies together. */
  readonly copiesBytesMax: number;
  /** Called after a frame was compressed. */
  readonly deflated: (bytesBefore: number, bytesAfter: number) => void;
}

/** Maximum bytes of a frame compressed on this thread. Takes about a millisecond. */
const ON_THIS_THREAD_BYTES_MAX = 64 * 1024;
/**
 * Maximum bytes of a frame compressed on another thread. A larger frame would need as much memory
 * again, and occupy a thread for long.
 */
const ON_ANOTHER_THREAD_BYTES_MAX = 8 * 1024 ** 2;
/** Bytes that a copy costs beside its content. */
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

  /** Returns the entry's frame as sent to clients that accept compressed frames. */
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

  /** Does the same for a snapshot frame. */
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
    // 0 bytes: the copy is the frame itself, held by the journal. It must not be held longer than
    // there.
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
