/**
 * gateway: owns the client sockets. HTTP by fastify, websockets by ws, TLS in the process.
 *
 * A client can neither end the process nor affect another client. It receives its error, is
 * counted, and at worst loses its own connection.
 */
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { type Clock, systemClock } from '../clock.ts';
import type { Settings } from '../config/settings.ts';
import { Deadlines } from '../deadlines.ts';
import type { Fanout } from '../fanout/fanout.ts';
import { networkOf, Proxies } from '../http/address.ts';
import type { Certificate } from '../http/tls.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { SignOuts } from '../peers/sign-outs.ts';
import { ConnectionAcceptor, cut } from './accept/acceptor.ts';
import { Admission, type AdmissionDesk, type Excess, excessError } from './accept/admission.ts';
import { forgetHandshake } from './accept/handshake.ts';
import { ClientHttp } from './client-http.ts';
import { Clients, type WebSocketClient } from './clients.ts';
import { bearerOf } from './credentials.ts';
import { Limits } from './limits.ts';
import { PusherApp } from './pusher/app.ts';
import { PusherEndpoint } from './pusher/endpoint.ts';
import type { PusherHttpServices } from './pusher/http.ts';
import type { NetworkSocket } from './signs-of-life.ts';
import { Connection, type ConnectionServices } from './sno/connection.ts';
import { DEFLATE_ANSWER, offersDeflate } from './sno/deflate.ts';
import { ClientSocket } from './sno/socket.ts';
import { EventsEndpoint } from './sse/endpoint.ts';
import type { StreamServices } from './sse/stream.ts';

/** How long the closing handshake may take before the connection is destroyed, in ms. */
const CLOSE_TIMEOUT_MS = 10_000;

export interface GatewayOptions
  extends Pick<
      ConnectionServices,
      'tokens' | 'access' | 'rights' | 'channels' | 'exchange' | 'metrics' | 'logger' | 'frames'
    >,
    Pick<StreamServices, 'events'>,
    Pick<PusherHttpServices, 'pusherEncodings' | 'publish' | 'presence' | 'subscriptions'> {
  readonly settings: Pick<
    Settings,
    | 'SNO_HOST'
    | 'SNO_TLS'
    | 'SNO_PORT'
    | 'SNO_ALLOWED_ORIGINS'
    | 'SNO_TRUSTED_PROXIES'
    | 'SNO_MAX_CONNECTIONS'
    | 'SNO_MAX_CONNECTIONS_PER_ADDRESS'
    | 'SNO_MAX_PENDING_CONNECTIONS'
    | 'SNO_HANDSHAKE_SECONDS'
    | 'SNO_HELLO_SECONDS'
    | 'SNO_MAX_HEADER_BYTES'
    | 'SNO_MAX_SUBSCRIPTIONS'
    | 'SNO_MAX_CHANNEL_BYTES'
    | 'SNO_MAX_TOKEN_BYTES'
    | 'SNO_MAX_FRAME_BYTES'
    | 'SNO_MAX_FRAMES_PER_SECOND'
    | 'SNO_MAX_SENDS_PER_SECOND'
    | 'SNO_MAX_FRAGMENTS'
    | 'SNO_MAX_FRAME_PIECES'
    | 'SNO_COMPRESS_BYTES'
    | 'SNO_COOKIE'
    | 'SNO_PUSHER_APP_ID'
    | 'SNO_PUSHER_KEY'
    | 'SNO_PUSHER_SECRET'
  >;
  readonly signOuts: SignOuts;
  /** Undefined: plain HTTP. */
  readonly certificate: Certificate | undefined;
  readonly fanout: Pick<Fanout, 'epoch' | 'attach' | 'openAccessCheck' | 'afterCommitted' | 'subscriptionCount'>;
  /** The client library's bundle (dist/sno.js). */
  readonly bundleFile: string;
  /** Counts connections. Undefined: they are counted here. */
  readonly admission?: AdmissionDesk;
  /** Maximum client sockets, asked when clients are first accepted. Undefined: no limit. */
  readonly socketsMax?: () => number;
  readonly clock?: Clock;
  /** Recent faults, for the operator. */
  readonly incidents?: Incidents;
  /** Expiry times of tokens, if the fan-out checks them too. */
  readonly deadlines?: Deadlines;
  /** Time between two pings to a client, in ms. */
  readonly heartbeatMs?: number;
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #services: ConnectionServices;
  readonly #websockets: WebSocketServer;
  readonly #proxies: Proxies;
  readonly #acceptor: ConnectionAcceptor;
  readonly #http: ClientHttp;
  readonly #admission: AdmissionDesk;
  readonly #clients: Clients;
  /** Undefined: Pusher clients are not served. */
  readonly #pusher: PusherEndpoint | undefined;

  constructor(options: GatewayOptions) {
    const { settings, metrics, logger, fanout } = options;
    const clock = options.clock ?? systemClock;
    const { incidents } = options;
    const limits = new Limits(metrics, logger, clock, incidents);
    this.#options = options;
    this.#services = {
      ...options,
      clock,
      limits,
      deadlines: options.deadlines ?? new Deadlines(clock),
      onClosed: (connection) => this.#clients.forget(connection),
      helloMs: settings.SNO_HELLO_SECONDS * 1_000,
      subscriptionsMax: settings.SNO_MAX_SUBSCRIPTIONS,
      channelBytesMax: settings.SNO_MAX_CHANNEL_BYTES,
      tokenBytesMax: settings.SNO_MAX_TOKEN_BYTES,
      framesPerSecondMax: settings.SNO_MAX_FRAMES_PER_SECOND,
      frameBytesMax: settings.SNO_MAX_FRAME_BYTES,
      sendsPerSecondMax: settings.SNO_MAX_SENDS_PER_SECOND,
    };
    this.#websockets = new WebSocketServer({
      noServer: true,
      WebSocket: ClientSocket,
      autoPong: false,
      clientTracking: false,
      // Negotiated here: see sno/deflate.ts.
      perMessageDeflate: false,
      maxPayload: settings.SNO_MAX_FRAME_BYTES,
      // Not in the types yet.
      ...({
        closeTimeout: CLOSE_TIMEOUT_MS,
        maxFragments: settings.SNO_MAX_FRAGMENTS,
        maxBufferedChunks: settings.SNO_MAX_FRAME_PIECES,
      } as object),
    });
    this.#websockets.on('headers', (headers, request) => {
      if (this.#deflates(request)) headers.push(`Sec-WebSocket-Extensions: ${DEFLATE_ANSWER}`);
    });
    this.#websockets.on('wsClientError', (_error, socket) => this.#http.refuseUpgrade(socket, 'request_malformed'));
    this.#proxies = new Proxies(settings.SNO_TRUSTED_PROXIES);
    this.#acceptor = new ConnectionAcceptor({
      host: settings.SNO_HOST,
      port: settings.SNO_PORT,
      handshakeMs: settings.SNO_HANDSHAKE_SECONDS * 1_000,
      pendingMax: settings.SNO_MAX_PENDING_CONNECTIONS,
      connectionsPerAddressMax: settings.SNO_MAX_CONNECTIONS_PER_ADDRESS,
      isTls: options.certificate !== undefined,
      proxies: this.#proxies,
      limits,
      clock,
      logger,
    });
    this.#admission =
      options.admission ?? new Admission(settings.SNO_MAX_CONNECTIONS, settings.SNO_MAX_CONNECTIONS_PER_ADDRESS);
    this.#clients = new Clients(clock, this.#admission, options.heartbeatMs);
    const app = PusherApp.of(settings);
    this.#pusher =
      app &&
      new PusherEndpoint({
        ...options,
        ...this.#services,
        presence: options.presence,
        app,
        proxies: this.#proxies,
        acceptor: this.#acceptor,
        cookie: settings.SNO_COOKIE,
        isStarting: () => this.#http.isStarting,
        onClosed: (connection) => this.#clients.forget(connection),
      });
    options.signOuts.use((user) => this.#pusher?.signOut(user, this.#clients.all));
    this.#http = new ClientHttp({
      ...options,
      proxies: this.#proxies,
      limits,
      events: new EventsEndpoint({
        ...options,
        ...this.#services,
        proxies: this.#proxies,
        acceptor: this.#acceptor,
        admission: this.#admission,
        clients: this.#clients,
        cookie: settings.SNO_COOKIE,
      }),
      pusher: this.#pusher,
      onUpgrade: (request, socket, head) => this.#upgrade(request, socket, head),
    });
    metrics.observe({
      connections: () => this.#clients.count,
      compressingConnections: () => this.#clients.compressingCount,
      pendingConnections: () => this.#acceptor.pendingCount,
      subscriptions: () => fanout.subscriptionCount,
    });
  }

  /**
   * Listens for clients, which receive the error `starting` until `open`. Throws `address_in_use`.
   */
  async listen(): Promise<AddressInfo> {
    await this.prepare();
    return this.#acceptor.listen();
  }

  /**
   * Used instead of `listen` if another process has the port: that process passes the connections
   * to `enter`.
   */
  async prepare(): Promise<void> {
    const socketsMax = this.#options.socketsMax?.() ?? Number.POSITIVE_INFINITY;
    await this.#http.prepare();
    const { server } = this.#http.app;
    this.#acceptor.open((socket) => server.emit('connection', socket), socketsMax);
  }

  /** Takes a connection that another process has accepted. */
  enter(socket: Socket): void {
    this.#acceptor.enter(socket);
  }

  /** Serves clients from now on. */
  open(): void {
    this.#http.open();
  }

  /** Closes all connections, and refuses others until `resume`. */
  suspend(): void {
    this.#http.shut();
    this.#clients.suspend();
  }

  resume(): void {
    this.#http.open();
  }

  /** The clients of this process, oldest first. */
  get clients(): Pick<Clients, 'all' | 'count' | 'disconnect'> {
    return this.#clients;
  }

  get connectionCount(): number {
    return this.#clients.count;
  }

  get draining(): boolean {
    return this.#clients.isDraining;
  }

  /**
   * Accepts no new connections, and closes the open ones at random moments within `seconds`, so
   * that clients reconnect elsewhere. Resolves once all are closed; the remaining ones are
   * destroyed.
   */
  async drain(seconds: number): Promise<void> {
    this.#acceptor.shut();
    await this.#clients.drain(seconds);
    await this.close();
  }

  /** Stops at once: connections are destroyed. */
  async close(): Promise<void> {
    this.#clients.terminate();
    await this.#acceptor.close();
    await this.#http.close();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', cut);
    const problem = this.#http.upgradeProblem(request);
    if (problem !== undefined) this.#http.refuseUpgrade(socket, problem);
    else void this.#admit(request, socket, head);
  }

  async #admit(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const address = networkOf(this.#proxies.clientOf(request.socket.remoteAddress ?? '', request.headers));
    const excess = await this.#admission.enter(address);
    // ws listens for errors itself.
    socket.off('error', cut);
    let isTaken = false;
    // Not called if the connection broke meanwhile, or the request is not a valid websocket
    // request.
    this.#websockets.handleUpgrade(request, socket, head, (websocket) => {
      isTaken = true;
      this.#accept(websocket as ClientSocket, socket as NetworkSocket, request, address, excess);
    });
    if (!isTaken && excess === undefined) this.#admission.leave(address);
  }

  #deflates({ headers }: IncomingMessage): boolean {
    return this.#options.settings.SNO_COMPRESS_BYTES > 0 && offersDeflate(headers['sec-websocket-extensions']);
  }

  #accept(
    socket: ClientSocket,
    network: NetworkSocket,
    request: IncomingMessage,
    address: string,
    excess: Excess | undefined,
  ): void {
    const pending = this.#acceptor.confirmUpgrade(request.socket, address);
    if (this.#options.certificate !== undefined) forgetHandshake(network);
    const isRefused = this.#clients.isDraining || excess !== undefined;
    const { url = '', headers } = request;
    const bearer = isRefused ? undefined : bearerOf(headers);
    const origin = { bearer, address, deflates: this.#deflates(request), pending };
    const connection =
      this.#pusher?.serves(url) === true
        ? this.#pusher.connect(socket, network, url, origin)
        : new Connection(socket, network, this.#services, origin);
    if (isRefused) {
      if (excess === undefined) this.#admission.leave(address);
      this.#refuse(connection, excess, address);
      return;
    }
    this.#clients.add(connection);
    connection.begin();
  }

  /** Refuses a client that exceeds a limit, by a close code: a page cannot see an HTTP status. */
  #refuse(connection: WebSocketClient, excess: Excess | undefined, address: string): void {
    if (excess === undefined) {
      connection.drain();
      return;
    }
    const { limit, error } = excessError(excess, this.#options.settings);
    this.#services.limits.report(limit, address);
    connection.turnAway(error);
  }
}
