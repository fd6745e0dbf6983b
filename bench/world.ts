/** Postgres, a certificate, and Snö as a process, for one benchmark. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import pg from 'pg';
import { generate } from 'selfsigned';
import { type EmbeddedPostgres, startPostgres } from '../src/postgres/embedded.ts';
import { type Child, start } from './processes.ts';

/** BENCH_PROFILE=folder: each Snö leaves a CPU profile there when it ends. */
const PROFILE_FOLDER = process.env['BENCH_PROFILE'];
const PROFILED = PROFILE_FOLDER === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${PROFILE_FOLDER}`];

const SECRET = 'a secret of the benchmarks, thirty-two bytes';

export interface Served {
  readonly child: Child;
  readonly port: number;
  /** Value of a metric without labels. */
  metric(name: string): Promise<number>;
}

export interface World {
  readonly postgres: EmbeddedPostgres;
  readonly url: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly token: string;
  /** Signs tokens. */
  readonly secret: string;
  query(sql: string, values?: readonly unknown[]): Promise<pg.QueryResult>;
  /** Starts Snö, and resolves when it serves. */
  serve(settings?: Readonly<Record<string, string>>): Promise<Served>;
  /** Starts Snö without waiting until it serves. */
  launch(port: number, settings?: Readonly<Record<string, string>>): Child;
  end(): Promise<void>;
}

export async function createWorld(): Promise<World> {
  // a walsender sends only flushed WAL; without synchronous commits the WAL writer flushes it,
  // which sleeps for 200 ms
  const postgres = await startPostgres({ settings: { fsync: 'off', max_wal_size: '8GB' } });
  const folder = await mkdtemp(join(tmpdir(), 'sno-bench-'));
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
  });
  await writeFile(certFile, cert);
  await writeFile(keyFile, key, { mode: 0o600 });
  const url = postgres.url();
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  const environment = (port: number, settings: Readonly<Record<string, string>> = {}) => ({
    ...process.env,
    SNO_DATABASE_URL: url,
    SNO_PORT: String(port),
    SNO_ADMIN_PORT: '0',
    SNO_TLS_CERT: certFile,
    SNO_TLS_KEY: keyFile,
    SNO_JWT_SECRET: SECRET,
    SNO_MAX_CONNECTIONS_PER_ADDRESS: '0',
    SNO_DRAIN_SECONDS: '0',
    ...settings,
  });
  const launch: World['launch'] = (port, settings) =>
    start(process.execPath, [...PROFILED, 'dist/cli/sno.js', 'start'], environment(port, settings));
  return {
    postgres,
    url,
    certFile,
    keyFile,
    secret: SECRET,
    token: await new SignJWT({ sub: 'bench' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET)),
    query: (sql, values) => (values === undefined ? client.query(sql) : client.query(sql, [...values])),
    launch,
    async serve(settings) {
      const child = launch(0, settings);
      const line = await child.line((text) => text.includes('"serving"'));
      const { port, adminPort } = JSON.parse(line) as { readonly port: number; readonly adminPort: number };
      return { child, port, metric: (name) => metricAt(adminPort, name) };
    },
    async end() {
      await client.end();
      await postgres.stop('immediate');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function metricAt(adminPort: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? Number.NaN : Number(line.slice(name.length + 1));
}
