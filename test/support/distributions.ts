/**
 * Postgres servers of the machine's distribution, which have JIT on and extensions such as PostGIS.
 * Tests on these servers exist only if the machine has some, and if SNO_TEST_VERSIONS does not
 * choose other servers.
 *
 * SNO_TEST_POSTGRES lists further folders with `initdb` and `postgres`, separated by colons.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface Distribution {
  /** The folder that contains the programs. */
  readonly folder: string;
  readonly major: number;
  /** The server's own version text: `15.20 (Debian 15.20-0+deb12u1)`. */
  readonly toString: () => string;
}

const MAJOR_MIN = 15;

/**
 * Folders where packages put the programs: Debian's, and the ones of postgresql.org for Red Hat.
 */
function* folders(): Iterable<string> {
  yield* (process.env['SNO_TEST_POSTGRES'] ?? '').split(':').filter((folder) => folder !== '');
  for (const version of entries('/usr/lib/postgresql')) yield join('/usr/lib/postgresql', version, 'bin');
  for (const name of entries('/usr')) if (name.startsWith('pgsql-')) yield join('/usr', name, 'bin');
}

const entries = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder).sort() : []);

function installedIn(folder: string): Distribution[] {
  // a package of client programs has such a folder too, without servers
  if (!existsSync(join(folder, 'postgres')) || !existsSync(join(folder, 'initdb'))) return [];
  const output = execFileSync(join(folder, 'postgres'), ['--version'], { encoding: 'utf8' });
  const [, name = '', major = ''] = /\(PostgreSQL\) ((\d+).*)/.exec(output) ?? [];
  return Number(major) < MAJOR_MIN ? [] : [{ folder, major: Number(major), toString: () => name }];
}

export const DISTRIBUTIONS: readonly Distribution[] =
  process.env['SNO_TEST_VERSIONS'] === undefined ? [...new Set(folders())].flatMap(installedIn) : [];
