/**
 * `GET /v1/events`: the requests for event streams.
 *
 * EventSource stops for good at any status but 200. So only requests that can never succeed receive
 * another status. If the server cannot serve the client now, it answers 200, names the error in an
 * event, and sets the time after which the client reconnects.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { type ErrorCode, SnoError, toldToClient } from '../../errors.ts';
import { networkOf, type Proxies } from '../../http/address.ts';
import { type ProblemCode, STATUS } from '../../http/problem.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import type { ConnectionAcceptor } from '../accept/acceptor.ts';
import { type AdmissionDesk, excessError } from '../accept/admission.ts';
import type { Clients } from '../clients.ts';
import { allowPage, isFromOwnPage, preflight } from '../cors.ts';
import { bearerOf, cookieOf, hasToken } from '../credentials.ts';
import { eventOf, retryAfter } from './encoding.ts';
import { readQuery, type StreamQuery } from './query.ts';
import { EventStream, FINISHED, LATER_MS, type StreamServices } from './stream.ts';

export const EVENTS_PATH = '/v1/events';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store, no-transform',
  // makes nginx pass each event on at once
  'x-accel-buffering': 'no',
  connection: 'close',
} as const;
const METHODS = 'GET, HEAD, OPTIONS';
const ALLOWED_HEADERS = 'authorization, cache-control, last-event-id';

/** The client port's HTTP. */
export interface EventsHttp {
  readonly isStarting: boolean;
  /** Whether the request's page may connect. Logs a warning if not. */
  admitsPage(request: IncomingMessage): boolean;
  refuse(reply: FastifyReply, code: ProblemCode): FastifyReply;
}

export interface EndpointServices extends StreamServices {
  readonly metrics: Metrics;
  readonly proxies: Proxies;
  readonly acceptor: Pick<ConnectionAcceptor, 'confirmUpgrade'>;
  readonly admission: AdmissionDesk;
  readonly clients: Clients;
  /** The cookie that carries the token. Undefined: none does. */
  readonly cookie: string | undefined;
  readonly settings: { readonly SNO_MAX_CONNECTIONS: number; readonly SNO_MAX_CONNECTIONS_PER_ADDRESS: number };
}

export class EventsEndpoint {
  readonly #services: EndpointServices;
  /** By their sockets, since a client may send a second request while a stream lasts. */
  readonly #streams = new WeakMap<object, EventStream>();
  #count = 0;

  constructor(services: EndpointServices) {
    this.#services = services;
    services.metrics.observe({ eventStreams: () => this.#count });
  }

  route(app: FastifyInstance, http: EventsHttp): void {
    app.addHook('onRequest', async ({ raw: { socket } }, reply) => {
      if (!this.#streams.has(socket)) return undefined;
      // A response could be sent only after the stream has ended.
      socket.destroy();
      return reply.hijack();
    });
    app.all(EVENTS_PATH, { exposeHeadRoute: false }, ({ raw }, reply) => this.#answer(raw, reply, http));
  }

  async #answer(request: IncomingMessage, reply: FastifyReply, http: EventsHttp): Promise<FastifyReply> {
    const { headers, method, url = '' } = request;
    if (hasToken(url)) return http.refuse(reply, 'token_in_url');
    if (!http.admitsPage(request)) return http.refuse(reply, 'origin_refused');
    allowPage(reply, headers.origin);
    if (method === 'OPTIONS') return preflight(reply, METHODS, ALLOWED_HEADERS);
    if (method !== 'GET' && method !== 'HEAD') return http.refuse(reply, 'method_refused');
    if (http.isStarting) return this.#comeBack(reply, new SnoError('starting', 'the service is starting'));
    const query = readQuery(request);
    if (query === undefined) return http.refuse(reply, 'parameters_invalid');
    const { subscriptionsMax, cookie } = this.#services;
    if (subscriptionsMax > 0 && query.channels.length > subscriptionsMax) {
      this.#services.limits.report('subscriptions', this.#addressOf(request));
      return http.refuse(reply, 'too_many_subscriptions');
    }
    const bearer = bearerOf(headers);
    const token = bearer ?? (cookie === undefined ? undefined : cookieOf(headers, cookie));
    if (bearer === undefined && token !== undefined && !isFromOwnPage(request))
      return http.refuse(reply, 'origin_refused');
    if (method === 'HEAD') return reply.headers(HEADERS).send();
    if (query.since === FINISHED) return reply.code(204).header('cache-control', 'no-store').send();
    return this.#open(request, reply, query, token, http);
  }

  async #open(
    request: IncomingMessage,
    reply: FastifyReply,
    query: StreamQuery,
    token: string | undefined,
    http: EventsHttp,
  ): Promise<FastifyReply> {
    const { fanout, admission, clients, acceptor, limits } = this.#services;
    const response = reply.raw;
    const address = this.#addressOf(request);
    const stream = new EventStream(response, query, address, this.#services);
    const identity = await stream.verify(token);
    const excess = identity instanceof SnoError ? undefined : await admission.enter(address);
    const isCounted = !(identity instanceof SnoError) && excess === undefined;
    const { epoch } = fanout;
    if (!isCounted || epoch === undefined || clients.isDraining || request.socket.destroyed) {
      stream.end();
      if (isCounted) admission.leave(address);
      if (request.socket.destroyed) return reply.hijack();
      if (identity instanceof SnoError) {
        if (isStatus(identity.code)) return http.refuse(reply.header('connection', 'close'), identity.code);
        return this.#comeBack(reply, identity);
      }
      if (excess === undefined)
        return this.#comeBack(reply, new SnoError('try_again', 'the server does not serve this client now'));
      const { limit, error } = excessError(excess, this.#services.settings);
      limits.report(limit, address);
      return this.#comeBack(reply, error);
    }
    acceptor.confirmUpgrade(request.socket, address)?.settle();
    reply.hijack();
    // A connection that breaks meanwhile closes the response.
    response.on('error', () => {});
    response.on('close', () => this.#onClose(stream));
    this.#streams.set(request.socket, stream);
    this.#count++;
    clients.add(stream);
    // Without chunks: the bytes that many clients share are written unchanged.
    response.useChunkedEncodingByDefault = false;
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) response.setHeader(name, value);
    response.writeHead(200, HEADERS).flushHeaders();
    stream.open(identity, epoch);
    return reply;
  }

  #onClose(stream: EventStream): void {
    this.#count--;
    stream.end();
    this.#services.clients.forget(stream);
  }

  /** Answers with the error in an event, and the time after which the client reconnects. */
  #comeBack(reply: FastifyReply, error: SnoError): FastifyReply {
    const { metrics, clock, incidents } = this.#services;
    const [from, to] = LATER_MS;
    const told = toldToClient(error);
    metrics.denials[told.code]?.inc();
    incidents?.record('denial', told.code, { cause: error.message, hint: error.hint });
    const wait = retryAfter(from + (to - from) * clock.random());
    return reply.headers(HEADERS).send(Buffer.concat([wait, eventOf({ type: 'error', ...told })]));
  }

  #addressOf({ socket, headers }: IncomingMessage): string {
    return networkOf(this.#services.proxies.clientOf(socket.remoteAddress ?? '', headers));
  }
}

function isStatus(code: ErrorCode): code is ProblemCode {
  return code in STATUS;
}
