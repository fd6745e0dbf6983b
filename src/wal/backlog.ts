/** Packets that arrived while nobody took them, copied out of the reader's buffer. */
export class Backlog {
  #packets: Buffer[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get length(): number {
    return this.#packets.length;
  }

  push(packet: Buffer): void {
    this.#packets.push(Buffer.from(packet));
    this.#bytes += packet.length;
  }

  /** Hands the packets over, oldest first, until `take` answers false; the rest stays. */
  drain(take: (packet: Buffer) => boolean): void {
    let taken = 0;
    for (; taken < this.#packets.length; taken++) {
      const packet = this.#packets[taken] as Buffer;
      this.#bytes -= packet.length;
      if (!take(packet)) {
        taken++;
        break;
      }
    }
    this.#packets = this.#packets.slice(taken);
  }

  clear(): void {
    this.#packets = [];
    this.#bytes = 0;
  }
}
