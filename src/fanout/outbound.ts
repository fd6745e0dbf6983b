/**
 * What a socket is given at a time of what it has not been waiting for: a large frame, or the past. More would only be encrypted
 * before the network takes it, into memory that no cache holds.
 */
export const SLICE_BYTES = 256 * 1024;
/** Halved until it is no more than the share of a socket, were there SHARES_MIN at least, but not below this. */
const SLICE_BYTES_MIN = 16 * 1024;
const SHARES_MIN = 500;

/**
 * How much may wait in client sockets: of each one `bytesMax`, and of those together that take no more just now `totalBytesMax`, in equal
 * shares. So the more clients stall, the sooner each of them is behind.
 */
export class OutboundBudget {
  readonly #bytesMax: number;
  readonly #totalBytesMax: number;
  /** While few take nothing. */
  readonly #sliceBytesMax: number;
  #backedUp = 0;
  #share: number;
  #sliceBytes: number;

  constructor(bytesMax: number, totalBytesMax = Number.POSITIVE_INFINITY) {
    this.#bytesMax = bytesMax;
    this.#totalBytesMax = totalBytesMax;
    this.#share = bytesMax;
    this.#sliceBytesMax = sliceOf(Math.min(bytesMax, totalBytesMax / SHARES_MIN));
    this.#sliceBytes = this.#sliceBytesMax;
  }

  /** Bytes that may wait in one socket. */
  get share(): number {
    return this.#share;
  }

  /** What a socket is given at a time of a large frame. */
  get sliceBytes(): number {
    return this.#sliceBytes;
  }

  /** A socket that holds less is given the next. */
  get lowBytes(): number {
    // where there is room for all, the next is there when the first has gone out
    return this.#sliceBytes === this.#sliceBytesMax ? this.#sliceBytes : this.#sliceBytes / 2;
  }

  /** What it is given at a time of the past. */
  get segmentBytes(): number {
    return Math.min(this.#sliceBytes, this.#bytesMax);
  }

  /** How many sockets take no more just now. */
  get backedUp(): number {
    return this.#backedUp;
  }

  /** One more socket takes nothing, or one fewer. */
  count(change: 1 | -1): void {
    this.#backedUp += change;
    this.#share = Math.min(this.#bytesMax, this.#totalBytesMax / Math.max(1, this.#backedUp));
    this.#sliceBytes = Math.min(this.#sliceBytesMax, sliceOf(this.#share));
  }
}

/** Few sizes, so that those who read the past at the same place are given the same. */
function sliceOf(share: number): number {
  let bytes = SLICE_BYTES;
  while (bytes > share && bytes > SLICE_BYTES_MIN) bytes /= 2;
  return bytes;
}
