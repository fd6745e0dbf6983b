/** A connection that is not a client yet. */
import type { Socket } from 'node:net';
import { type Cancel, noTimer } from '../../clock.ts';

/** The two ends of a connection identify it, through TLS too. */
export type Ends = Pick<Socket, 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort'>;

export function idOf({ remoteAddress, remotePort, localAddress, localPort }: Ends): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

export class Guest {
  readonly id: string;
  readonly socket: Socket;
  readonly #onSettled: (guest: Guest) => void;
  #cancel = noTimer;
  #isSettled = false;

  constructor(socket: Socket, onSettled: (guest: Guest) => void) {
    this.id = idOf(socket);
    this.socket = socket;
    this.#onSettled = onSettled;
  }

  /** Sets the timer after which it is closed. */
  expect(cancel: Cancel): void {
    this.#cancel = cancel;
  }

  /** Cancels that timer. */
  inTime(): void {
    this.#cancel();
    this.#cancel = noTimer;
  }

  /** The connection is now a client, or closed: it is no longer pending. */
  settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#onSettled(this);
  }
}
