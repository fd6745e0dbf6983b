/**
 * The client library as one file, for pages without a build step: `import { connect } from
 * 'https://host/sno.js'`.
 */
import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { serveFile } from '../http/static-file.ts';

export const BUNDLE_PATH = '/sno.js';

/**
 * Browsers ask again after five minutes, so that they soon use the client of a new server version.
 */
const CACHE_CONTROL = 'public, max-age=300';

/**
 * Serves `file` at /sno.js. If the file is missing (a checkout that was not built), the path does
 * not exist.
 */
export async function serveBundle(app: FastifyInstance, file: string): Promise<void> {
  const content = await readFile(file).catch(() => undefined);
  if (content === undefined) return;
  serveFile(app, {
    path: BUNDLE_PATH,
    content,
    type: 'text/javascript; charset=utf-8',
    headers: {
      'access-control-allow-origin': '*',
      'cache-control': CACHE_CONTROL,
      'cross-origin-resource-policy': 'cross-origin',
    },
  });
}
