/**
 * Passes messages on between the processes that serve clients. Each process of this machine has a
 * port, and so has the network of machines. What comes in at one port goes out at all others, at
 * most once and in order.
 */

/** One end of the switch. */
export interface PeerPort {
  send(message: Buffer): void;
  detach(): void;
}

export class PeerSwitch {
  readonly #ports = new Map<PeerPort, (message: Buffer) => void>();

  /** Whether there is one port at most: no process to talk to. */
  get isIdle(): boolean {
    return this.#ports.size <= 1;
  }

  /** `deliver`: takes the messages that come in at other ports. */
  attach(deliver: (message: Buffer) => void): PeerPort {
    const port = {
      send: (message: Buffer) => {
        for (const [other, take] of this.#ports) if (other !== port) take(message);
      },
      detach: () => {
        this.#ports.delete(port);
      },
    };
    this.#ports.set(port, deliver);
    return port;
  }
}
