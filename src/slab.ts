/**
 * Memory for small buffers that are kept for long and given up in the order in which they were made. Node's own pool shares each 8 kB with
 * everything else that the process makes: one small buffer that is kept would keep all of it.
 */

/** Not larger, since one buffer that is kept longer than the others, in a slow socket, keeps all of it. */
const SLAB_BYTES = 8 * 1024;
/** A larger one gets memory of its own. */
const SMALL_BYTES_MAX = 1024;

export class Slab {
  #buffer = Buffer.alloc(0);
  #used = 0;

  /** A buffer of so many bytes, whatever they hold. */
  allocate(bytes: number): Buffer {
    if (bytes > SMALL_BYTES_MAX) return Buffer.allocUnsafeSlow(bytes);
    if (this.#used + bytes > this.#buffer.length) {
      this.#buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += bytes;
    return this.#buffer.subarray(start, this.#used);
  }
}
