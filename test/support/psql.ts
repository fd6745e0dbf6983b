/**
 * Asks psql, if the machine has it, how libpq reads a connection string. Tests that use it also
 * work without it.
 */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const DEBIAN = '/usr/lib/postgresql';

/** The programs from which Debian's psql in the PATH, a script, chooses. */
const FOLDERS = [
  ...(existsSync(DEBIAN) ? readdirSync(DEBIAN).map((version) => join(DEBIAN, version, 'bin')) : []),
  ...(process.env['PATH'] ?? '').split(':'),
];
const PROGRAM = FOLDERS.map((folder) => join(folder, 'psql')).find((file) => existsSync(file));

/**
 * Returns the query's output. Undefined if psql is not installed. Rejects if psql cannot connect.
 */
export async function psql(conninfo: string, sql: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (PROGRAM === undefined) return undefined;
  const { stdout } = await run(PROGRAM, ['-X', '-w', '-At', '-F', ' ', '-c', sql, conninfo], { env });
  return stdout.trim();
}
