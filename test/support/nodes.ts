/**
 * Other versions of Node, installed once from npm into a folder below os.tmpdir(). The package
 * `node` fetches its binaries by an install script, which may be disabled, so the binary packages
 * are used directly.
 */
import { execFile } from 'node:child_process';
import { access, mkdtemp, rename, rm } from 'node:fs/promises';
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Lines newer than the minimum, each with a version that npm has for Linux on both architectures.
 */
export const NODES = { 22: '22.23.3', 24: '24.21.0' } as const;

/**
 * Returns the path of the executable. Rejects with npm's error if the package cannot be installed.
 */
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
    // Another process may have installed it first. If so, its folder is used.
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
