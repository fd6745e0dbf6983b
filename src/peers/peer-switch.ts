/**
 * Passes messages between the processes that serve clients. Each process of this machine has a
 * port, and so has the connection to other machines. A message that enters at one port leaves at
 * all others, at most once and in order.
 */

/** One end of the switch. */
export interface PeerPort {
  send(message: Buffer): void;
  detach(): void;
}

export class PeerSwitch {
  readonly #ports = new Map<PeerPort, (message: Buffer) => void>();

  /** Whether at most one port is attached, so that messages would reach no process. */
  get isIdle(): boolean {
    return this.#ports.size <= 1;
  }

  /** Adds a port. `deliver` receives the messages that enter at other ports. */
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
