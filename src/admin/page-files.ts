/**
 * The files of the dashboard's page (dist/admin/page). They hold no data, so they need no token.
 */
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import type { StaticFile } from '../http/static-file.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.webmanifest': 'application/manifest+json',
};
const INDEX = 'index.html';
/** Scripts, styles and data of this server only. No script may turn text into markup. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
  "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types 'none'";

/**
 * Reads the page's files. Other kinds of files are left out, such as declarations of types. Empty
 * if the folder is missing (a checkout that was not built).
 */
export async function readPage(folder: string): Promise<readonly StaticFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files: StaticFile[] = [];
  for (const entry of entries) {
    const type = TYPES[extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const file = join(entry.parentPath, entry.name);
    const name = file.slice(folder.length).split(sep).filter(Boolean).join('/');
    const headers = { 'cache-control': 'no-cache', 'content-security-policy': POLICY };
    files.push({ path: name === INDEX ? '/' : `/${name}`, content: await readFile(file), type, headers });
  }
  return files;
}
