/** The routes of the admin API. docs/admin-api.md lists them. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ERRORS, SnoError } from '../../errors.ts';
import type { Http } from '../../http/http.ts';
import type { Logger } from '../../logger.ts';
import { FrameStreams } from './frames.ts';
import { invalid, isForeign, Parameters, readDisconnectRequest, readExplainRequest } from './request.ts';
import type { AdminSource } from './source.ts';
import type { Session } from './types.ts';

export interface ApiOptions {
  readonly source: AdminSource;
  readonly authorization: Session['authorization'];
  readonly logger: Pick<Logger, 'error'>;
}

const PREFIX = '/api';
/** Maximum bytes of a request's body: a token of 64 kB as JSON. */
export const API_BODY_BYTES_MAX = 128 * 1024;

/** The checks are hooks of these routes, so that no spelling of a URL avoids them. */
export function registerApi({ app, refuse }: Http, options: ApiOptions): void {
  app.register(
    (api, _options, done) => {
      api.addHook('onRequest', async ({ method, headers }, reply) => {
        reply.header('cache-control', 'no-store');
        const isChange = method !== 'GET' && method !== 'HEAD';
        return isForeign(headers, isChange && options.authorization === 'loopback')
          ? refuse(reply, 'admin_request_refused')
          : undefined;
      });
      api.setErrorHandler((error, _request, reply) => answerError(error as FastifyError, reply, options));
      serveAnswers(api, options);
      serveFrames(api, refuse, options);
      done();
    },
    { prefix: PREFIX },
  );
}

function serveAnswers(api: FastifyInstance, { source, authorization }: ApiOptions): void {
  const get = (path: string, answer: (parameters: Parameters) => object | Promise<object>) =>
    api.get(path, async ({ url }) => answer(new Parameters(url)));
  get('/session', () => ({ authorization, ...source.session() }) satisfies Session);
  get('/health', () => source.health());
  get('/rates', (parameters) => source.rates(parameters.integer('after', 0, 0, Number.MAX_SAFE_INTEGER)));
  get('/slot', () => source.slot());
  get('/channels', ({ slice }) => source.channels(slice));
  get('/channels/active', ({ pattern, limit }) => source.activeChannels(pattern, limit));
  get('/channel', ({ name, limit }) => source.channel(name, limit));
  get('/connections', ({ connections }) => source.connections(connections));
  get('/incidents', ({ kind }) => source.incidents(kind));
  get('/settings', () => source.settings());
  get('/processes', () => source.processes());
  api.post('/explain', async ({ body }) => source.explain(readExplainRequest(body)));
  api.post('/connections/disconnect', async ({ body }) => source.disconnect(readDisconnectRequest(body).connection));
}

function serveFrames(api: FastifyInstance, refuse: Http['refuse'], { source, authorization }: ApiOptions): void {
  const streams = new FrameStreams();
  api.get('/channel/frames', { exposeHeadRoute: false }, (request: FastifyRequest, reply: FastifyReply) => {
    const parameters = new Parameters(request.url);
    const isShown = parameters.flag('values');
    if (isForeign(request.headers, isShown && authorization === 'loopback'))
      return refuse(reply, 'admin_request_refused');
    const read = source.frames(parameters.name);
    if (read === undefined) throw invalid('this process serves no clients, so it has no frames');
    if (streams.isFull) return refuse(reply, 'admin_busy');
    reply.hijack();
    streams.serve(reply.raw, read, isShown);
    return reply;
  });
}

function answerError(error: FastifyError, reply: FastifyReply, { logger }: ApiOptions): FastifyReply {
  if (error instanceof SnoError && error.code === 'admin_busy') return reply.code(503).send(bodyOf(error));
  if (error instanceof SnoError && error.code === 'admin_request_invalid') return reply.code(400).send(bodyOf(error));
  const status = error.statusCode ?? 500;
  if (status < 500) return reply.code(status).send(bodyOf(invalid(error.message)));
  logger.error(
    { code: 'admin_failed', err: error, hint: ERRORS.admin_failed.hint },
    'the admin API could not answer a request',
  );
  return reply.code(500).send(bodyOf(new SnoError('admin_failed', 'the request could not be answered')));
}

function bodyOf({ code, message, hint }: SnoError): { readonly code: string; readonly message: string } {
  return { code, message: `${message}. ${hint}` };
}
