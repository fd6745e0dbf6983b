/**
 * Memory for small buffers that are kept for long and dropped in the order of their creation.
 * Node's own pool shares each 8 kB with everything else in the process: one kept small buffer would
 * keep all of it.
 */

/**
 * Bytes of one block. It is small, since one buffer that a slow socket keeps for longer keeps the
 * whole block.
 */
const BLOCK_BYTES = 8 * 1024;
/** Maximum bytes of a buffer in a block. A larger buffer gets memory of its own. */
const SMALL_BYTES_MAX = 1024;

export class Arena {
  #buffer = Buffer.alloc(0);
  #used = 0;

  /** Returns a buffer of this many bytes, with arbitrary content. */
  allocate(bytes: number): Buffer {
    if (bytes > SMALL_BYTES_MAX) return Buffer.allocUnsafeSlow(bytes);
    if (this.#used + bytes > this.#buffer.length) {
      this.#buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += bytes;
    return this.#buffer.subarray(start, this.#used);
  }
}
