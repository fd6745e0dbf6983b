/**
 * Joins what is written to a socket in one turn. A client that opens a page receives many small
 * frames at once: together they are one TLS record and one system call, not one for each frame.
 */
import type { Writable } from 'node:stream';

export class Cork {
  readonly #atTurnEnd: ((call: () => void) => void) | undefined;
  #sockets: Writable[] = [];

  /** `atTurnEnd`: calls back at the end of the turn. Undefined: each frame is written at once. */
  constructor(atTurnEnd: ((call: () => void) => void) | undefined) {
    this.#atTurnEnd = atTurnEnd;
  }

  /** From now on, frames written to the socket are sent at the end of the turn. */
  hold(socket: Writable): void {
    if (this.#atTurnEnd === undefined || socket.writableCorked > 0) return;
    socket.cork();
    if (this.#sockets.push(socket) === 1) this.#atTurnEnd(() => this.#release());
  }

  #release(): void {
    const sockets = this.#sockets;
    this.#sockets = [];
    for (const socket of sockets) socket.uncork();
  }
}
