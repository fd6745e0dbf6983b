/**
 * HTTP on the client port: serves the client library and event streams, and refuses invalid
 * websocket upgrades. While the service starts, it serves only /sno.js, so that a page loaded then
 * can connect later. Event streams receive the error `starting` and a time to reconnect, Pusher
 * clients wait, and other requests receive 503.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Server as TlsServer } from 'node:tls';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { ERRORS } from '../errors.ts';
import type { Proxies } from '../http/address.ts';
import { securityHeaders } from '../http/headers.ts';
import { type HostSettings, Hosts } from '../http/host.ts';
import { createHttp, type Http } from '../http/http.ts';
import { answerRaw, type ProblemCode } from '../http/problem.ts';
import type { Certificate } from '../http/tls.ts';
import type { Logger } from '../logger.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { BUNDLE_PATH, serveBundle } from './bundle.ts';
import { hasToken } from './credentials.ts';
import { type Limits, LOGGED_CHARACTERS_MAX } from './limits.ts';
import type { PusherEndpoint } from './pusher/endpoint.ts';
import { API_BODY_BYTES_MAX, takesPusherBody } from './pusher/http.ts';
import { EVENTS_PATH, type EventsEndpoint } from './sse/endpoint.ts';

const PATH = '/v1';

export interface ClientHttpOptions {
  readonly settings: HostSettings & { readonly SNO_MAX_HEADER_BYTES: number };
  /** Undefined: plain HTTP. */
  readonly certificate: Certificate | undefined;
  /** The client library's bundle (dist/sno.js). */
  readonly bundleFile: string;
  readonly proxies: Proxies;
  readonly limits: Limits;
  readonly metrics: Pick<Metrics, 'denials' | 'tlsFailures'>;
  readonly logger: Logger;
  /** Recent faults, for the operator. */
  readonly incidents?: Incidents;
  readonly events: EventsEndpoint;
  /** Undefined: Pusher clients are not served. */
  readonly pusher: PusherEndpoint | undefined;
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

export class ClientHttp {
  readonly #options: ClientHttpOptions;
  readonly #hosts: Hosts;
  readonly #http: Http;
  #isStarting = true;

  constructor(options: ClientHttpOptions) {
    const { settings, certificate, proxies } = options;
    this.#options = options;
    this.#hosts = new Hosts(certificate !== undefined, settings, proxies);
    this.#http = createHttp({
      tls: certificate?.options,
      headerBytesMax: settings.SNO_MAX_HEADER_BYTES,
      ...(options.pusher === undefined ? {} : { bodyBytesMax: API_BODY_BYTES_MAX, takesBody: takesPusherBody }),
      onProblem: (code) => this.#countProblem(code),
    });
  }

  get app(): FastifyInstance {
    return this.#http.app;
  }

  /** Prepares the server for sockets. */
  async prepare(): Promise<void> {
    const { metrics, logger, certificate, bundleFile, events, onUpgrade } = this.#options;
    const { app, refuse } = this.#http;
    app.server.on('upgrade', onUpgrade);
    app.server.on('tlsClientError', (error: Error) => {
      metrics.tlsFailures.inc();
      logger.debug({ error: error.message }, 'a TLS handshake failed');
    });
    app.addHook('onRequest', async ({ raw }, reply) => {
      const problem = this.#hostProblem(raw) ?? this.#startProblem(raw);
      return problem === undefined ? undefined : refuse(reply, problem);
    });
    app.get(PATH, (request, reply) => refuse(reply, hasToken(request.url) ? 'token_in_url' : 'websocket_required'));
    events.route(app, this);
    await this.#options.pusher?.http.route(app, this);
    await serveBundle(app, bundleFile);
    await app.ready();
    certificate?.serve(app.server as unknown as TlsServer);
  }

  get isStarting(): boolean {
    return this.#isStarting;
  }

  /** Call when the service has started. */
  open(): void {
    this.#isStarting = false;
  }

  /** Refuses clients until `open`. */
  shut(): void {
    this.#isStarting = true;
  }

  /** Why a request to upgrade is refused. Undefined: it may become a websocket. */
  upgradeProblem(request: IncomingMessage): ProblemCode | undefined {
    const { url = '', method, headers } = request;
    const problem = this.#hostProblem(request) ?? this.#startProblem(request);
    if (problem !== undefined) return problem;
    if (url.split('?', 1)[0] !== PATH && this.#options.pusher?.serves(url) !== true) return 'not_found';
    if (hasToken(url)) return 'token_in_url';
    if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket') return 'websocket_required';
    return this.admitsPage(request) ? undefined : 'origin_refused';
  }

  /** Whether the page may connect. Logs a warning if not. */
  admitsPage(request: IncomingMessage): boolean {
    if (this.#hosts.admitsPage(request)) return true;
    const message = 'a page was refused: SNO_ALLOWED_ORIGINS does not include its origin';
    this.#logPage('origin_refused', request.headers, message);
    return false;
  }

  refuse(reply: FastifyReply, code: ProblemCode): FastifyReply {
    return this.#http.refuse(reply, code);
  }

  refuseUpgrade(socket: Duplex, code: ProblemCode): void {
    this.#countProblem(code);
    answerRaw(socket, code, securityHeaders(this.#options.certificate !== undefined, undefined));
  }

  close(): PromiseLike<unknown> {
    return this.app.close();
  }

  #hostProblem(request: IncomingMessage): ProblemCode | undefined {
    const problem = this.#hosts.problemOf(request);
    if (problem === 'host_refused')
      this.#logPage(problem, request.headers, 'refused a request for a host that is not this server');
    return problem;
  }

  #startProblem({ url = '', headers }: IncomingMessage): ProblemCode | undefined {
    if (!this.#isStarting) return undefined;
    const path = url.split('?', 1)[0];
    // Event streams answer by themselves.
    const isServed = path === BUNDLE_PATH || path === EVENTS_PATH;
    if (isServed && headers.upgrade === undefined) return undefined;
    // A Pusher client is upgraded, and waits.
    return headers.upgrade !== undefined && this.#options.pusher?.serves(url) === true ? undefined : 'starting';
  }

  /**
   * Logs a warning, since a setting is probably wrong. At info level, a page deployed elsewhere
   * would fail unnoticed.
   */
  #logPage(code: 'origin_refused' | 'host_refused', headers: IncomingHttpHeaders, message: string): void {
    const { limits, logger } = this.#options;
    const [origin, host] = [headers.origin, headers.host].map((text) => text?.slice(0, LOGGED_CHARACTERS_MAX));
    limits.logSometimes(code, () => logger.warn({ code, origin, host, hint: ERRORS[code].hint }, message));
  }

  #countProblem(code: ProblemCode): void {
    const { metrics, limits, incidents } = this.#options;
    metrics.denials[code]?.inc();
    incidents?.record('denial', code, { cause: ERRORS[code].cause });
    if (code === 'header_too_large') limits.report('header_bytes');
    if (code === 'body_refused') limits.report('body_bytes');
  }
}
