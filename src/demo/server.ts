/**
 * The demo's own web server: the page, a token for it, and the SQL box. It listens on loopback
 * only, apart from Snö's ports.
 *
 * Any client that can send requests here can run SQL as the visitor, so other web pages must not.
 * The Host header is checked against DNS rebinding. Origin and content type are checked against
 * requests that another site makes the browser send.
 */
import { readdir, readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FastifyInstance, fastify } from 'fastify';
import { SnoError } from '../errors.ts';
import type { Outcome } from './sql-box.ts';

export interface DemoServerOptions {
  /** Exactly this port. Default: DEFAULT_PORT or the next free port. */
  readonly port?: number | undefined;
  /** The visitor's SQL. */
  readonly run: (sql: string) => Promise<Outcome>;
  /** Makes a token for the page. */
  readonly token: () => Promise<string>;
}

/** The addresses of Snö, known after the page's origin, which Snö must allow. */
export interface SnoAddress {
  /** `ws://127.0.0.1:1234/v1` */
  readonly url: string;
  /** `http://127.0.0.1:1234/sno.js` */
  readonly clientUrl: string;
}

export interface DemoServer {
  readonly url: string;
  /** The origins of the page: by address and by name. */
  readonly origins: readonly string[];
  /** Until it is called, the page receives 503. */
  connectTo(sno: SnoAddress): void;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const DEFAULT_PORT = 8080;
const PORT_ATTEMPTS = 20;
const SQL_CHARACTERS_MAX = 20_000;
const BODY_BYTES_MAX = 128 * 1024;

const PAGE = fileURLToPath(new URL('page/', import.meta.url));
const CONTENT_TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const SQL_BODY = {
  type: 'object',
  required: ['sql'],
  additionalProperties: false,
  properties: { sql: { type: 'string', minLength: 1, maxLength: SQL_CHARACTERS_MAX } },
};

export async function startDemoServer(options: DemoServerOptions): Promise<DemoServer> {
  const app = fastify({ bodyLimit: BODY_BYTES_MAX, forceCloseConnections: true });
  const hosts = new Set<string>();
  let sno: SnoAddress | undefined;

  app.addHook('onRequest', async (request, reply) => {
    const { host, origin } = request.headers;
    const foreign = origin !== undefined && !hosts.has(origin.replace(/^http:\/\//, ''));
    if (host === undefined || !hosts.has(host) || foreign) {
      return reply.code(403).send({ message: 'the demo answers only its own page' });
    }
    reply.headers({
      'content-security-policy': policy(sno),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    });
    return undefined;
  });

  await addPage(app);

  app.get('/session', async (_request, reply) => {
    if (sno === undefined) return reply.code(503).send({ message: 'Snö is starting' });
    return { url: sno.url, token: await options.token() };
  });

  // The same file that Snö serves, under the page's own origin, so that the page's
  // Content-Security-Policy can stay strict.
  app.get('/sno.js', async (_request, reply) => {
    if (sno === undefined) return reply.code(503).send({ message: 'Snö is starting' });
    const response = await fetch(sno.clientUrl);
    if (!response.ok) return reply.code(502).send({ message: `Snö answered ${response.status}` });
    return reply.type(CONTENT_TYPES['.js'] as string).send(await response.text());
  });

  // A form of another site can send text/plain without asking; then there is no parser, and the
  // answer is 415.
  app.removeContentTypeParser('text/plain');
  app.post<{ Body: { sql: string } }>('/sql', { schema: { body: SQL_BODY } }, async ({ body }) =>
    options.run(body.sql),
  );

  const port = await listen(app, options.port);
  const names = [`${HOST}:${port}`, `localhost:${port}`];
  for (const name of names) hosts.add(name);

  return {
    url: `http://${HOST}:${port}/`,
    origins: names.map((name) => `http://${name}`),
    connectTo: (address) => {
      sno = address;
    },
    close: () => app.close(),
  };
}

/** Allows this server and one websocket: nothing else is loaded, sent or framed. */
function policy(sno: SnoAddress | undefined): string {
  const socket = sno === undefined ? '' : ` ${new URL(sno.url).origin}`;
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self'${socket}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

/** Serves the files that page/ has now. */
async function addPage(app: FastifyInstance): Promise<void> {
  for (const name of await readdir(PAGE, { recursive: true })) {
    const contentType = CONTENT_TYPES[extname(name)];
    if (contentType === undefined) continue;
    const content = await readFile(join(PAGE, name));
    app.get(name === 'index.html' ? '/' : `/${name.replaceAll('\\', '/')}`, async (_request, reply) =>
      reply.type(contentType).send(content),
    );
  }
}

async function listen(app: FastifyInstance, wanted: number | undefined): Promise<number> {
  const first = wanted ?? DEFAULT_PORT;
  const attempts = wanted === undefined ? PORT_ATTEMPTS : 1;
  for (let port = first; ; port++) {
    try {
      await app.listen({ host: HOST, port });
      return (app.server.address() as AddressInfo).port;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause;
      if (port + 1 < first + attempts) continue;
      throw new SnoError('address_in_use', `port ${port} on ${HOST} is already in use`, {
        hint: 'Choose another port for the page with --port.',
        cause,
      });
    }
  }
}
