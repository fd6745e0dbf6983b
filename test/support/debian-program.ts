/**
 * Programs of Debian's packages for tests. A program on the PATH is used as it is. Otherwise
 * debian-program.sh unpacks it into a folder below TMPDIR, which needs no root.
 */
import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('debian-program.sh', import.meta.url));
/** Servers are installed here, and a user's PATH often lacks it. */
const SERVER_FOLDER = '/usr/sbin';

/** The program's path. Rejects with what to do if the program is missing and cannot be fetched. */
export async function findProgram(name: string): Promise<string> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), SERVER_FOLDER]) {
    const path = join(folder, name);
    if (folder !== '' && (await isExecutable(path))) return path;
  }
  return fetchProgram(name);
}

/**
 * Unpacks the program of a Debian release, `trixie` or `sid`, and returns its path. Without a
 * release, the machine's own.
 */
export async function fetchProgram(name: string, release?: string): Promise<string> {
  const { stdout } = await run('bash', [SCRIPT, name, `usr/sbin/${name}`, ...(release === undefined ? [] : [release])]);
  return stdout.trim();
}

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
