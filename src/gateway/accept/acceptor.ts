/**
 * The listening socket, and the connections that are not clients yet. A connection beyond a limit
 * is closed before a byte of TLS or HTTP is read. A connection that does not become a websocket in
 * time is closed too, even if it is active: a slow handshake, slow headers, one request after
 * another.
 *
 * Snö listens when it starts, so that a port in use is found before anything changes in the
 * database.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../clock.ts';
import { FairShare } from '../../fair-share.ts';
import { networkOf, type Proxies } from '../../http/address.ts';
import type { Logger } from '../../logger.ts';
import type { Limits } from '../limits.ts';
import { FirstBytes } from './first-bytes.ts';
import { listenOn } from './listening.ts';
import { type AnySocket, networkSocketOf } from './network-socket.ts';
import { PendingConnection } from './pending-connection.ts';

/**
 * Minimum pending connections allowed for one address, even if its limit of clients is lower: only
 * a websocket can receive the error that it exceeds that limit.
 */
const PENDING_PER_ADDRESS_MIN = 100;

export interface ConnectionAcceptorOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly handshakeMs: number;
  /** 0: no limit. */
  readonly pendingMax: number;
  /** 0: no limit. */
  readonly connectionsPerAddressMax: number;
  /** Whether clients begin with a TLS handshake. */
  readonly isTls: boolean;
  readonly proxies: Proxies;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ConnectionAcceptor {
  readonly #options: ConnectionAcceptorOptions;
  readonly #server: Server;
  /** Connections that are not clients yet. One address cannot keep the others out. */
  readonly #pending: FairShare<PendingConnection>;
  readonly #pendingPerAddressMax: number;
  /** All open connections. Undefined: no longer pending. */
  readonly #sockets = new Map<Socket, PendingConnection | undefined>();
  readonly #onSettled = (connection: PendingConnection) => this.#removePending(connection);
  readonly #onClose = listener((socket) => this.#onSocketClosed(socket));
  readonly #firstBytes = new FirstBytes((socket) => this.#passOn(socket));
  #take: ((socket: Socket) => void) | undefined;
  /** Maximum sockets. Beyond it, this process would lack descriptors for its other work. */
  #socketsMax = 0;
  #closed: Promise<unknown> | undefined;

  constructor(options: ConnectionAcceptorOptions) {
    const { pendingMax, connectionsPerAddressMax: perAddress } = options;
    this.#options = options;
    this.#pending = new FairShare(pendingMax || Number.POSITIVE_INFINITY);
    this.#pendingPerAddressMax =
      perAddress === 0 ? Number.POSITIVE_INFINITY : Math.max(perAddress, PENDING_PER_ADDRESS_MIN);
    // With half-open sockets, a connection closed by its client before the TLS handshake would last
    // until handshakeMs.
    this.#server = createServer({ allowHalfOpen: false, noDelay: true }, (socket) => this.enter(socket));
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Passes connections to `take` from now on, at most `socketsMax` at the same time. */
  open(take: (socket: Socket) => void, socketsMax: number): void {
    this.#socketsMax = socketsMax;
    this.#take = take;
  }

  /** Listens. Throws `address_in_use`. */
  async listen(): Promise<AddressInfo> {
    const address = await listenOn(this.#server, this.#options);
    this.#closed = new Promise((resolve) => this.#server.once('close', resolve));
    return address;
  }

  /**
   * The connection became a websocket in time. It stays pending until the caller settles it, once
   * it is a client.
   */
  confirmUpgrade(socket: AnySocket, address: string): PendingConnection | undefined {
    const connection = this.#sockets.get(networkSocketOf(socket, this.#sockets));
    if (connection === undefined) return undefined;
    connection.cancelTimeout();
    this.#pending.move(connection, address);
    return connection;
  }

  /** Accepts no more connections. */
  shut(): void {
    this.#take = undefined;
    if (this.#server.listening) this.#server.close();
  }

  /** Closes every connection at once. Resolves once all are closed. */
  async close(): Promise<void> {
    this.shut();
    for (const socket of this.#sockets.keys()) socket.destroy();
    await this.#closed;
  }

  /** Takes a connection that was accepted here or in another process. */
  enter(socket: Socket): void {
    const { proxies, limits, handshakeMs, isTls, clock } = this.#options;
    socket.on('error', cut);
    const { remoteAddress } = socket;
    if (this.#take === undefined || remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    // Behind a proxy, the client's address is in the headers, which arrive later.
    const address = proxies.include(remoteAddress) ? undefined : networkOf(remoteAddress);
    if (this.#sockets.size >= this.#socketsMax) {
      limits.report('open_files', address);
      socket.destroy();
      return;
    }
    const connection = new PendingConnection(socket, this.#onSettled);
    if (!this.#admit(connection, address)) {
      limits.report('pending_connections', address);
      socket.destroy();
      return;
    }
    connection.setTimeout(
      clock.after(handshakeMs, () => {
        limits.report('handshake_time', address);
        socket.destroy();
      }),
    );
    this.#sockets.set(socket, connection);
    socket.on('close', this.#onClose);
    if (isTls) this.#firstBytes.wait(socket);
    else this.#passOn(socket);
  }

  #passOn(socket: Socket): void {
    if (this.#take === undefined) {
      socket.destroy();
      return;
    }
    this.#take(socket);
    // Otherwise node's TLS waits for 'connect' on an open connection, for as long as it lasts.
    socket.removeAllListeners('connect');
  }

  /**
   * Returns whether the connection may be pending. At the limit, the newest pending connection of
   * the address with the most is closed to make room.
   */
  #admit(connection: PendingConnection, address: string | undefined): boolean {
    if (address !== undefined && this.#pending.of(address) >= this.#pendingPerAddressMax) return false;
    const { isIn, displaced } = this.#pending.enter(connection, address);
    if (displaced !== undefined) {
      this.#options.limits.report('pending_connections');
      displaced.socket.destroy();
    }
    return isIn;
  }

  #removePending(connection: PendingConnection): void {
    this.#pending.leave(connection);
    this.#sockets.set(connection.socket, undefined);
  }

  #onSocketClosed(socket: Socket): void {
    const connection = this.#sockets.get(socket);
    connection?.cancelTimeout();
    connection?.settle();
    this.#sockets.delete(socket);
  }
}

/** One function for all sockets: a closure per socket would cost memory. */
function listener(heard: (socket: Socket) => void): (this: Socket) => void {
  return function (this: Socket) {
    heard(this);
  };
}

/** An error listener for any socket. */
export function cut(this: Duplex): void {
  this.destroy();
}
