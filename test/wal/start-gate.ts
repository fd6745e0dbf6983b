/** A TCP proxy that delays START_REPLICATION until the test's own work is done. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class StartGate {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Runs once, before the next START_REPLICATION passes. */
  #before: (() => Promise<unknown>) | undefined;
  /** Number of START_REPLICATION messages that have passed. */
  passed = 0;

  private constructor(port: number) {
    this.#server = createServer((client) => {
      const server = connect(port, '127.0.0.1');
      server.pipe(client);
      client.on('data', (data) => void this.#pass(client, server, data));
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
      }
      client.on('close', () => server.destroy());
      server.on('close', () => client.destroy());
    });
  }

  /** `port`: the server's port on 127.0.0.1. */
  static async listen(port: number): Promise<StartGate> {
    const gate = new StartGate(port);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  /** Returns a URL to the same database through this proxy. */
  through(url: string): string {
    const here = new URL(url);
    here.hostname = '127.0.0.1';
    here.port = String((this.#server.address() as AddressInfo).port);
    return here.href;
  }

  beforeNextStart(work: () => Promise<unknown>): void {
    this.#before = work;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  async #pass(client: Socket, server: Socket, data: Buffer): Promise<void> {
    if (data.includes('START_REPLICATION')) {
      const work = this.#before;
      this.#before = undefined;
      client.pause();
      await work?.();
      client.resume();
      this.passed++;
    }
    server.write(data);
  }
}
