/**
 * gateway: owns client sockets. HTTP by fastify, websockets by ws, TLS in the process.
 *
 * Nothing a client does ends the process or concerns another client: it gets its error, is counted, and at worst loses its
 * own connection.
 */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Server as TlsServer } from 'node:tls';
import fastify, { type FastifyInstance } from 'fastify';
import { WebSocketServer } from 'ws';
import type { Settings } from '../config.ts';
import { SnoError } from '../errors.ts';
import type { Fanout } from '../fanout/fanout.ts';
import { CLOSE } from '../protocol.ts';
import { Admission } from './admission.ts';
import { serveBundle } from './bundle.ts';
import { type Clock, systemClock } from './clock.ts';
import { Connection, type ConnectionServices, type NetworkSocket } from './connection.ts';
import { Heartbeat } from './heartbeat.ts';
import { originAllowed } from './origin.ts';
import { answerUpgrade, type ProblemCode, problem, STATUS } from './problem.ts';
import { ClientSocket } from './socket.ts';
import { Certificate, type CertificateFiles } from './tls.ts';

const PATH = '/v1';

/** How long the closing handshake may take before the connection is cut. */
const CLOSE_TIMEOUT_MS = 10_000;

/** How long clients get to close after the last was told that the server drains. */
const DRAIN_GRACE_MS = 2_000;

/** Connections beyond the limits that may be in their closing handshake at once; more are cut. */
const REFUSED_MAX = 1_000;

/** For a client that does not finish its TLS handshake or its HTTP request. */
const REQUEST_TIMEOUT_MS = 10_000;

export interface GatewayOptions
  extends Pick<ConnectionServices, 'tokens' | 'access' | 'channels' | 'metrics' | 'logger'> {
  readonly settings: Pick<
    Settings,
    | 'SNO_HOST'
    | 'SNO_PORT'
    | 'SNO_TLS_CERT'
    | 'SNO_TLS_KEY'
    | 'SNO_ALLOWED_ORIGINS'
    | 'SNO_MAX_CONNECTIONS'
    | 'SNO_MAX_CONNECTIONS_PER_ADDRESS'
    | 'SNO_MAX_SUBSCRIPTIONS'
    | 'SNO_MAX_FRAME_BYTES'
    | 'SNO_MAX_FRAMES_PER_SECOND'
  >;
  readonly fanout: Pick<Fanout, 'epoch' | 'attach' | 'accessGeneration' | 'subscriptionCount'>;
  /** The client library's bundle (dist/sno.js). */
  readonly bundleFile: string;
  readonly clock?: Clock;
  /** Between two pings to a client. */
  readonly heartbeatMs?: number;
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #services: ConnectionServices;
  readonly #websockets: WebSocketServer;
  readonly #admission: Admission;
  readonly #heartbeat: Heartbeat<Connection>;
  readonly #connections = new Set<Connection>();
  #app: FastifyInstance | undefined;
  #stopWatching: () => void = () => {};
  #refused = 0;
  #draining = false;
  #onEmpty: () => void = () => {};

  constructor(options: GatewayOptions) {
    const { settings } = options;
    this.#options = options;
    this.#services = {
      ...options,
      clock: options.clock ?? systemClock,
      subscriptionsMax: settings.SNO_MAX_SUBSCRIPTIONS,
      framesPerSecondMax: settings.SNO_MAX_FRAMES_PER_SECOND,
      frameBytesMax: settings.SNO_MAX_FRAME_BYTES,
    };
    this.#websockets = new WebSocketServer({
      noServer: true,
      WebSocket: ClientSocket,
      autoPong: false,
      clientTracking: false,
      maxPayload: settings.SNO_MAX_FRAME_BYTES,
      // Not in the types yet.
      ...({ closeTimeout: CLOSE_TIMEOUT_MS } as object),
    });
    this.#admission = new Admission(settings.SNO_MAX_CONNECTIONS, settings.SNO_MAX_CONNECTIONS_PER_ADDRESS);
    this.#heartbeat = new Heartbeat(options.heartbeatMs);
    options.metrics.observe({
      connections: () => this.#connections.size,
      subscriptions: () => options.fanout.subscriptionCount,
    });
  }

  /** Listens; throws `tls_invalid` or `address_in_use`. */
  async start(): Promise<AddressInfo> {
    const { settings, logger, bundleFile } = this.#options;
    const files = certificateFiles(settings);
    const certificate = files === undefined ? undefined : await Certificate.load(files, logger);
    const app = createApp(certificate?.options);
    this.#app = app;
    app.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    app.server.on('tlsClientError', (error: Error) => logger.debug({ error: error.message }, 'a TLS handshake failed'));
    app.get(PATH, (_request, reply) =>
      reply.code(426).header('upgrade', 'websocket').send(problem('websocket_required')),
    );
    await serveBundle(app, bundleFile);
    await app.ready();
    await listen(app, settings.SNO_HOST, settings.SNO_PORT);
    // Such as no file descriptor left for one more connection.
    app.server.on('error', (error) => logger.error({ error: error.message }, 'a connection could not be accepted'));
    if (certificate !== undefined) this.#stopWatching = certificate.watch(app.server as unknown as TlsServer);
    return app.server.address() as AddressInfo;
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
    const server = this.#app?.server;
    server?.close();
    server?.closeIdleConnections();
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
    this.#stopWatching();
    this.#heartbeat.stop();
    for (const connection of this.#connections) connection.terminate();
    const server = this.#app?.server;
    const closed = server?.listening ? new Promise((resolve) => server.close(resolve)) : undefined;
    server?.closeAllConnections();
    await closed;
    await this.#app?.close();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const refusal = this.#upgradeRefusal(request);
    if (refusal !== undefined) {
      this.#options.metrics.denials[refusal]?.inc();
      answerUpgrade(socket, refusal);
      return;
    }
    this.#websockets.handleUpgrade(request, socket, head, (websocket) => {
      this.#accept(websocket as ClientSocket, socket as NetworkSocket, request);
    });
  }

  #upgradeRefusal({ url, method, headers }: IncomingMessage): ProblemCode | undefined {
    if (url?.split('?', 1)[0] !== PATH) return 'not_found';
    if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket') return 'websocket_required';
    if (originAllowed(headers.origin, headers.host, this.#options.settings.SNO_ALLOWED_ORIGINS)) return undefined;
    this.#options.logger.info(
      { origin: headers.origin, host: headers.host },
      'refused a page of an origin that is not allowed',
    );
    return 'origin_refused';
  }

  #accept(socket: ClientSocket, network: NetworkSocket, request: IncomingMessage): void {
    const address = request.socket.remoteAddress ?? '';
    const excess = this.#draining ? undefined : this.#admission.enter(address);
    if (this.#draining || excess !== undefined) {
      this.#refuse(socket, network, excess);
      return;
    }
    const connection = new Connection(socket, network, this.#services, bearerOf(request));
    const leaveHeartbeat = this.#heartbeat.join(connection);
    this.#connections.add(connection);
    socket.on('close', () => {
      leaveHeartbeat();
      this.#admission.leave(address);
      this.#connections.delete(connection);
      if (this.#connections.size === 0) this.#onEmpty();
    });
  }

  /** Sends a client away that there is no room for. It is told by a close code: a page cannot see an HTTP status. */
  #refuse(socket: ClientSocket, network: NetworkSocket, excess: string | undefined): void {
    if (this.#refused >= REFUSED_MAX) {
      network.destroy();
      return;
    }
    this.#refused++;
    socket.on('close', () => {
      this.#refused--;
    });
    const connection = new Connection(socket, network, this.#services, undefined);
    if (excess === undefined) connection.close(CLOSE.draining, 'draining');
    else connection.refuse(new SnoError('overloaded', excess), CLOSE.overloaded);
  }
}

function createApp(tls: object | undefined): FastifyInstance {
  const timeouts = {
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: REQUEST_TIMEOUT_MS / 2,
  };
  const app = (
    tls === undefined
      ? fastify({ http: timeouts })
      : fastify({ https: { ...timeouts, handshakeTimeout: REQUEST_TIMEOUT_MS, ...tls } })
  ) as FastifyInstance;
  app.setNotFoundHandler((_request, reply) => reply.code(STATUS.not_found).send(problem('not_found')));
  return app;
}

/** Not fastify's own listen, which opens a second server for `localhost`, out of reach of a new certificate. */
async function listen({ server }: FastifyInstance, host: string, port: number): Promise<void> {
  server.listen({ host, port, backlog: 4_096 });
  try {
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new SnoError('address_in_use', `${host}:${port} is taken`, { cause: error });
  }
}

function certificateFiles({
  SNO_TLS_CERT: cert,
  SNO_TLS_KEY: key,
}: GatewayOptions['settings']): CertificateFiles | undefined {
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

function bearerOf(request: IncomingMessage): string | undefined {
  return /^Bearer +(\S+)\s*$/i.exec(request.headers.authorization ?? '')?.[1];
}
