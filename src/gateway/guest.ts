/** Whoever has come in and is no client yet. */
import type { Socket } from 'node:net';
import { type Cancel, noTimer } from './clock.ts';

/** The two ends of a connection tell which it is, through TLS too. */
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

  /** The timer after which it is cut. */
  expect(cancel: Cancel): void {
    this.#cancel = cancel;
  }

  /** It is not cut any more. */
  inTime(): void {
    this.#cancel();
    this.#cancel = noTimer;
  }

  /** It is a client, or gone: it counts as pending no more. */
  settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#onSettled(this);
  }
}
