/** psql, where the machine has it: what libpq makes of a connection string. Tests that ask it hold without it too. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const DEBIAN = '/usr/lib/postgresql';

/** Debian's psql in the PATH is a script that chooses one of these. */
const FOLDERS = [
  ...(existsSync(DEBIAN) ? readdirSync(DEBIAN).map((version) => join(DEBIAN, version, 'bin')) : []),
  ...(process.env['PATH'] ?? '').split(':'),
];
const PROGRAM = FOLDERS.map((folder) => join(folder, 'psql')).find((file) => existsSync(file));

/** What the query prints; undefined where psql is not there. Rejects where psql cannot connect. */
export async function psql(conninfo: string, sql: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (PROGRAM === undefined) return undefined;
  const { stdout } = await run(PROGRAM, ['-X', '-w', '-At', '-F', ' ', '-c', sql, conninfo], { env });
  return stdout.trim();
}
