/**
 * gateway: owns client sockets. HTTP by fastify, websockets by ws, TLS in the process.
 *
 * Nothing a client does ends the process or concerns another client: it gets its error, is counted, and at worst loses its
 * own connection.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Server as TlsServer } from 'node:tls';
import { WebSocketServer } from 'ws';
import type { Settings } from '../config.ts';
import { Deadlines } from '../deadlines.ts';
import { ERRORS, SnoError } from '../errors.ts';
import type { Fanout } from '../fanout/fanout.ts';
import { CLOSE } from '../protocol.ts';
import { networkOf, Proxies } from './address.ts';
import { Admission, type AdmissionDesk, type Excess } from './admission.ts';
import { serveBundle } from './bundle.ts';
import { type Clock, systemClock } from './clock.ts';
import { Connection, type ConnectionServices, type NetworkSocket } from './connection.ts';
import { DEFLATE_ANSWER, offersDeflate } from './deflate.ts';
import { cut, Door } from './door.ts';
import { forgetHandshake } from './handshake.ts';
import { securityHeaders } from './headers.ts';
import { Heartbeat } from './heartbeat.ts';
import { Hosts } from './host.ts';
import { createHttp, type Http } from './http.ts';
import { Limits } from './limits.ts';
import { answerRaw, type ProblemCode } from './problem.ts';
import { ClientSocket } from './socket.ts';
import type { Certificate } from './tls.ts';

const PATH = '/v1';

/** How long the closing handshake may take before the connection is cut. */
const CLOSE_TIMEOUT_MS = 10_000;

/** How long clients get to close after the last was told that the server drains. */
const DRAIN_GRACE_MS = 2_000;

/** Names under which people put tokens into URLs. */
const TOKEN_PARAMETERS: readonly string[] = ['token', 'access_token', 'id_token', 'jwt', 'authorization', 'bearer'];

/** Of what a client wrote, as much as a log needs. */
const LOGGED_CHARACTERS_MAX = 200;

export interface GatewayOptions
  extends Pick<ConnectionServices, 'tokens' | 'access' | 'channels' | 'metrics' | 'logger'> {
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
    | 'SNO_MAX_FRAGMENTS'
    | 'SNO_MAX_FRAME_PIECES'
    | 'SNO_COMPRESS_BYTES'
  >;
  /** Undefined: plain HTTP. */
  readonly certificate: Certificate | undefined;
  readonly fanout: Pick<Fanout, 'epoch' | 'attach' | 'attend' | 'afterCommitted' | 'subscriptionCount'>;
  /** The client library's bundle (dist/sno.js). */
  readonly bundleFile: string;
  /** Counts connections; without one they are counted here. */
  readonly admission?: AdmissionDesk;
  /** How many sockets clients may have, asked when they are let in; without it there is no limit. */
  readonly socketsMax?: () => number;
  readonly clock?: Clock;
  /** Of tokens, where the fan-out checks them too. */
  readonly deadlines?: Deadlines;
  /** Between two pings to a client. */
  readonly heartbeatMs?: number;
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #services: ConnectionServices;
  readonly #websockets: WebSocketServer;
  readonly #proxies: Proxies;
  readonly #hosts: Hosts;
  readonly #door: Door;
  readonly #http: Http;
  readonly #admission: AdmissionDesk;
  readonly #heartbeat: Heartbeat<Connection>;
  readonly #connections = new Set<Connection>();
  #draining = false;
  #onEmpty: () => void = () => {};

  constructor(options: GatewayOptions) {
    const { settings, metrics, logger, certificate, fanout } = options;
    const clock = options.clock ?? systemClock;
    const limits = new Limits(metrics, logger, clock);
    this.#options = options;
    this.#services = {
      ...options,
      clock,
      limits,
      deadlines: options.deadlines ?? new Deadlines(clock),
      onClosed: (connection) => this.#closed(connection),
      helloMs: settings.SNO_HELLO_SECONDS * 1_000,
      subscriptionsMax: settings.SNO_MAX_SUBSCRIPTIONS,
      channelBytesMax: settings.SNO_MAX_CHANNEL_BYTES,
      tokenBytesMax: settings.SNO_MAX_TOKEN_BYTES,
      framesPerSecondMax: settings.SNO_MAX_FRAMES_PER_SECOND,
      frameBytesMax: settings.SNO_MAX_FRAME_BYTES,
    };
    this.#websockets = new WebSocketServer({
      noServer: true,
      WebSocket: ClientSocket,
      autoPong: false,
      clientTracking: false,
      // negotiated here: see deflate.ts
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
    this.#websockets.on('wsClientError', (_error, socket) => this.#refuseUpgrade(socket, 'request_malformed'));
    this.#proxies = new Proxies(settings.SNO_TRUSTED_PROXIES);
    this.#hosts = new Hosts(certificate !== undefined, settings, this.#proxies);
    this.#door = new Door({
      host: settings.SNO_HOST,
      port: settings.SNO_PORT,
      handshakeMs: settings.SNO_HANDSHAKE_SECONDS * 1_000,
      pendingMax: settings.SNO_MAX_PENDING_CONNECTIONS,
      connectionsPerAddressMax: settings.SNO_MAX_CONNECTIONS_PER_ADDRESS,
      proxies: this.#proxies,
      limits,
      clock,
      logger,
    });
    this.#http = createHttp({
      tls: certificate?.options,
      headerBytesMax: settings.SNO_MAX_HEADER_BYTES,
      onProblem: (code) => this.#countProblem(code),
    });
    this.#admission =
      options.admission ?? new Admission(settings.SNO_MAX_CONNECTIONS, settings.SNO_MAX_CONNECTIONS_PER_ADDRESS);
    this.#heartbeat = new Heartbeat(options.heartbeatMs);
    metrics.observe({
      connections: () => this.#connections.size,
      compressingConnections: () => [...this.#connections].filter(({ deflates }) => deflates).length,
      pendingConnections: () => this.#door.pendingCount,
      subscriptions: () => fanout.subscriptionCount,
    });
  }

  /** Takes the port, and cuts whoever connects; throws `address_in_use`. */
  listen(): Promise<AddressInfo> {
    return this.#door.listen();
  }

  /** Serves clients from now on. */
  async open(): Promise<void> {
    const { metrics, logger, certificate, bundleFile } = this.#options;
    const { app, refuse } = this.#http;
    app.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    app.server.on('tlsClientError', (error: Error) => {
      metrics.tlsFailures.inc();
      logger.debug({ error: error.message }, 'a TLS handshake failed');
    });
    app.addHook('onRequest', async ({ raw }, reply) => {
      const problem = this.#hosts.problemOf(raw);
      if (problem === 'host_refused') this.#logHost(raw.headers);
      return problem === undefined ? undefined : refuse(reply, problem);
    });
    app.get(PATH, (request, reply) => refuse(reply, hasToken(request.url) ? 'token_in_url' : 'websocket_required'));
    await serveBundle(app, bundleFile);
    await app.ready();
    certificate?.serve(app.server as unknown as TlsServer);
    const socketsMax = this.#options.socketsMax?.() ?? Number.POSITIVE_INFINITY;
    this.#door.open((socket) => app.server.emit('connection', socket), socketsMax);
  }

  get draining(): boolean {
    return this.#draining;
  }

  /**
   * Stops: no new connections; those that are open are closed with 1001 at random moments within `seconds`, so that
   * they don't all come back to another server at once. Resolves once all are closed; whoever does not, is cut.
   */
  async drain(seconds: number): Promise<void> {
    const { clock } = this.#services;
    this.#draining = true;
    this.#door.shut();
    for (const connection of this.#connections) {
      clock.after(seconds * 1_000 * clock.random(), () => connection.close(CLOSE.draining, 'draining'));
    }
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => {
        const cancel = clock.after(seconds * 1_000 + DRAIN_GRACE_MS, resolve);
        this.#onEmpty = () => {
          cancel();
          resolve();
        };
      });
    }
    await this.close();
  }

  /** Stops at once: connections are cut. */
  async close(): Promise<void> {
    this.#draining = true;
    this.#heartbeat.stop();
    for (const connection of this.#connections) connection.terminate();
    await this.#door.close();
    await this.#http.app.close();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', cut);
    const refusal = this.#upgradeRefusal(request);
    if (refusal !== undefined) this.#refuseUpgrade(socket, refusal);
    else void this.#admit(request, socket, head);
  }

  async #admit(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const address = networkOf(this.#proxies.clientOf(request.socket.remoteAddress ?? '', request.headers));
    const excess = await this.#admission.enter(address);
    // ws listens for errors itself
    socket.off('error', cut);
    let isTaken = false;
    // not called where the connection broke meanwhile, or the request turns out to be none of a websocket
    this.#websockets.handleUpgrade(request, socket, head, (websocket) => {
      isTaken = true;
      this.#accept(websocket as ClientSocket, socket as NetworkSocket, request, address, excess);
    });
    if (!isTaken && excess === undefined) this.#admission.leave(address);
  }

  #upgradeRefusal(request: IncomingMessage): ProblemCode | undefined {
    const { url = '', method, headers } = request;
    const problem = this.#hosts.problemOf(request);
    if (problem === 'host_refused') this.#logHost(headers);
    if (problem !== undefined) return problem;
    if (url.split('?', 1)[0] !== PATH) return 'not_found';
    if (hasToken(url)) return 'token_in_url';
    if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket') return 'websocket_required';
    if (this.#hosts.admitsPage(request)) return undefined;
    this.#logPage(
      'origin_refused',
      headers,
      'SNO_ALLOWED_ORIGINS does not include the origin of a page, which was refused',
    );
    return 'origin_refused';
  }

  #logHost(headers: IncomingHttpHeaders): void {
    this.#logPage('host_refused', headers, 'refused a request for a host that is not this server');
  }

  /** A setting is likely to be wrong, so it is a warning: at info a page that was deployed elsewhere fails unnoticed. */
  #logPage(code: 'origin_refused' | 'host_refused', headers: IncomingHttpHeaders, message: string): void {
    const [origin, host] = [headers.origin, headers.host].map((text) => text?.slice(0, LOGGED_CHARACTERS_MAX));
    const { mend } = ERRORS[code];
    this.#services.limits.sometimes(code, () => this.#options.logger.warn({ code, origin, host, mend }, message));
  }

  #deflates({ headers }: IncomingMessage): boolean {
    return this.#options.settings.SNO_COMPRESS_BYTES > 0 && offersDeflate(headers['sec-websocket-extensions']);
  }

  #refuseUpgrade(socket: Duplex, code: ProblemCode): void {
    this.#countProblem(code);
    answerRaw(socket, code, securityHeaders(this.#options.certificate !== undefined, undefined));
  }

  #countProblem(code: ProblemCode): void {
    const { metrics } = this.#options;
    metrics.denials[code]?.inc();
    if (code === 'header_too_large') this.#services.limits.met('header_bytes');
    if (code === 'body_refused') this.#services.limits.met('body_bytes');
  }

  #accept(
    socket: ClientSocket,
    network: NetworkSocket,
    request: IncomingMessage,
    address: string,
    excess: Excess | undefined,
  ): void {
    const guest = this.#door.upgraded(request.socket);
    if (this.#options.certificate !== undefined) forgetHandshake(network);
    const isRefused = this.#draining || excess !== undefined;
    const bearer = isRefused ? undefined : bearerOf(request);
    const origin = { bearer, address, deflates: this.#deflates(request), guest };
    const connection = new Connection(socket, network, this.#services, origin);
    if (isRefused) {
      if (excess === undefined) this.#admission.leave(address);
      this.#refuse(connection, excess, address);
      return;
    }
    this.#heartbeat.join(connection);
    this.#connections.add(connection);
  }

  #closed(connection: Connection): void {
    // of those that were refused nothing is kept
    if (!this.#connections.delete(connection)) return;
    this.#heartbeat.leave(connection);
    this.#admission.leave(connection.address);
    if (this.#connections.size === 0) this.#onEmpty();
  }

  /** Sends a client away that there is no room for. It is told by a close code: a page cannot see an HTTP status. */
  #refuse(connection: Connection, excess: Excess | undefined, address: string): void {
    if (excess === undefined) {
      connection.close(CLOSE.draining, 'draining');
      return;
    }
    const { SNO_MAX_CONNECTIONS: max, SNO_MAX_CONNECTIONS_PER_ADDRESS: perAddressMax } = this.#options.settings;
    const [limit, message] =
      excess === 'in all'
        ? (['connections', `the server has ${max} connections, as many as it may`] as const)
        : (['connections_per_address', `the address has ${perAddressMax} connections, as many as it may`] as const);
    this.#services.limits.met(limit, address);
    connection.refuse(new SnoError('overloaded', message), CLOSE.overloaded);
  }
}

/** A token in a URL is refused rather than overlooked, so that whoever put it there learns that it is in logs by now. */
function hasToken(url: string): boolean {
  const query = new URLSearchParams(url.split('?').slice(1).join('?'));
  return [...query.keys()].some((name) => TOKEN_PARAMETERS.includes(name.toLowerCase()));
}

function bearerOf(request: IncomingMessage): string | undefined {
  return /^Bearer +(\S+)\s*$/i.exec(request.headers.authorization ?? '')?.[1];
}
