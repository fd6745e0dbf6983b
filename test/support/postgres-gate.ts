/** A TCP proxy between Snö and Postgres. What passes, and when, is up to its kind. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export abstract class PostgresGate {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /** `databaseUrl`: a database on 127.0.0.1. */
  constructor(databaseUrl: string) {
    const port = Number(new URL(databaseUrl).port);
    this.#server = createServer((client) => {
      const server = connect(port, '127.0.0.1');
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      }
      client.on('close', () => server.destroy());
      server.on('close', () => client.destroy());
      server.pipe(client);
      this.join(client, server);
    });
  }

  /** Resolves when the proxy accepts connections. */
  async open(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Returns a URL to the same database through this proxy. */
  through(url: string): string {
    const here = new URL(url);
    here.hostname = '127.0.0.1';
    here.port = String((this.#server.address() as AddressInfo).port);
    return here.href;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  /** Passes on what the client sends. What the server sends is passed on already. */
  protected abstract join(client: Socket, server: Socket): void;
}
