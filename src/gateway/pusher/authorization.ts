/**
 * Signatures for clients with a token: `POST /pusher/auth` signs the channels that the token may
 * join, and `POST /pusher/user-auth` signs its user in.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Claims } from '../../access/access.ts';
import { isSocketId } from '../../channels/published.ts';
import { SnoError } from '../../errors.ts';
import { networkOf, type Proxies } from '../../http/address.ts';
import type { ProblemCode } from '../../http/problem.ts';
import { allowPage, isFromOwnPage, preflight } from '../cors.ts';
import { bearerOf, cookieOf } from '../credentials.ts';
import type { PusherApp } from './app.ts';
import { subscriptionText, userText } from './app.ts';
import type { PusherServices } from './connection.ts';
import { mayJoin } from './may-join.ts';
import { channelDataOf } from './member.ts';
import { isEncrypted, parseName } from './names.ts';

const CHANNEL_PATH = '/pusher/auth';
const USER_PATH = '/pusher/user-auth';
const BODY_BYTES_MAX = 64 * 1024;
const HEADERS = 'authorization, content-type, x-csrf-token, x-requested-with, x-socket-id, x-xsrf-token';

export interface AuthorizationServices extends PusherServices {
  readonly app: PusherApp;
  readonly proxies: Proxies;
  /** The cookie that carries the token. Undefined: none does. */
  readonly cookie: string | undefined;
}

/** The client port's HTTP. */
export interface ClientPort {
  /** Whether the request's page may connect. Logs a warning if not. */
  admitsPage(request: IncomingMessage): boolean;
  refuse(reply: FastifyReply, code: ProblemCode): FastifyReply;
}

/** A client's request for a signature. */
interface Question {
  readonly socketId: string | undefined;
  readonly channel: string | undefined;
}

/** A client with a token that is valid, or without one. */
interface Asker {
  readonly claims: Claims;
  readonly address: string;
}

type Signed = { readonly auth: string; readonly channel_data?: string | undefined; readonly user_data?: string };

/** Whether a POST to this URL asks for a signature. */
export function isAuthorizationUrl(url: string): boolean {
  const [path] = url.split('?', 1);
  return path === CHANNEL_PATH || path === USER_PATH;
}

export class Authorization {
  readonly #services: AuthorizationServices;
  readonly #answer: (reply: FastifyReply, error: SnoError) => FastifyReply;

  /** `answer`: answers with an error. */
  constructor(services: AuthorizationServices, answer: (reply: FastifyReply, error: SnoError) => FastifyReply) {
    this.#services = services;
    this.#answer = answer;
  }

  /** The scope's bodies are bytes. */
  route(scope: FastifyInstance, port: ClientPort): void {
    const signers = { [CHANNEL_PATH]: this.#signChannel, [USER_PATH]: this.#signUser };
    for (const [path, sign] of Object.entries(signers)) {
      scope.options(path, ({ raw }, reply) => {
        if (!port.admitsPage(raw)) return port.refuse(reply, 'origin_refused');
        allowPage(reply, raw.headers.origin);
        return preflight(reply, 'POST, OPTIONS', HEADERS);
      });
      scope.post(path, { bodyLimit: BODY_BYTES_MAX }, async (request, reply) => {
        const asker = await this.#askerOf(request, reply, port);
        if (asker === undefined) return reply;
        const signed = asker instanceof SnoError ? asker : await sign(questionIn(request), asker);
        return signed instanceof SnoError ? this.#answer(reply, signed) : send(reply, 200, signed);
      });
    }
  }

  /** Undefined: the request has been refused. */
  async #askerOf(
    { raw }: FastifyRequest,
    reply: FastifyReply,
    port: ClientPort,
  ): Promise<Asker | SnoError | undefined> {
    const { headers, socket } = raw;
    const { cookie, limits, tokens, tokenBytesMax, proxies } = this.#services;
    const bearer = bearerOf(headers);
    const token = bearer ?? (cookie === undefined ? undefined : cookieOf(headers, cookie));
    const isOfOtherPage = bearer === undefined && token !== undefined && !isFromOwnPage(raw);
    if (!port.admitsPage(raw) || isOfOtherPage) {
      port.refuse(reply, 'origin_refused');
      return undefined;
    }
    allowPage(reply, headers.origin);
    const address = networkOf(proxies.clientOf(socket.remoteAddress ?? '', headers));
    if (token !== undefined && Buffer.byteLength(token) > tokenBytesMax) {
      limits.report('token_bytes', address);
      return new SnoError('token_invalid', `the token is longer than ${tokenBytesMax} bytes`);
    }
    const identity = await tokens.verify(token);
    return identity instanceof SnoError ? identity : { claims: identity.claims, address };
  }

  readonly #signChannel = async (
    { socketId, channel }: Question,
    { claims, address }: Asker,
  ): Promise<Signed | SnoError> => {
    if (channel !== undefined && isEncrypted(channel))
      return new SnoError('pusher_request_invalid', 'encrypted channels are not served');
    const name = channel === undefined ? undefined : parseName(channel);
    if (socketId === undefined || name?.isPrivate !== true || name.user !== undefined)
      return new SnoError('pusher_request_invalid', 'socket_id and the channel_name of a private channel are needed');
    const found = await mayJoin(name.channel, claims, address, this.#services, name.isPresence);
    if (found instanceof SnoError) return found;
    const data = found === undefined ? undefined : channelDataOf(found);
    return { auth: this.#services.app.authOf(subscriptionText(socketId, name.name, data)), channel_data: data };
  };

  readonly #signUser = async ({ socketId }: Question, { claims }: Asker): Promise<Signed | SnoError> => {
    if (socketId === undefined) return new SnoError('pusher_request_invalid', 'socket_id is needed');
    const { sub } = claims;
    if (typeof sub !== 'string' || sub === '') return new SnoError('access_denied', 'the token names no user (sub)');
    const data = JSON.stringify({ id: sub });
    return { auth: this.#services.app.authOf(userText(socketId, data)), user_data: data };
  };
}

export function send(reply: FastifyReply, status: number, body: object): FastifyReply {
  return reply.code(status).header('cache-control', 'no-store').send(body);
}

/** Reads a form or JSON. A member that is missing or invalid is undefined. */
function questionIn({ body, headers }: FastifyRequest): Question {
  const text = Buffer.isBuffer(body) ? body.toString('utf8') : '';
  let members: Readonly<Record<string, unknown>> | null;
  try {
    members = /\bjson\b/i.test(headers['content-type'] ?? '')
      ? JSON.parse(text)
      : Object.fromEntries(new URLSearchParams(text));
  } catch {
    members = null;
  }
  const { socket_id: socketId, channel_name: channel } = members ?? {};
  return {
    socketId: typeof socketId === 'string' && isSocketId(socketId) ? socketId : undefined,
    channel: typeof channel === 'string' ? channel : undefined,
  };
}
