/** Serves a file that was read at start, compressed if the client accepts gzip. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';

export interface StaticFile {
  readonly path: string;
  readonly content: Buffer;
  /** Media type. */
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
}

export function serveFile(app: FastifyInstance, { path, content, type, headers }: StaticFile): void {
  const compressed = gzipSync(content, { level: 9 });
  const etag = `"${createHash('sha256').update(content).digest('base64url')}"`;
  app.get(path, (request, reply) => {
    // A weak tag: the same for both encodings.
    reply.headers({ ...headers, vary: 'accept-encoding', etag: `W/${etag}` });
    const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
    if (known?.includes(etag)) return reply.code(304).send();
    reply.type(type);
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
