/** A connection that is not a client yet. */
import type { Socket } from 'node:net';
import { type Cancel, noTimer } from '../../clock.ts';

/** The two ends of a connection identify it, through TLS too. */
export type Ends = Pick<Socket, 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort'>;

export function idOf({ remoteAddress, remotePort, localAddress, localPort }: Ends): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

export class PendingConnection {
  readonly id: string;
  readonly socket: Socket;
  readonly #onSettled: (pending: PendingConnection) => void;
  #cancel = noTimer;
  #isSettled = false;

  constructor(socket: Socket, onSettled: (pending: PendingConnection) => void) {
    this.id = idOf(socket);
    this.socket = socket;
    this.#onSettled = onSettled;
  }

  /** Sets the timer after which it is closed. */
  setTimeout(cancel: Cancel): void {
    this.#cancel = cancel;
  }

  /** Cancels that timer: the connection is a websocket in time, or closed. */
  cancelTimeout(): void {
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
