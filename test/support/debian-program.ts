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
/** Folders of installed servers, which a user's PATH often lacks. */
const SERVER_FOLDER = '/usr/sbin';

/**
 * The program's path. Rejects with what to do if the program is missing and cannot be fetched. By
 * default it is a server, in the package of its name. `source`: the package, and the path in it.
 */
export async function findProgram(name: string, source = serverIn(name)): Promise<string> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), SERVER_FOLDER]) {
    const path = join(folder, name);
    if (folder !== '' && (await isExecutable(path))) return path;
  }
  return fetch(source);
}

/** Unpacks the program of a Debian release, `trixie` or `sid`, and returns its path. */
export function fetchProgram(name: string, release: string): Promise<string> {
  return fetch(serverIn(name), release);
}

interface Source {
  readonly package: string;
  readonly path: string;
}

const serverIn = (name: string): Source => ({ package: name, path: `usr/sbin/${name}` });

async function fetch(source: Source, ...release: readonly string[]): Promise<string> {
  const { stdout } = await run('bash', [SCRIPT, source.package, source.path, ...release]);
  return stdout.trim();
}

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
