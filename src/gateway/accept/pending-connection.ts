/** A connection that is not a client yet. */
import type { Socket } from 'node:net';
import { type Cancel, noTimer } from '../../clock.ts';

export class PendingConnection {
  readonly socket: Socket;
  readonly #onSettled: (pending: PendingConnection) => void;
  #cancel = noTimer;
  #isSettled = false;

  constructor(socket: Socket, onSettled: (pending: PendingConnection) => void) {
    this.socket = socket;
    this.#onSettled = onSettled;
  }

  /** Sets the function that cancels its timeout. */
  setTimeout(cancel: Cancel): void {
    this.#cancel = cancel;
  }

  /** Cancels the timeout: the connection has become a websocket, or is closed. */
  cancelTimeout(): void {
    this.#cancel();
    this.#cancel = noTimer;
  }

  /** Ends the pending state: the connection is now a client, or closed. */
  settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#onSettled(this);
  }
}
