/** A TCP proxy that holds START_REPLICATION back until work of the test's own is done. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class StartGate {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Runs before the next START_REPLICATION passes, once. */
  #before: (() => Promise<unknown>) | undefined;
  /** How many START_REPLICATION have passed. */
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

  /** `port` is where the server listens, on 127.0.0.1. */
  static async listen(port: number): Promise<StartGate> {
    const gate = new StartGate(port);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  /** The URL that leads to the same database through here. */
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
