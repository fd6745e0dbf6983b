/** A real nats-server with JetStream, for one test file. Its store outlives its process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { freePort } from '../free-port.ts';
import { until } from '../wait.ts';
import { findNats } from './program.ts';

/**
 * Members of the configuration file, in nats-server's own words: `{ max_payload: 65_536 }`,
 * `{ authorization: { users: [{ user, password }] } }`, `{ tls: { cert_file, key_file } }`.
 */
export type NatsConfig = Readonly<Record<string, unknown>>;

export interface NatsOptions {
  readonly config?: NatsConfig;
  /** Members of `jetstream` besides store_dir: `{ max_file_store: 1_000_000 }`. */
  readonly jetstream?: NatsConfig;
  /** Its cluster: the member `cluster` of the configuration file. */
  readonly cluster?: NatsConfig;
  /** The server's name in its cluster. */
  readonly name?: string;
  /** The address that it listens on. */
  readonly host?: string;
  /** The program. Default: `findNats()`. */
  readonly program?: string;
  /** A command before the program: `['ip', 'netns', 'exec', 'host1']`. */
  readonly launch?: readonly string[];
}

export interface NatsServer {
  readonly name: string;
  /** `nats://127.0.0.1:port`, or `tls://localhost:port`. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly isRunning: boolean;
  /** All lines of the server's log so far. */
  readonly log: readonly string[];
  /** Starts the server on the same ports and store. Resolves when it accepts connections. */
  start(): Promise<void>;
  /** Resolves when the server's JetStream serves. In a cluster, this needs a majority. */
  healthy(): Promise<void>;
  /** Ends the process by SIGTERM. */
  stop(): Promise<void>;
  /** Ends the process by kill -9, also while it is frozen. */
  kill(): Promise<void>;
  /** Stops the process by SIGSTOP. Its connections stay open. */
  freeze(): void;
  /** Resumes a frozen process. */
  thaw(): void;
  /**
   * Replaces `config` by SIGHUP if the server runs, otherwise for the next start. Rejects if the
   * server refuses the new configuration.
   */
  reconfigure(config: NatsConfig): Promise<void>;
  /** Copies the store of a stopped server. Returns the copy's folder, which `remove` deletes. */
  copyStore(): Promise<string>;
  /** Replaces the store of a stopped server by a copy. Without a copy, the store is empty. */
  restoreStore(copy?: string): Promise<void>;
  /** Reads a page of the monitoring port: `jsz?streams=1`, `varz`. */
  monitor<Page>(path: string): Promise<Page>;
  /** Ends the process and removes its files. */
  remove(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a server of its own, and resolves when its JetStream serves. */
export async function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  const server = await createNats(options);
  try {
    await server.start();
    await server.healthy();
    return server;
  } catch (error) {
    await server.remove();
    throw error;
  }
}

/** Prepares a server without starting it. */
export async function createNats({
  config = {},
  jetstream = {},
  cluster,
  name = 'nats',
  host = '127.0.0.1',
  program,
  launch = [],
}: NatsOptions = {}): Promise<NatsServer> {
  const command = [...launch, program ?? (await findNats())];
  const folder = await mkdtemp(join(tmpdir(), 'sno-nats-'));
  const [file, store] = [join(folder, 'nats.conf'), join(folder, 'store')];
  const [port, monitorPort] = [await freePort(), await freePort()];
  const log: string[] = [];
  let current = config;
  let child: ChildProcess | undefined;
  let copies = 0;

  const isRunning = () => child !== undefined && child.exitCode === null && child.signalCode === null;
  const mustBeStopped = () => {
    if (isRunning()) throw new Error(`${name} runs: stop it before its store is touched`);
  };
  // The configuration format of nats-server includes JSON.
  const write = () =>
    writeFile(
      file,
      JSON.stringify({
        server_name: name,
        listen: `${host}:${port}`,
        http: `${host}:${monitorPort}`,
        jetstream: { store_dir: store, ...jetstream },
        ...(cluster === undefined ? {} : { cluster }),
        ...current,
      }),
      { mode: 0o600 },
    );
  const monitor = async <Page>(path: string) =>
    JSON.parse(await readPage(`http://${host}:${monitorPort}/${path}`)) as Page;
  const end = async (signal: NodeJS.Signals) => {
    if (child === undefined || !isRunning()) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    // A frozen process handles signals other than SIGKILL only when it resumes.
    child.kill('SIGCONT');
    await exited;
  };

  return {
    name,
    get url() {
      return 'tls' in current ? `tls://localhost:${port}` : `nats://${host}:${port}`;
    },
    port,
    get pid() {
      return child?.pid as number;
    },
    get isRunning() {
      return isRunning();
    },
    log,
    async start() {
      mustBeStopped();
      await write();
      child = spawn(command[0] as string, [...command.slice(1), '--config', file], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const started = child;
      running.add(started);
      started.once('exit', () => running.delete(started));
      createInterface({ input: started.stderr as Readable }).on('line', (line) => log.push(line));
      const ended = once(started, 'exit').then(([code]) => {
        throw new Error(`nats-server ended with ${code}: ${log.slice(-5).join('\n')}`);
      });
      await Promise.race([until(() => monitor('varz'), `${name} accepts connections`), ended]);
      ended.catch(() => undefined);
    },
    async healthy() {
      await until(async () => (await monitor<{ status: string }>('healthz')).status === 'ok', `${name} is healthy`);
    },
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    async reconfigure(next) {
      current = next;
      await write();
      if (!isRunning()) return;
      const from = log.length;
      child?.kill('SIGHUP');
      const answer = await until(
        () => log.slice(from).find((line) => /Reloaded server configuration|Failed to reload/.test(line)),
        `${name} reads its configuration`,
      );
      if (answer.includes('Failed')) throw new Error(answer);
    },
    async copyStore() {
      mustBeStopped();
      const copy = join(folder, `copy-${++copies}`);
      await cp(store, copy, { recursive: true });
      return copy;
    },
    async restoreStore(copy) {
      mustBeStopped();
      await rm(store, { recursive: true, force: true });
      if (copy !== undefined) await cp(copy, store, { recursive: true });
    },
    monitor,
    async remove() {
      await end('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Maximum wait for a page, in ms: a frozen server never answers. */
const PAGE_MS = 5_000;

async function readPage(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(PAGE_MS) });
  return response.text();
}
