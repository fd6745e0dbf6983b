/**
 * Postgres servers that are installed on the machine that runs the tests, as a distribution builds them: with JIT, which is on
 * there, and with extensions such as PostGIS. Not every machine has one: tests on these are generated where there is one.
 *
 * SNO_TEST_POSTGRES names further folders with `initdb` and `postgres`, separated by colons.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface Distribution {
  /** The folder with its programs. */
  readonly folder: string;
  readonly major: number;
  /** As it names itself: `15.20 (Debian 15.20-0+deb12u1)`. */
  readonly toString: () => string;
}

const MAJOR_MIN = 15;

/** Where packages put the programs: Debian's, and those of postgresql.org for Red Hat's. */
function* folders(): Iterable<string> {
  yield* (process.env['SNO_TEST_POSTGRES'] ?? '').split(':').filter((folder) => folder !== '');
  for (const version of entries('/usr/lib/postgresql')) yield join('/usr/lib/postgresql', version, 'bin');
  for (const name of entries('/usr')) if (name.startsWith('pgsql-')) yield join('/usr', name, 'bin');
}

const entries = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder).sort() : []);

function installedIn(folder: string): Distribution[] {
  // a client's package has a folder of this kind too
  if (!existsSync(join(folder, 'postgres')) || !existsSync(join(folder, 'initdb'))) return [];
  const output = execFileSync(join(folder, 'postgres'), ['--version'], { encoding: 'utf8' });
  const [, name = '', major = ''] = /\(PostgreSQL\) ((\d+).*)/.exec(output) ?? [];
  return Number(major) < MAJOR_MIN ? [] : [{ folder, major: Number(major), toString: () => name }];
}

export const DISTRIBUTIONS: readonly Distribution[] = [...new Set(folders())].flatMap(installedIn);
