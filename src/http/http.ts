/**
 * The HTTP server that both ports share. It answers small requests, with errors as JSON and
 * security headers.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { securityHeaders } from './headers.ts';
import { answerRaw, type ProblemCode, problem } from './problem.ts';
import type { TlsOptions } from './tls.ts';

export interface HttpOptions {
  /** Undefined: plain HTTP. */
  readonly tls: TlsOptions | undefined;
  readonly headerBytesMax: number;
  /** Maximum bytes of the body of a POST. Undefined: no request may have a body. */
  readonly bodyBytesMax?: number;
  /** Whether a POST to this URL may have a body. Undefined: to any, if there is a maximum. */
  readonly takesBody?: (url: string) => boolean;
  /** Called for each request that is answered with an error. */
  readonly onProblem: (code: ProblemCode) => void;
}

export interface Http {
  readonly app: FastifyInstance;
  /** Answers with the error's status, headers and text, and calls `onProblem`. */
  refuse(reply: FastifyReply, code: ProblemCode): FastifyReply;
}

/**
 * How long an incomplete request may take before the server closes it, in ms. Applies if the server
 * itself listens.
 */
const REQUEST_TIMEOUT_MS = 10_000;
/** How long a connection may idle between two requests, in ms. */
const IDLE_MS = 5_000;
/** Maximum requests over one connection before it is closed. */
const REQUESTS_MAX = 100;

export function createHttp(options: HttpOptions): Http {
  const { tls, headerBytesMax, bodyBytesMax = 0, takesBody = () => true, onProblem } = options;
  const isTls = tls !== undefined;
  const refuse = (reply: FastifyReply, code: ProblemCode): FastifyReply => {
    onProblem(code);
    const { status, headers, body } = problem(code);
    return reply.code(status).headers(headers).send(body);
  };
  const onClientError = (error: NodeJS.ErrnoException, socket: Socket): void => {
    // Bytes that are not HTTP, or a failed TLS handshake, receive no answer.
    if (!socket.writable || !error.code?.startsWith('HPE_')) {
      socket.destroy();
      return;
    }
    const code = error.code === 'HPE_HEADER_OVERFLOW' ? 'header_too_large' : 'request_malformed';
    onProblem(code);
    answerRaw(socket, code, securityHeaders(isTls, undefined));
  };

  const http = {
    maxHeaderSize: headerBytesMax,
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: REQUEST_TIMEOUT_MS / 10,
    // Node's own answers lack the strict headers: see `Hosts`.
    requireHostHeader: false,
  };
  const app = fastify({
    ...(isTls ? { https: { ...http, ...tls } } : { http }),
    keepAliveTimeout: IDLE_MS,
    maxRequestsPerSocket: REQUESTS_MAX,
    bodyLimit: Math.max(1, bodyBytesMax),
    clientErrorHandler: onClientError,
    frameworkErrors: (_error: Error, _request: unknown, reply: FastifyReply) => refuse(reply, 'request_malformed'),
  } as object) as unknown as FastifyInstance;
  // Set before the framework sees the request, so that the framework's own answers have them too.
  app.server.prependListener('request', ({ headers }: IncomingMessage, response: ServerResponse) => {
    for (const [name, value] of Object.entries(securityHeaders(isTls, headers.host))) response.setHeader(name, value);
  });
  app.addHook('onRequest', async ({ method, headers, url }, reply) => {
    const hasBody = Number(headers['content-length'] ?? 0) !== 0 || headers['transfer-encoding'] !== undefined;
    if (!hasBody || (bodyBytesMax > 0 && method === 'POST' && takesBody(url))) return undefined;
    return refuse(reply, 'body_refused');
  });
  app.setNotFoundHandler((_request, reply) => refuse(reply, 'not_found'));
  return { app, refuse };
}
