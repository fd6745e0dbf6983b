/**
 * The listening socket, and whoever has come in and is no client yet. Who is one too many is cut before a byte of TLS or HTTP is
 * read of it. Who is no websocket in time is cut too, however busy it keeps its connection: a slow handshake, slow
 * headers, one request after the other.
 *
 * The port is taken when Snö starts, so that one that is taken by another is noticed before anything is changed in the
 * database.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SnoError } from '../errors.ts';
import { FairShare } from '../fair-share.ts';
import type { Logger } from '../logger.ts';
import { networkOf, type Proxies } from './address.ts';
import type { Clock } from './clock.ts';
import { type Ends, Guest, idOf } from './guest.ts';
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

export class Door {
  readonly #options: DoorOptions;
  readonly #server: Server;
  /** Those that are no clients yet. One address cannot keep the others out. */
  readonly #pending: FairShare<Guest>;
  readonly #pendingPerAddressMax: number;
  /** Those that are pending, by their ends. */
  readonly #guests = new Map<string, Guest>();
  /** All that are open; undefined: it is pending no more. */
  readonly #sockets = new Map<Socket, Guest | undefined>();
  readonly #onSettled = (guest: Guest) => this.#settled(guest);
  readonly #onClose = listener((socket) => this.#left(socket));
  #take: ((socket: Socket) => void) | undefined;
  /** Beyond it, this process would lack descriptors for anything but clients. */
  #socketsMax = 0;
  #closed: Promise<unknown> | undefined;

  constructor(options: DoorOptions) {
    const { pendingMax, connectionsPerAddressMax: perAddress } = options;
    this.#options = options;
    this.#pending = new FairShare(pendingMax || Number.POSITIVE_INFINITY);
    this.#pendingPerAddressMax =
      perAddress === 0 ? Number.POSITIVE_INFINITY : Math.max(perAddress, PENDING_PER_ADDRESS_MIN);
    // half open, a connection that its client closes before the TLS handshake would last until handshakeMs
    this.#server = createServer({ allowHalfOpen: false, noDelay: true }, (socket) => this.enter(socket));
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** From now on connections are handed on, `socketsMax` at the same time. */
  open(take: (socket: Socket) => void, socketsMax: number): void {
    this.#socketsMax = socketsMax;
    this.#take = take;
  }

  /** Takes the port. Throws `address_in_use`. */
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
    // such as no file descriptor left, where something else than clients took them
    this.#server.on('error', (error) => logger.error({ error: error.message }, 'a connection could not be accepted'));
    return this.#server.address() as AddressInfo;
  }

  /** The connection has become a websocket in time. The guest is to be settled once it is a client; until then it stays pending. */
  upgraded(socket: Ends, address: string): Guest | undefined {
    const guest = this.#guests.get(idOf(socket));
    if (guest === undefined) return undefined;
    guest.inTime();
    this.#pending.move(guest, address);
    return guest;
  }

  /** Lets nobody in any more. */
  shut(): void {
    this.#take = undefined;
    if (this.#server.listening) this.#server.close();
  }

  /** Cuts every connection, and resolves once all are closed. */
  async close(): Promise<void> {
    this.shut();
    for (const socket of this.#sockets.keys()) socket.destroy();
    await this.#closed;
  }

  /** A connection that was accepted, here or in another process. */
  enter(socket: Socket): void {
    const { proxies, limits, handshakeMs, clock } = this.#options;
    socket.on('error', cut);
    const { remoteAddress } = socket;
    if (this.#take === undefined || remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    // whom a proxy brings is told by headers, which come later
    const address = proxies.include(remoteAddress) ? undefined : networkOf(remoteAddress);
    if (this.#sockets.size >= this.#socketsMax) {
      limits.met('open_files', address);
      socket.destroy();
      return;
    }
    const guest = new Guest(socket, this.#onSettled);
    if (!this.#enters(guest, address)) {
      limits.met('pending_connections', address);
      socket.destroy();
      return;
    }
    guest.expect(
      clock.after(handshakeMs, () => {
        limits.met('handshake_time', address);
        socket.destroy();
      }),
    );
    this.#guests.set(guest.id, guest);
    this.#sockets.set(socket, guest);
    socket.on('close', this.#onClose);
    this.#take(socket);
    // node's TLS waits for a connection that is there already, for as long as it lasts
    socket.removeAllListeners('connect');
  }

  /** A full house makes room by cutting the newest guest of the address that has most. */
  #enters(guest: Guest, address: string | undefined): boolean {
    if (address !== undefined && this.#pending.of(address) >= this.#pendingPerAddressMax) return false;
    const { isIn, displaced } = this.#pending.enter(guest, address);
    if (displaced !== undefined) {
      this.#options.limits.met('pending_connections');
      displaced.socket.destroy();
    }
    return isIn;
  }

  #settled(guest: Guest): void {
    this.#pending.leave(guest);
    if (this.#guests.get(guest.id) === guest) this.#guests.delete(guest.id);
    this.#sockets.set(guest.socket, undefined);
  }

  #left(socket: Socket): void {
    const guest = this.#sockets.get(socket);
    guest?.inTime();
    guest?.settle();
    this.#sockets.delete(socket);
  }
}

/** One function for all sockets: a closure for each would cost memory. */
function listener(heard: (socket: Socket) => void): (this: Socket) => void {
  return function (this: Socket) {
    heard(this);
  };
}

/** For the errors of any socket. */
export function cut(this: Duplex): void {
  this.destroy();
}
