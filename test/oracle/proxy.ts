/** A TCP proxy whose connections can be cut, slowed, or silenced without being closed. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class TcpProxy {
  /** While true, each new connection is cut at once. */
  isDown = false;
  /** Number of connections that were cut at once. */
  refused = 0;
  readonly #target: () => number;
  readonly #server: Server;
  readonly #links = new Set<Link>();

  private constructor(target: () => number) {
    this.#target = target;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Listens on 127.0.0.1. Connects each new connection to the port that `target` returns. */
  static async listen(target: () => number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The open connections. */
  get links(): readonly Link[] {
    return [...this.#links];
  }

  async close(): Promise<void> {
    for (const link of this.#links) link.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    if (this.isDown) {
      this.refused++;
      client.destroy();
      return;
    }
    const link = new Link(client, connect(this.#target(), '127.0.0.1'), () => this.#links.delete(link));
    this.#links.add(link);
  }
}

export class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  #isSwallowing = false;
  #bytesPerSecond = Number.POSITIVE_INFINITY;
  /** Number of bytes that are still forwarded to the client. */
  #bytesLeft = Number.POSITIVE_INFINITY;

  constructor(client: Socket, server: Socket, closed: () => void) {
    this.#client = client;
    this.#server = server;
    this.#pump(client, server);
    this.#pump(server, client);
    let open = 2;
    for (const socket of [client, server]) socket.once('close', () => --open === 0 && closed());
  }

  cut(): void {
    this.#client.destroy();
    this.#server.destroy();
  }

  /** Cuts the connection after at most this many bytes to the client, possibly within a frame. */
  cutAfter(bytes: number): void {
    this.#bytesLeft = bytes;
  }

  /** Stops forwarding, even the end of a connection. */
  swallow(): void {
    this.#isSwallowing = true;
    this.#client.resume();
    this.#server.resume();
  }

  slow(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond;
  }

  #pump(from: Socket, to: Socket): void {
    from.on('error', () => undefined);
    from.on('data', (data: Buffer) => this.#pass(from, to, data));
    from.on('close', () => {
      // bytes already received are still delivered
      if (!this.#isSwallowing) to.destroySoon();
    });
  }

  #pass(from: Socket, to: Socket, data: Buffer): void {
    if (this.#isSwallowing) return;
    if (to === this.#client && data.length > this.#bytesLeft) {
      to.write(data.subarray(0, this.#bytesLeft), () => this.cut());
      from.pause();
      return;
    }
    if (to === this.#client) this.#bytesLeft -= data.length;
    const isFull = !to.write(data);
    const delayMs = (data.length / this.#bytesPerSecond) * 1_000;
    if (!isFull && delayMs < 1) return;
    from.pause();
    const go = () => setTimeout(() => from.resume(), delayMs);
    if (isFull) to.once('drain', go);
    else go();
  }
}
