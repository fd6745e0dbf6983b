/**
 * How much may wait in client sockets: of each one `bytesMax`, and of those together that take no more just now `totalBytesMax`, in equal
 * shares. So the more clients stall, the sooner each of them is behind.
 */
export class OutboundBudget {
  readonly #bytesMax: number;
  readonly #totalBytesMax: number;
  #backedUp = 0;
  #share: number;

  constructor(bytesMax: number, totalBytesMax = Number.POSITIVE_INFINITY) {
    this.#bytesMax = bytesMax;
    this.#totalBytesMax = totalBytesMax;
    this.#share = bytesMax;
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
