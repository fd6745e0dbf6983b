/** Response headers for pages of other origins (CORS). Check the origin before. */
import type { IncomingMessage } from 'node:http';
import type { FastifyReply } from 'fastify';

/** How long browsers may keep the answer to a preflight, in seconds. */
const PREFLIGHT_SECONDS = 600;
const HEADER_NAME = /^[\w-]{1,64}$/;

/** Lets a page of this origin, which has been admitted, read the response. */
export function allowPage(reply: FastifyReply, origin: string | undefined): void {
  reply.header('vary', 'Origin, Cookie, Authorization');
  if (origin === undefined) return;
  reply.header('access-control-allow-origin', origin);
  reply.header('access-control-allow-credentials', 'true');
}

/**
 * Answers a preflight request. `headers`: those that a page may set, separated by commas. A page
 * may also set those that it asks for: apps add headers of their own, and Snö ignores them.
 */
export function preflight(reply: FastifyReply, methods: string, headers: string): FastifyReply {
  const { 'access-control-request-headers': asked = '' } = reply.request.headers;
  const own = asked.split(',').map((name) => name.trim());
  const more = own.filter((name) => HEADER_NAME.test(name) && !headers.split(', ').includes(name));
  return reply
    .code(204)
    .headers({
      'access-control-allow-methods': methods,
      'access-control-allow-headers': [headers, ...more].join(', '),
      'access-control-max-age': String(PREFLIGHT_SECONDS),
    })
    .send();
}

/**
 * Whether a request with a cookie comes from an admitted page. A browser sends cookies with
 * requests of any site. A request with an Origin has been admitted by it. Requests of other sites
 * without an Origin are recognised by Sec-Fetch-Site.
 */
export function isFromOwnPage({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  return headers.origin !== undefined || site === undefined || site === 'same-origin' || site === 'none';
}
