/** One address before several instances, as a load balancer is: each new connection goes to one whose /readyz is good. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

interface Instance {
  readonly port: number;
  readonly adminPort: number;
}

export class Balancer {
  readonly url: string;
  /** May be changed at any time. */
  instances: readonly Instance[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  static async start(): Promise<Balancer> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Balancer(server);
  }

  private constructor(server: Server) {
    this.#server = server;
    this.url = `wss://localhost:${(server.address() as AddressInfo).port}/v1`;
    server.on('connection', (socket) => void this.#pass(socket));
  }

  /** Cuts all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #pass(client: Socket): Promise<void> {
    this.#keep(client);
    const instance = await this.#ready();
    if (instance === undefined || client.destroyed) {
      client.destroy();
      return;
    }
    const upstream = connect(instance.port, '127.0.0.1');
    this.#keep(upstream);
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  async #ready(): Promise<Instance | undefined> {
    for (const instance of this.instances) {
      try {
        if ((await fetch(`http://127.0.0.1:${instance.adminPort}/readyz`)).ok) return instance;
      } catch {
        // It is not there yet, or no more.
      }
    }
    return undefined;
  }
}
