/** Runs `sno start` as a separate process, from the built command line. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import { expect } from 'vitest';
import { freePort } from './free-port.ts';
import { setUpFor } from './service-role.ts';
import { type Certificate, selfSigned } from './tls.ts';
import { until } from './wait.ts';

export const SNO = fileURLToPath(new URL('../../dist/cli/sno.js', import.meta.url));
/** SNO_JWT_SECRET of every service, unless a test overrides it. */
export const SECRET = 'a secret of the tests, thirty-two bytes';
/**
 * SERVICE_SETTINGS=SNO_WORKERS=2,SNO_COMPRESS_BYTES=1: settings of every service, unless a test
 * overrides them.
 */
const SETTINGS = settingsOf(process.env['SERVICE_SETTINGS']);
/**
 * How long a start may take before it waits for the slot, in ms: longer than other waits, on a busy
 * machine.
 */
const START_MS = 120_000;

export interface ServiceProcess {
  readonly port: number;
  readonly adminPort: number;
  readonly certificate: Certificate;
  /** `wss://localhost:port/v1` */
  readonly url: string;
  /** All lines of the process's log so far. */
  readonly log: readonly LogLine[];
  /**
   * Resolves with a line of the log that has these members, once it is there: what a client has
   * received may be ahead of the log.
   */
  logged(expected: Readonly<Record<string, unknown>>): Promise<LogLine>;
  /** Ends the process by kill -9. */
  kill(): Promise<void>;
  /** Starts the service again on the same ports, with the same settings. */
  restart(): Promise<void>;
  /** Sends SIGTERM, and resolves with the exit code. */
  terminate(): Promise<number | null>;
  /**
   * A rolling restart. A new process on its own ports, with the same settings, waits for the slot
   * before the old one gets SIGTERM. From then on, the new process's ports are used. Resolves with
   * the old one's exit code when the new one serves.
   */
  roll(): Promise<number | null>;
  /** Ends the process and removes the certificate. */
  remove(): Promise<void>;
  readonly pid: number;
  /** False once the process has ended for any reason. */
  readonly isRunning: boolean;
}

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [member: string]: unknown;
}

/** How the process is started. */
export interface Launch {
  /** Command line of another build. */
  readonly build?: string | undefined;
  /** Maximum open files of the process (`ulimit -n`). Default: as in this process. */
  readonly openFiles?: number | undefined;
  /** Ports that clients and operators connect to. Default: free ones. */
  readonly port?: number;
  readonly adminPort?: number;
  /** The address that clients connect to, if it is not localhost. Its certificate has it. */
  readonly address?: string;
  /** A command before the service: `['ip', 'netns', 'exec', 'host1']`. */
  readonly prefix?: readonly string[];
}

/**
 * Starts the service on a database, and resolves when it serves. If the URL is a superuser's, the
 * superuser sets the database up, and the service runs as a role that can only replicate and read.
 * A rules folder needs the owner's role.
 */
export async function startService(
  databaseUrl: string,
  settings: Readonly<Record<string, string>> = {},
  launch: Launch = {},
): Promise<ServiceProcess> {
  const { address = 'localhost' } = launch;
  const certificate = await selfSigned(address === 'localhost' ? [] : [address]);
  let [port, adminPort] = [launch.port ?? (await freePort()), launch.adminPort ?? (await freePort())];
  const env = {
    ...plainEnvironment(),
    SNO_DATABASE_URL:
      settings['SNO_RULES'] === undefined
        ? await setUpFor(databaseUrl, settings['SNO_PUBLICATION'] ?? 'sno')
        : databaseUrl,
    SNO_TLS_CERT: certificate.certFile,
    SNO_TLS_KEY: certificate.keyFile,
    SNO_JWT_SECRET: SECRET,
    SNO_DRAIN_SECONDS: '0',
    ...SETTINGS,
    ...settings,
  };
  const log: LogLine[] = [];
  const spawnOn = (port: number, adminPort: number) =>
    spawnService({ ...env, SNO_PORT: String(port), SNO_ADMIN_PORT: String(adminPort) }, launch);
  let child = spawnOn(port, adminPort);
  try {
    await serving(child, log);
  } catch (error) {
    // another program, not a test, has taken a port since it was found free
    if (launch.port !== undefined || !String(error).includes('address_in_use')) throw error;
    [port, adminPort] = [await freePort(), launch.adminPort ?? (await freePort())];
    child = spawnOn(port, adminPort);
    await serving(child, log);
  }
  return {
    get port() {
      return port;
    },
    get adminPort() {
      return adminPort;
    },
    certificate,
    get url() {
      return `wss://${address}:${port}/v1`;
    },
    log,
    get pid() {
      return child.pid as number;
    },
    get isRunning() {
      return child.exitCode === null && child.signalCode === null;
    },
    logged(expected) {
      const matcher = expect.objectContaining(expected);
      return until(() => log.find((line) => matcher.asymmetricMatch(line)), JSON.stringify(expected));
    },
    async kill() {
      await end(child, 'SIGKILL');
    },
    async restart() {
      child = spawnOn(port, adminPort);
      await serving(child, log);
    },
    terminate: () => end(child, 'SIGTERM'),
    async roll() {
      const [old, logged] = [child, log.length];
      const ports = [await freePort(), await freePort()] as const;
      const next = spawnOn(...ports);
      const isServing = serving(next, log);
      const isWaiting = () => log.slice(logged).some(({ code, level }) => code === 'slot_in_use' && level === 'info');
      try {
        await Promise.race([isServing, until(isWaiting, 'the new one waits for the slot', START_MS)]);
      } catch (error) {
        await end(next, 'SIGKILL');
        throw error;
      }
      [child, port, adminPort] = [next, ...ports];
      const exit = end(old, 'SIGTERM');
      await isServing;
      return exit;
    },
    async remove() {
      await end(child, 'SIGKILL');
      await certificate.remove();
    },
  };
}

/** A token signed with the service's secret. */
export function signToken(claims: Readonly<Record<string, unknown>>, expires = '1h'): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setExpirationTime(expires).sign(Buffer.from(SECRET));
}

/** Reads settings from one line, `NAME=value` separated by commas. */
export function settingsOf(line = ''): Readonly<Record<string, string>> {
  const settings = line.split(',').filter(Boolean);
  return Object.fromEntries(settings.map((setting) => setting.split('=') as [string, string]));
}

/** The environment without the settings of the machine that runs the tests. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('SNO_') && name !== 'DATABASE_URL' && name !== 'NODE_OPTIONS',
  );
  return Object.fromEntries(kept);
}

function spawnService(env: NodeJS.ProcessEnv, { build = SNO, openFiles, prefix = [] }: Launch): ChildProcess {
  const command = [...prefix, process.execPath, build, 'start'];
  const limited =
    openFiles === undefined ? command : ['sh', '-c', `ulimit -n ${openFiles}; exec "$@"`, 'sh', ...command];
  return spawn(limited[0] as string, limited.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Resolves when the process serves. Rejects if it ends before. */
function serving(child: ChildProcess, log: LogLine[]): Promise<void> {
  const errors: string[] = [];
  child.stderr?.setEncoding('utf8').on('data', (text: string) => errors.push(text));
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout as Readable }).on('line', (text) => {
      const line = JSON.parse(text) as LogLine;
      log.push(line);
      if (line.msg === 'serving') resolve();
    });
    child.once('exit', (code) => reject(new Error(`sno start ended with ${code}: ${errors.join('')}`)));
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = once(child, 'exit') as Promise<[number | null]>;
  child.kill(signal);
  return (await exited)[0];
}
