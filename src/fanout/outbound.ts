/**
 * What a socket is given at a time of what it has not been waiting for: a large frame, or the past. More would only be encrypted
 * before the network takes it, into memory that no cache holds.
 */
export const SLICE_BYTES = 256 * 1024;
/** Less, where so many slices would be more than may wait in all sockets; but not less than the smallest. */
const SLICES_MIN = 1_000;
const SLICE_BYTES_MIN = 64 * 1024;

/**
 * How much may wait in client sockets: of each one `bytesMax`, and of those together that take no more just now `totalBytesMax`, in equal
 * shares. So the more clients stall, the sooner each of them is behind.
 */
export class OutboundBudget {
  /** What a socket is given at a time of a large frame, or of the past. */
  readonly sliceBytes: number;
  readonly #bytesMax: number;
  readonly #totalBytesMax: number;
  #backedUp = 0;
  #share: number;

  constructor(bytesMax: number, totalBytesMax = Number.POSITIVE_INFINITY) {
    this.#bytesMax = bytesMax;
    this.#totalBytesMax = totalBytesMax;
    this.#share = bytesMax;
    this.sliceBytes = Math.min(SLICE_BYTES, Math.max(SLICE_BYTES_MIN, totalBytesMax / SLICES_MIN));
  }

  /** Bytes that may wait in one socket. */
  get share(): number {
    return this.#share;
  }

  /** How many sockets take no more just now. */
  get backedUp(): number {
    return this.#backedUp;
  }

  /** One more socket takes nothing, or one fewer. */
  count(change: 1 | -1): void {
    this.#backedUp += change;
    this.#share = Math.min(this.#bytesMax, this.#totalBytesMax / Math.max(1, this.#backedUp));
  }
}
