/** Builds the service with one added fault, to check that the judge finds it. */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Mutation {
  /** Path within dist. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly text: string;
  readonly replacement: string;
}

export interface Mutant {
  /** The mutant's command line, as dist/cli/sno.js. */
  readonly build: string;
  remove(): Promise<void>;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Copies the build and changes the copy. The build itself has no option for this. */
export async function mutate({ file, text, replacement }: Mutation): Promise<Mutant> {
  const folder = await mkdtemp(join(tmpdir(), 'sno-mutant-'));
  await cp(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true });
  for (const name of ['node_modules', 'sql', 'package.json']) await symlink(join(ROOT, name), join(folder, name));
  const path = join(folder, 'dist', file);
  const parts = (await readFile(path, 'utf8')).split(text);
  if (parts.length !== 2) throw new Error(`${file} contains this ${parts.length - 1} times, not once: ${text}`);
  await writeFile(path, parts.join(replacement));
  return {
    build: join(folder, 'dist/cli/sno.js'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
