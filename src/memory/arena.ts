/**
 * Memory for small buffers that are kept for long and dropped in the order of their creation.
 * Node's own pool shares each 8 kB with everything else in the process: one kept small buffer would
 * keep all of it.
 */

/**
 * Bytes of one slab. Not more, since one buffer that is kept longer, in a slow socket, keeps all of
 * it.
 */
const SLAB_BYTES = 8 * 1024;
/** Maximum bytes of a buffer in a slab. A larger buffer gets memory of its own. */
const SMALL_BYTES_MAX = 1024;

export class Slab {
  #buffer = Buffer.alloc(0);
  #used = 0;

  /**
   * Returns a buffer of this many bytes, with arbitrary content. `headroom`: number of bytes in
   * front of it that no other buffer uses.
   */
  allocate(bytes: number, headroom = 0): Buffer {
    const all = headroom + bytes;
    if (all > SMALL_BYTES_MAX) {
      const own = Buffer.allocUnsafeSlow(all);
      return headroom === 0 ? own : own.subarray(headroom);
    }
    if (this.#used + all > this.#buffer.length) {
      this.#buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    const start = this.#used + headroom;
    this.#used += all;
    return this.#buffer.subarray(start, this.#used);
  }
}
