/**
 * The client port with SNO_WORKERS. Main accepts each connection and passes it to the next worker
 * that is free. A worker takes one connection at a time; further ones wait here. Their number is
 * limited, since they use file descriptors that the admin port and Postgres need too.
 * `node:cluster` lacks this limit: in a burst of connections the admin port got no descriptor.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { listenOn } from '../gateway/accept/listening.ts';
import type { Limits } from '../gateway/limits.ts';
import { networkOf } from '../http/address.ts';
import type { Logger } from '../logger.ts';

/** Takes one connection at a time. Call `ConnectionDispatcher.free` when it can take the next. */
export interface ConnectionTaker {
  /** Returns false if the worker has ended. */
  take(socket: Socket): boolean;
}

export interface ConnectionDispatcherOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Maximum waiting connections. */
  readonly waitingMax: number;
  readonly limits: Limits;
  readonly logger: Logger;
}

export class ConnectionDispatcher {
  readonly #options: ConnectionDispatcherOptions;
  readonly #server: Server;
  /** Connections that no worker has taken yet, oldest first. */
  readonly #waiting = new Set<Socket>();
  /** Workers that are ready for a connection, in turn. */
  readonly #free = new Set<ConnectionTaker>();

  constructor(options: ConnectionDispatcherOptions) {
    this.#options = options;
    // Nothing is read here: the worker reads the first bytes.
    this.#server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => this.#onConnection(socket));
  }

  /** Listens, and returns the port. Throws `address_in_use`. */
  async listen(): Promise<number> {
    return (await listenOn(this.#server, this.#options)).port;
  }

  /** The worker is ready for the next connection. */
  free(taker: ConnectionTaker): void {
    this.#free.add(taker);
    this.#handOn();
  }

  /** The worker takes no more connections. */
  forget(taker: ConnectionTaker): void {
    this.#free.delete(taker);
  }

  /** Frees the port, and closes waiting connections. */
  close(): void {
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#waiting) socket.destroy();
    this.#waiting.clear();
  }

  #onConnection(socket: Socket): void {
    const { waitingMax, limits } = this.#options;
    socket.on('error', () => socket.destroy());
    if (this.#waiting.size >= waitingMax) {
      const { remoteAddress } = socket;
      limits.report('open_files', remoteAddress === undefined ? undefined : networkOf(remoteAddress));
      socket.destroy();
      return;
    }
    this.#waiting.add(socket);
    this.#handOn();
  }

  #handOn(): void {
    while (this.#waiting.size > 0 && this.#free.size > 0) {
      const [socket] = this.#waiting;
      const [taker] = this.#free;
      if (socket === undefined || taker === undefined) return;
      this.#free.delete(taker);
      if (taker.take(socket)) this.#waiting.delete(socket);
    }
  }
}
