/**
 * HTTP for Pusher's libraries: signatures for clients (authorization.ts), and the app's server
 * publishes, counts and signs out by `/apps/{id}/...`.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ANONYMOUS } from '../../access/access.ts';
import { SnoError, toldToClient } from '../../errors.ts';
import { networkOf } from '../../http/address.ts';
import type { SignOuts } from '../../peers/sign-outs.ts';
import type { Publication } from '../../postgres/publisher.ts';
import type { ConnectionAcceptor } from '../accept/acceptor.ts';
import {
  type Asked,
  askedOf,
  askedOfBatch,
  batchOf,
  isSignedBody,
  publicationsOf,
  signatureProblem,
} from './api-request.ts';
import {
  Authorization,
  type AuthorizationServices,
  type ClientPort,
  isAuthorizationUrl,
  send,
} from './authorization.ts';
import { type CensusServices, channelState, channelUsers, countsBeside, occupiedChannels } from './census.ts';
import { statusOf } from './codes.ts';
import { DECIDED_BY_APP } from './credential.ts';
import { mayJoin } from './may-join.ts';

/** Maximum bytes of a request that publishes. Its signature is checked before its body is read. */
export const API_BODY_BYTES_MAX = 32 * 1024 * 1024;
const API_PATH = /^\/apps\/[^/?]+\/((batch_)?events|users\/[^/?]+\/terminate_connections)(\?|$)/;

export interface PusherHttpServices extends AuthorizationServices {
  readonly acceptor: Pick<ConnectionAcceptor, 'confirmUpgrade'>;
  readonly presence: AuthorizationServices['presence'] & CensusServices['presence'];
  readonly subscriptions: CensusServices['subscriptions'];
  readonly signOuts: Pick<SignOuts, 'end'>;
  /** Resolves when the messages are committed. */
  readonly publish: (messages: readonly Publication[]) => Promise<void>;
}

/** Whether a POST to this URL has a body that is read. */
export function takesPusherBody(url: string): boolean {
  return API_PATH.test(url) || isAuthorizationUrl(url);
}

export class PusherHttp {
  readonly #services: PusherHttpServices;
  readonly #authorization: Authorization;

  constructor(services: PusherHttpServices) {
    this.#services = services;
    this.#authorization = new Authorization(services, (reply, error) => this.#answer(reply, error));
  }

  async route(app: FastifyInstance, port: ClientPort): Promise<void> {
    await app.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
      scope.setErrorHandler((error: FastifyError, _request, reply) => {
        if (error.statusCode === undefined || error.statusCode >= 500) throw error;
        return port.refuse(reply, error.statusCode === 413 ? 'body_refused' : 'request_malformed');
      });
      this.#authorization.route(scope, port);
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
      scope.post('/apps/:id/users/:user/terminate_connections', options, ({ raw, body, params }, reply) => {
        if (!isSignedBody(raw.url ?? '', bytesOf(body))) return this.#answer(reply, wrongBody());
        this.#services.signOuts.end((params as { user: string }).user);
        return send(reply, 200, {});
      });
    });
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
    const bytes = bytesOf(body);
    if (!isSignedBody(raw.url ?? '', bytes)) return this.#answer(reply, wrongBody());
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

function bytesOf(body: unknown): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

function wrongBody(): SnoError {
  return new SnoError('signature_invalid', 'body_md5 is not the hash of the body');
}
