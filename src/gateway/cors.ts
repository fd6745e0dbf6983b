/** Answers to pages of other origins (CORS). Their origin has been admitted before. */
import type { IncomingMessage } from 'node:http';
import type { FastifyReply } from 'fastify';

/** How long browsers may keep the answer to a preflight, in seconds. */
const PREFLIGHT_SECONDS = 600;

/** A page of another origin may read the answer. It has been admitted. */
export function allowPage(reply: FastifyReply, origin: string | undefined): void {
  reply.header('vary', 'Origin, Cookie, Authorization');
  if (origin === undefined) return;
  reply.header('access-control-allow-origin', origin);
  reply.header('access-control-allow-credentials', 'true');
}

/** `headers`: those that a page may set, separated by commas. */
export function preflight(reply: FastifyReply, methods: string, headers: string): FastifyReply {
  return reply
    .code(204)
    .headers({
      'access-control-allow-methods': methods,
      'access-control-allow-headers': headers,
      'access-control-max-age': String(PREFLIGHT_SECONDS),
    })
    .send();
}

/**
 * A browser sends cookies with requests of any site. Its requests to another origin have an Origin,
 * which has been admitted. Other requests of other sites have none.
 */
export function isFromOwnPage({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  return headers.origin !== undefined || site === undefined || site === 'same-origin' || site === 'none';
}
