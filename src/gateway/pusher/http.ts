/**
 * HTTP for Pusher's libraries: `POST /pusher/auth` signs the channels that a token may join, and
 * the app's server publishes by `/apps/{id}/...`.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ANONYMOUS } from '../../access/access.ts';
import { isSocketId } from '../../channels/published.ts';
import { SnoError, toldToClient } from '../../errors.ts';
import { networkOf, type Proxies } from '../../http/address.ts';
import type { ProblemCode } from '../../http/problem.ts';
import type { Publication } from '../../postgres/publisher.ts';
import type { ConnectionAcceptor } from '../accept/acceptor.ts';
import { allowPage, isFromOwnPage, preflight } from '../cors.ts';
import { bearerOf, cookieOf } from '../credentials.ts';
import {
  type Asked,
  askedOf,
  askedOfBatch,
  batchOf,
  isSignedBody,
  publicationsOf,
  signatureProblem,
} from './api-request.ts';
import { subscriptionText } from './app.ts';
import { type CensusServices, channelState, channelUsers, countsBeside, occupiedChannels } from './census.ts';
import { statusOf } from './codes.ts';
import type { PusherServices } from './connection.ts';
import { DECIDED_BY_APP } from './credential.ts';
import { mayJoin } from './may-join.ts';
import { channelDataOf } from './member.ts';
import { parseName } from './names.ts';

const AUTH_PATH = '/pusher/auth';
const AUTH_BODY_BYTES_MAX = 64 * 1024;
/** Maximum bytes of a request that publishes. Its signature is checked before its body is read. */
export const API_BODY_BYTES_MAX = 32 * 1024 * 1024;
const API_PATH = /^\/apps\/[^/?]+\/(batch_)?events(\?|$)/;
const AUTH_HEADERS = 'authorization, content-type, x-csrf-token, x-requested-with, x-socket-id, x-xsrf-token';

export interface PusherHttpServices extends PusherServices {
  readonly proxies: Proxies;
  readonly acceptor: Pick<ConnectionAcceptor, 'confirmUpgrade'>;
  /** The cookie that carries the token. Undefined: none does. */
  readonly cookie: string | undefined;
  readonly presence: PusherServices['presence'] & CensusServices['presence'];
  readonly subscriptions: CensusServices['subscriptions'];
  /** Resolves when the messages are committed. */
  readonly publish: (messages: readonly Publication[]) => Promise<void>;
}

/** The client port's HTTP. */
interface ClientPort {
  /** Whether the request's page may connect. Logs a warning if not. */
  admitsPage(request: IncomingMessage): boolean;
  refuse(reply: FastifyReply, code: ProblemCode): FastifyReply;
}

/** Whether a POST to this URL has a body that is read. */
export function takesPusherBody(url: string): boolean {
  return API_PATH.test(url) || url.split('?', 1)[0] === AUTH_PATH;
}

export class PusherHttp {
  readonly #services: PusherHttpServices;

  constructor(services: PusherHttpServices) {
    this.#services = services;
  }

  async route(app: FastifyInstance, port: ClientPort): Promise<void> {
    await app.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
      scope.setErrorHandler((error: FastifyError, _request, reply) => {
        if (error.statusCode === undefined || error.statusCode >= 500) throw error;
        return port.refuse(reply, error.statusCode === 413 ? 'body_refused' : 'request_malformed');
      });
      scope.options(AUTH_PATH, ({ raw }, reply) => {
        if (!port.admitsPage(raw)) return port.refuse(reply, 'origin_refused');
        allowPage(reply, raw.headers.origin);
        return preflight(reply, 'POST, OPTIONS', AUTH_HEADERS);
      });
      scope.post(AUTH_PATH, { bodyLimit: AUTH_BODY_BYTES_MAX }, (request, reply) => this.#auth(request, reply, port));
      const onRequest = (request: FastifyRequest, reply: FastifyReply) => this.#checkSignature(request, reply, port);
      const options = { bodyLimit: API_BODY_BYTES_MAX, onRequest };
      type Answer = (name: string, query: URLSearchParams) => object | SnoError | Promise<object | SnoError>;
      const ask = (path: string, answer: Answer) =>
        scope.get(`/apps/:id/channels${path}`, { onRequest, exposeHeadRoute: false }, async (request, reply) => {
          const { name = '' } = request.params as { name?: string };
          const found = await answer(name, new URLSearchParams(request.url.split('?', 2)[1]));
          return found instanceof SnoError ? this.#answer(reply, found) : send(reply, 200, found);
        });
      ask('', (_name, query) => occupiedChannels(this.#services, query));
      ask('/:name', (name, query) => channelState(this.#services, name, query));
      ask('/:name/users', (name) => channelUsers(this.#services, name));
      scope.post('/apps/:id/events', options, async (request, reply) =>
        this.#publish(request, reply, publicationsOf, async (body) => {
          const asked = askedOf(body);
          return asked && { channels: Object.fromEntries(await this.#countsOf(asked)) };
        }),
      );
      scope.post('/apps/:id/batch_events', options, async (request, reply) =>
        this.#publish(request, reply, batchOf, async (body) => {
          const asked = askedOfBatch(body);
          return asked && { batch: (await this.#countsOf(asked)).map(([, counts]) => counts) };
        }),
      );
    });
  }

  async #auth({ raw, body }: FastifyRequest, reply: FastifyReply, port: ClientPort): Promise<FastifyReply> {
    if (!port.admitsPage(raw)) return port.refuse(reply, 'origin_refused');
    const { headers } = raw;
    allowPage(reply, headers.origin);
    const { cookie, app, limits, tokens, tokenBytesMax } = this.#services;
    const bearer = bearerOf(headers);
    const token = bearer ?? (cookie === undefined ? undefined : cookieOf(headers, cookie));
    if (bearer === undefined && token !== undefined && !isFromOwnPage(raw)) return port.refuse(reply, 'origin_refused');
    const { socketId, channel } = authQuestion(headers['content-type'], body);
    const name = channel === undefined ? undefined : parseName(channel);
    if (socketId === undefined || !isSocketId(socketId) || name?.isPrivate !== true || name.user !== undefined)
      return this.#answer(
        reply,
        new SnoError('parameters_invalid', 'socket_id and the channel_name of a private channel are needed'),
      );
    const address = this.#addressOf(raw);
    if (token !== undefined && Buffer.byteLength(token) > tokenBytesMax) {
      limits.report('token_bytes', address);
      return this.#answer(reply, new SnoError('token_invalid', `the token is longer than ${tokenBytesMax} bytes`));
    }
    const identity = await tokens.verify(token);
    if (identity instanceof SnoError) return this.#answer(reply, identity);
    const found = await mayJoin(name.channel, identity.claims, address, this.#services, name.isPresence);
    if (found instanceof SnoError) return this.#answer(reply, found);
    const data = found === undefined ? undefined : channelDataOf(found);
    const auth = app.authOf(subscriptionText(socketId, name.name, data));
    return send(reply, 200, { auth, channel_data: data });
  }

  /** Checks the signature before the body is read. */
  async #checkSignature({ raw, params }: FastifyRequest, reply: FastifyReply, port: ClientPort): Promise<unknown> {
    const { app, clock, acceptor } = this.#services;
    const { method = '', url = '' } = raw;
    if ((params as { id: string }).id !== app.id) return port.refuse(reply, 'not_found');
    const problem = signatureProblem({ method, url }, app, clock.now());
    if (problem !== undefined) return this.#answer(reply, problem);
    // The app's server may send slowly, and keep the connection open.
    acceptor.confirmUpgrade(raw.socket, this.#addressOf(raw))?.settle();
    return undefined;
  }

  async #publish(
    { raw, body }: FastifyRequest,
    reply: FastifyReply,
    read: (body: Buffer) => readonly Publication[] | SnoError,
    answerTo: (body: Buffer) => Promise<object | undefined>,
  ): Promise<FastifyReply> {
    const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
    if (!isSignedBody(raw.url ?? '', bytes))
      return this.#answer(reply, new SnoError('signature_invalid', 'body_md5 is not the hash of the body'));
    const messages = read(bytes);
    if (messages instanceof SnoError) return this.#answer(reply, messages);
    const address = this.#addressOf(raw);
    const services = { ...this.#services, access: DECIDED_BY_APP };
    // A message to an unknown channel would be dropped silently.
    const names = [...new Set(messages.map(({ channel }) => channel))];
    const problems = await Promise.all(names.map((name) => mayJoin(name, ANONYMOUS, address, services)));
    const problem = problems.find((each) => each instanceof SnoError);
    if (problem !== undefined) return this.#answer(reply, problem);
    try {
      await this.#services.publish(messages);
    } catch (error) {
      const hint = 'The server library may retry. If it goes on, see whether Postgres answers.';
      this.#services.logger.warn({ error: (error as Error).message, hint }, 'a request to publish failed');
      return this.#answer(reply, new SnoError('try_again', 'the database did not take the messages'));
    }
    return send(reply, 200, (await answerTo(bytes)) ?? {});
  }

  #countsOf(asked: readonly Asked[]): Promise<readonly (readonly [string, object])[]> {
    const tell = async ({ channel, info }: Asked) =>
      [channel, await countsBeside(this.#services, channel, info)] as const;
    return Promise.all(asked.map(tell));
  }

  #answer(reply: FastifyReply, error: SnoError): FastifyReply {
    const { metrics, incidents } = this.#services;
    const told = toldToClient(error);
    metrics.denials[told.code]?.inc();
    incidents?.record('denial', told.code, { cause: error.detail ?? error.message, hint: error.hint });
    return send(reply, statusOf(told.code), told);
  }

  #addressOf({ socket, headers }: IncomingMessage): string {
    return networkOf(this.#services.proxies.clientOf(socket.remoteAddress ?? '', headers));
  }
}

function send(reply: FastifyReply, status: number, body: object): FastifyReply {
  return reply.code(status).header('cache-control', 'no-store').send(body);
}

/** What a client asks to have signed, as a form or as JSON. */
function authQuestion(type = '', body: unknown): { readonly socketId?: string; readonly channel?: string } {
  const text = Buffer.isBuffer(body) ? body.toString('utf8') : '';
  let members: Readonly<Record<string, unknown>>;
  try {
    members = /\bjson\b/i.test(type) ? JSON.parse(text) : Object.fromEntries(new URLSearchParams(text));
  } catch {
    return {};
  }
  const { socket_id: socketId, channel_name: channel } = members ?? {};
  return typeof socketId === 'string' && typeof channel === 'string' ? { socketId, channel } : {};
}
