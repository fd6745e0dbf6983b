/**
 * The listening socket, and whoever has come in and is no client yet. Who is one too many is cut before a byte of TLS or HTTP is
 * read of it. Who is no websocket in time is cut too, however busy it keeps its connection: a slow handshake, slow
 * headers, one request after the other.
 *
 * The port is taken when Snö starts, so that one that is taken by another is noticed before anything is changed in the
 * database; until `open` whoever connects is cut.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { networkOf, type Proxies } from './address.ts';
import { Admission } from './admission.ts';
import type { Clock } from './clock.ts';
import type { Limits } from './limits.ts';

const BACKLOG = 4_096;

/** So many of one address may be on their way in whatever its limit is: only a websocket can be told that it is one too many. */
const PENDING_PER_ADDRESS_MIN = 100;

export interface DoorOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly handshakeMs: number;
  /** 0 = no limit. */
  readonly pendingMax: number;
  /** 0 = no limit. */
  readonly connectionsPerAddressMax: number;
  readonly proxies: Proxies;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The two ends of a connection tell which it is, through TLS too. */
type Ends = Pick<Socket, 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort'>;

interface Guest {
  readonly inTime: () => void;
  /** It counts as pending no more. */
  readonly settle: () => void;
}

export class Door {
  readonly #options: DoorOptions;
  readonly #server: Server;
  readonly #pending: Admission;
  readonly #guests = new Map<string, Guest>();
  readonly #sockets = new Set<Socket>();
  #take: ((socket: Socket) => void) | undefined;
  #closed: Promise<unknown> | undefined;

  constructor(options: DoorOptions) {
    const { pendingMax, connectionsPerAddressMax: perAddress } = options;
    this.#options = options;
    this.#pending = new Admission(pendingMax, perAddress === 0 ? 0 : Math.max(perAddress, PENDING_PER_ADDRESS_MIN));
    // as node's HTTP server makes its own
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#arrived(socket));
  }

  get pendingCount(): number {
    return this.#pending.count;
  }

  /** Throws `address_in_use`. */
  async listen(): Promise<AddressInfo> {
    const { host, port, logger } = this.#options;
    this.#server.listen({ host, port, backlog: BACKLOG });
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      throw new SnoError('address_in_use', `${host}:${port} is taken`, { cause: error });
    }
    this.#closed = new Promise((resolve) => this.#server.once('close', resolve));
    // Such as no file descriptor left for one more connection.
    this.#server.on('error', (error) => logger.error({ error: error.message }, 'a connection could not be accepted'));
    return this.#server.address() as AddressInfo;
  }

  /** From now on connections are handed on. */
  open(take: (socket: Socket) => void): void {
    this.#take = take;
  }

  /** The connection has become a websocket in time. Returns what is to be called once it is a client; until then it stays pending. */
  upgraded(socket: Ends): () => void {
    const guest = this.#guests.get(idOf(socket));
    guest?.inTime();
    return guest?.settle ?? (() => {});
  }

  /** Lets nobody in any more. */
  shut(): void {
    this.#take = undefined;
    if (this.#server.listening) this.#server.close();
  }

  /** Cuts every connection, and resolves once all are closed. */
  async close(): Promise<void> {
    this.shut();
    for (const socket of this.#sockets) socket.destroy();
    await this.#closed;
  }

  #arrived(socket: Socket): void {
    const { proxies, limits, handshakeMs, clock } = this.#options;
    socket.on('error', () => socket.destroy());
    const { remoteAddress } = socket;
    if (this.#take === undefined || remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    // whom a proxy brings is told by headers, which come later
    const address = proxies.include(remoteAddress) ? undefined : networkOf(remoteAddress);
    if (this.#pending.enter(address) !== undefined) {
      limits.met('pending_connections', address);
      socket.destroy();
      return;
    }
    const id = idOf(socket);
    let isPending = true;
    const guest: Guest = {
      inTime: clock.after(handshakeMs, () => {
        limits.met('handshake_time', address);
        socket.destroy();
      }),
      settle: () => {
        if (isPending) this.#pending.leave(address);
        isPending = false;
        this.#guests.delete(id);
      },
    };
    this.#guests.set(id, guest);
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      guest.inTime();
      guest.settle();
    });
    this.#take(socket);
  }
}

function idOf({ remoteAddress, remotePort, localAddress, localPort }: Ends): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
