import { Cork } from './cork.ts';

/**
 * Maximum bytes written to a socket at once during catch-up or for one large frame. More would only
 * be encrypted before the network accepts it, into memory that no cache holds.
 */
export const SLICE_BYTES = 256 * 1024;
/**
 * Maximum bytes of a slice for a new TLS socket. Node keeps a buffer for the largest write of a TLS
 * socket until it closes: for four TLS records here, for five with one byte more.
 */
export const SMALL_SLICE_BYTES = 64 * 1024 - 1;
/**
 * After this many bytes in slices, a TLS socket gets large ones. By then its small slices have cost
 * as much processor time as the larger buffer will.
 */
export const SMALL_SLICES_BYTES = 3 * 1024 ** 2;
/**
 * Minimum bytes of a slice. A slice is halved until it is at most what a socket may hold, counting
 * at least SOCKETS_MIN sockets, or reaches this minimum.
 */
export const SLICE_BYTES_MIN = 16 * 1024;
const SOCKETS_MIN = 500;

const BURST_BYTES_MIN = 64 * 1024;
const BURST_BYTES_MAX = 256 * 1024;

/**
 * Limits the bytes queued in client sockets. One socket may hold `bytesMax`. All sockets that
 * currently accept no more share `totalBytesMax` equally. So the more clients stall, the sooner
 * each of them falls behind.
 */
export class OutboundBudget {
  readonly cork: Cork;
  readonly #bytesMax: number;
  readonly #totalBytesMax: number;
  /** Slice bytes while few sockets are backed up. */
  readonly #sliceBytesMax: number;
  #backedUp = 0;
  /** Bytes passed to all sockets so far. */
  sentBytes = 0;
  #bytesPerSocket: number;
  #sliceBytes: number;

  constructor(bytesMax: number, totalBytesMax = Number.POSITIVE_INFINITY, cork = new Cork(undefined)) {
    this.cork = cork;
    this.#bytesMax = bytesMax;
    this.#totalBytesMax = totalBytesMax;
    this.#bytesPerSocket = bytesMax;
    this.#sliceBytesMax = sliceOf(Math.min(bytesMax, totalBytesMax / SOCKETS_MIN));
    this.#sliceBytes = this.#sliceBytesMax;
  }

  /** Maximum bytes queued in one socket. */
  get bytesPerSocket(): number {
    return this.#bytesPerSocket;
  }

  /** Maximum bytes of a large frame written to a socket at once. */
  get sliceBytes(): number {
    return this.#sliceBytes;
  }

  /** A socket that holds fewer bytes receives the next slice. */
  get lowBytes(): number {
    // While there is room for all, the next slice is ready when the first has been sent.
    return this.#sliceBytes === this.#sliceBytesMax ? this.#sliceBytes : this.#sliceBytes / 2;
  }

  /** Maximum bytes of catch-up written to a socket at once. */
  get segmentBytes(): number {
    return Math.min(this.#sliceBytes, this.#bytesMax);
  }

  /**
   * Bytes of events that should be written to each of so many sockets at once, at most: few large
   * pieces cost less than many, but all sockets together should not get more than they may hold.
   */
  burstBytes(sockets: number): number {
    const share = Math.min(this.#bytesMax, this.#totalBytesMax / Math.max(1, sockets));
    return Math.max(BURST_BYTES_MIN, Math.min(BURST_BYTES_MAX, share));
  }

  /** Number of sockets that currently accept no more. */
  get backedUp(): number {
    return this.#backedUp;
  }

  /** One more socket, or one fewer, is backed up. */
  count(change: 1 | -1): void {
    this.#backedUp += change;
    this.#bytesPerSocket = Math.min(this.#bytesMax, this.#totalBytesMax / Math.max(1, this.#backedUp));
    this.#sliceBytes = Math.min(this.#sliceBytesMax, sliceOf(this.#bytesPerSocket));
  }
}

/** Uses few sizes, so that clients that catch up from the same place share the same buffers. */
function sliceOf(bytesPerSocket: number): number {
  let bytes = SLICE_BYTES;
  while (bytes > bytesPerSocket && bytes > SLICE_BYTES_MIN) bytes /= 2;
  return bytes;
}
