/** `sno start` as a process of its own, from the built command line. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import { freePort } from './free-port.ts';
import { setUpFor } from './service-role.ts';
import { type Certificate, selfSigned } from './tls.ts';

export const SNO = fileURLToPath(new URL('../../dist/cli/sno.js', import.meta.url));
const SECRET = 'a secret of the tests, thirty-two bytes';

export interface ServiceProcess {
  readonly port: number;
  readonly adminPort: number;
  readonly certificate: Certificate;
  /** `wss://localhost:port/v1` */
  readonly url: string;
  /** Every line of its log so far. */
  readonly log: readonly LogLine[];
  /** Ends it without a chance to do anything. */
  kill(): Promise<void>;
  /** Starts it again on the same ports, with the same settings. */
  restart(): Promise<void>;
  /** SIGTERM; resolves with its exit code. */
  terminate(): Promise<number | null>;
  /** Ends it and removes the certificate. */
  remove(): Promise<void>;
  readonly pid: number;
}

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [member: string]: unknown;
}

/**
 * Starts the service on a database; resolves when it serves. Its settings may be overridden. Where the URL is a superuser's, that
 * one sets the database up, and the service runs as a role that can only replicate and read; but a folder of rules needs its owner.
 */
export async function startService(
  databaseUrl: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<ServiceProcess> {
  const certificate = await selfSigned();
  const [port, adminPort] = [await freePort(), await freePort()];
  const env = {
    ...plainEnvironment(),
    SNO_DATABASE_URL:
      settings['SNO_RULES'] === undefined
        ? await setUpFor(databaseUrl, settings['SNO_PUBLICATION'] ?? 'sno')
        : databaseUrl,
    SNO_PORT: String(port),
    SNO_ADMIN_PORT: String(adminPort),
    SNO_TLS_CERT: certificate.certFile,
    SNO_TLS_KEY: certificate.keyFile,
    SNO_JWT_SECRET: SECRET,
    SNO_DRAIN_SECONDS: '0',
    ...settings,
  };
  const log: LogLine[] = [];
  let child = await launch(env, log);
  return {
    port,
    adminPort,
    certificate,
    url: `wss://localhost:${port}/v1`,
    log,
    get pid() {
      return child.pid as number;
    },
    async kill() {
      await end(child, 'SIGKILL');
    },
    async restart() {
      child = await launch(env, log);
    },
    terminate: () => end(child, 'SIGTERM'),
    async remove() {
      await end(child, 'SIGKILL');
      await certificate.remove();
    },
  };
}

/** A token of the service's own secret. */
export function signToken(claims: Readonly<Record<string, unknown>>, expires = '1h'): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setExpirationTime(expires).sign(Buffer.from(SECRET));
}

/** The environment without settings of the machine that runs the tests. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('SNO_') && name !== 'DATABASE_URL' && name !== 'NODE_OPTIONS',
  );
  return Object.fromEntries(kept);
}

async function launch(env: NodeJS.ProcessEnv, log: LogLine[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [SNO, 'start'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const errors: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text));
  const serving = new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as LogLine;
      log.push(line);
      if (line.msg === 'serving') resolve();
    });
    child.once('exit', (code) => reject(new Error(`sno start ended with ${code}: ${errors.join('')}`)));
  });
  await serving;
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = once(child, 'exit') as Promise<[number | null]>;
  child.kill(signal);
  return (await exited)[0];
}
