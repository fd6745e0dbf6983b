/**
 * Other versions of Node than the one that runs the tests: out of npm, into a folder below os.tmpdir(), once. The
 * package `node` fetches them by an install script, which may be disabled; those that it fetches are taken directly.
 */
import { execFile } from 'node:child_process';
import { access, mkdtemp, rename, rm } from 'node:fs/promises';
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Newer lines than the one that is the least, with a version of each that is there for Linux on both architectures. */
export const NODES = { 22: '22.23.3', 24: '24.21.0' } as const;

/** The path of the executable. Rejects with what npm says where it cannot be installed. */
export async function findNode(line: keyof typeof NODES): Promise<string> {
  const name = `node-${platform()}-${arch()}`;
  const version = NODES[line];
  const folder = join(tmpdir(), `sno-test-${name}-${version}-${process.getuid?.() ?? 0}`);
  const executable = join(folder, 'node_modules', name, 'bin', 'node');
  if (await isThere(executable)) return executable;
  const draft = await mkdtemp(`${folder}-draft-`);
  try {
    const { env } = process;
    const flags = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--prefix', draft];
    await run('npm', ['install', ...flags, `${name}@${version}`], { env, cwd: draft });
    // Another process may have been faster: then its folder is used.
    await rename(draft, folder).catch(() => undefined);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  if (await isThere(executable)) return executable;
  throw new Error(`npm installed no ${executable}`);
}

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
