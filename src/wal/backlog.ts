const COMPACT_FROM = 1_024;

/** Packets that arrived while the handler took none, copied out of the reader's buffer. */
export class Backlog {
  #packets: Buffer[] = [];
  /** Index of the oldest packet that has not been delivered. */
  #next = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get length(): number {
    return this.#packets.length - this.#next;
  }

  push(packet: Buffer): void {
    this.#packets.push(Buffer.from(packet));
    this.#bytes += packet.length;
  }

  /**
   * Delivers the packets, oldest first, until `take` returns false; the rest stays. `take` may
   * drain as well.
   */
  drain(take: (packet: Buffer) => boolean): void {
    while (this.length > 0) {
      const packet = this.#packets[this.#next++] as Buffer;
      this.#bytes -= packet.length;
      this.#compact();
      if (!take(packet)) return;
    }
  }

  clear(): void {
    this.#packets = [];
    this.#next = 0;
    this.#bytes = 0;
  }

  /** Drops delivered packets, rarely enough to cost little. */
  #compact(): void {
    if (this.length === 0) this.clear();
    else if (this.#next >= COMPACT_FROM && this.#next >= this.length) {
      this.#packets = this.#packets.slice(this.#next);
      this.#next = 0;
    }
  }
}
