/** pg's protocol over a socket that is already open, and encrypted if needed. */
import type { Socket } from 'node:net';
import pg from 'pg';

/** Members of pg's Connection beyond its types. */
interface Internals {
  _connecting: boolean;
  readonly _ending: boolean;
  attachListeners(socket: Socket): void;
}

const BROKEN: ReadonlySet<string | undefined> = new Set(['ECONNRESET', 'EPIPE']);

/** Replaces pg's own way to connect, which supports one host, and no way back from TLS. */
export class OpenConnection extends pg.Connection {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ stream: socket } as unknown as pg.ConnectionConfig);
    this.#socket = socket;
  }

  /** pg calls it with host and port. */
  connect(): void {
    const internals = this as unknown as Internals;
    internals._connecting = true;
    const socket = this.#socket;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!(internals._ending && BROKEN.has(error.code))) this.emit('error', error);
    });
    socket.on('close', () => this.emit('end'));
    internals.attachListeners(socket);
    this.#guard();
    process.nextTick(() => this.emit('connect'));
  }

  /** pg's parser throws at unknown bytes, such as a request for a GSSAPI login. */
  #guard(): void {
    const socket = this.#socket;
    const [parse] = socket.listeners('data') as ((chunk: Buffer) => void)[];
    if (parse === undefined) return;
    socket.off('data', parse);
    socket.on('data', (chunk: Buffer) => {
      try {
        parse(chunk);
      } catch (error) {
        socket.destroy();
        this.emit('error', error);
      }
    });
  }
}
