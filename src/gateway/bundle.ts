/**
 * The client library as one file, for pages without a build step: `import { connect } from
 * 'https://host/sno.js'`.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';

export const BUNDLE_PATH = '/sno.js';

/**
 * Browsers ask again after five minutes, so that a new version of the server brings its own client.
 */
const CACHE_CONTROL = 'public, max-age=300';

/**
 * Serves `file` at /sno.js. If the file is missing (a checkout that was not built), the path does
 * not exist.
 */
export async function serveBundle(app: FastifyInstance, file: string): Promise<void> {
  const content = await readFile(file).catch(() => undefined);
  if (content === undefined) return;
  const compressed = gzipSync(content, { level: 9 });
  const etag = `"${createHash('sha256').update(content).digest('base64url')}"`;
  app.get(BUNDLE_PATH, (request, reply) => {
    reply.headers({
      'access-control-allow-origin': '*',
      'cache-control': CACHE_CONTROL,
      vary: 'accept-encoding',
      // A weak tag: the same for both encodings.
      etag: `W/${etag}`,
      'cross-origin-resource-policy': 'cross-origin',
    });
    const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
    if (known?.includes(etag)) return reply.code(304).send();
    reply.type('text/javascript; charset=utf-8');
    return takesGzip(request.headers['accept-encoding'])
      ? reply.header('content-encoding', 'gzip').send(compressed)
      : reply.send(content);
  });
}

/** Whether an Accept-Encoding header names gzip, with a weight above zero. */
function takesGzip(header: string | string[] | undefined): boolean {
  const codings = String(header ?? '')
    .toLowerCase()
    .split(',');
  return codings.some((coding) => {
    const [name = '', ...parameters] = coding.split(';').map((part) => part.trim());
    return (name === 'gzip' || name === '*') && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}
