/**
 * Connection strings against real servers: one with TLS, unix sockets and a varied pg_hba.conf, and
 * a standby without TLS. If psql is installed, it must agree on each row.
 */
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLogger } from '../../src/logger.ts';
import {
  createClient,
  createParsingPool,
  createPlainClient,
  createReplicationClient,
} from '../../src/postgres/connect.ts';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { Listener } from '../../src/postgres/listener.ts';
import { createAuthority } from '../support/authority.ts';
import { freePort } from '../support/free-port.ts';
import { NEWEST, ownServer } from '../support/postgres.ts';
import { psql } from '../support/psql.ts';
import { until } from '../support/wait.ts';
import { prepare, streamOf } from '../wal/consumer.ts';
import { databaseOf } from '../wal/own-database.ts';
import { type Case, ENCODED, OWN_ROLE, PASSWORD, QUOTED } from './conninfo-case.ts';
import { CASES } from './conninfo-cases.ts';

const HBA = `
local   all  asks     scram-sha-256
local   all  all      trust
hostssl all  withcert all cert
hostssl all  tlsonly  all scram-sha-256
hostnossl all  clearonly  all scram-sha-256
host    all  refused  all reject
host    all  open,chief  all trust
host    all  md5      all md5
host    all  cleartext  all password
host    all  tlsonly,clearonly,withcert  all reject
host    all  all      all scram-sha-256
`;
const ROLES = ['app', 'asks', 'withcert', 'tlsonly', 'clearonly', 'refused', 'open', 'md5', 'cleartext'];

const WHERE = `select current_user || '/' || current_database() as "user", coalesce(inet_server_port(), 0) as port,
  (select ssl from pg_stat_ssl where pid = pg_backend_pid())::text as tls`;
/**
 * Ports. P: the primary, S: the standby, X: no server listens, M: a server that does not answer.
 */
const PORTS = { P: 0, S: 0, X: 0, M: 0 };
let folder: string;
let primary: EmbeddedPostgres;
let standby: EmbeddedPostgres;
const mute = createServer(() => undefined);

/** Replaces {names} by the paths and ports of this run. */
const filled = (text: string): string =>
  text
    .replaceAll('{dir}', folder)
    .replaceAll('{%dir}', encodeURIComponent(folder))
    .replace(/\{([PSXM])\}/g, (_all, name: keyof typeof PORTS) => String(PORTS[name]));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sno-conn-'));
  await chmod(folder, 0o777);
  await mkdir(join(folder, 'home'));
  const authority = await createAuthority(folder, 'root');
  await createAuthority(folder, 'other');
  const server = await authority.issue('db.example.test', [
    { type: 2, value: 'db.example.test' },
    { type: 7, ip: '127.0.0.1' },
  ]);
  const { keyFile } = await authority.issue('withcert');
  await writeFile(join(folder, 'readable.key'), await (await import('node:fs/promises')).readFile(keyFile), {
    mode: 0o644,
  });
  await writeFile(join(folder, 'hba'), HBA);
  await writeFile(join(folder, 'hba-without-tls'), HBA.replace(/^hostssl.*\n/gm, ''));
  const common = { listen_addresses: '127.0.0.1,::1', unix_socket_directories: folder };
  [primary, standby] = await Promise.all([ownServer({ settings: common }), ownServer({ settings: common })]);
  const { uid, gid } = await stat(primary.dataDirectory);
  await chown(server.keyFile, uid, gid);
  for (const each of [primary, standby]) {
    const client = new pg.Client({ connectionString: each.url() });
    await client.connect();
    // fewer rounds of hashing, if the version allows it
    await client.query(
      `select set_config('scram_iterations', '16', false) where current_setting('server_version_num')::int >= 160000`,
    );
    for (const role of ROLES) {
      if (role === 'md5') await client.query(`set password_encryption = 'md5'`);
      await client.query(`create role ${role} login replication password ${client.escapeLiteral(PASSWORD)}`);
      await client.query(`set password_encryption = 'scram-sha-256'`);
    }
    await client.query('create role chief superuser login');
    if (OWN_ROLE !== 'postgres') await client.query(`create role ${client.escapeIdentifier(OWN_ROLE)} login`);
    for (const database of ['shop', 'open', 'closed', 'private']) await client.query(`create database ${database}`);
    await client.query('alter database closed allow_connections false; revoke connect on database private from public');
    await client.end();
  }
  await primary.restart({
    hba_file: join(folder, 'hba'),
    ssl: 'on',
    ssl_cert_file: server.certFile,
    ssl_key_file: server.keyFile,
    ssl_ca_file: authority.certFile,
  });
  await writeFile(join(standby.dataDirectory, 'standby.signal'), '', { mode: 0o600 });
  await chown(join(standby.dataDirectory, 'standby.signal'), uid, gid);
  // `restart` resolves only for a primary
  standby.restart({ hba_file: join(folder, 'hba-without-tls') }).catch(() => undefined);
  mute.listen(0, '127.0.0.1');
  PORTS.P = primary.port;
  PORTS.S = standby.port;
  PORTS.X = await freePort();
  await until(() => mute.listening, 'a port that does not answer');
  PORTS.M = (mute.address() as { port: number }).port;
  await writeFile(join(folder, 'pass'), `*:*:*:app:${escaped(PASSWORD)}\n`, { mode: 0o600 });
  await writeFile(
    join(folder, 'services'),
    filled('# c\n[other]\nhost=x\n[here]\nhost=127.0.0.1\nport={P}\n\nuser=open\ndbname=shop\n[bad]\ncolour=red\n'),
  );
  await until(async () => {
    const client = createPlainClient(filled('postgres://open@127.0.0.1:{S}/shop'), 'test');
    await client.connect();
    await client.end();
    return true;
  }, 'the standby takes connections');
});

afterAll(async () => {
  mute.close();
  await Promise.all([primary.stop('immediate'), standby.stop('immediate')]);
  await rm(folder, { recursive: true, force: true });
});

const escaped = (text: string): string => text.replace(/[\\:]/g, '\\$&');

/** Runs with only the case's environment variables. */
async function within<T>({ env = {}, passfile }: Case, work: (env: NodeJS.ProcessEnv) => Promise<T>): Promise<T> {
  const home = join(folder, 'home');
  const file = join(home, '.pgpass');
  await rm(file, { force: true });
  if (passfile !== undefined) {
    const [lines, mode = 0o600] = passfile;
    await writeFile(file, filled(lines).replaceAll('{password}', escaped(PASSWORD)));
    await chmod(file, mode);
  }
  const before = { ...process.env };
  const kept = Object.entries(before).filter(([name]) => !name.startsWith('PG') && name !== 'SSL_CERT_FILE');
  const own = Object.entries(env).map(([name, value]) => [name, filled(value)]);
  const clean = { ...Object.fromEntries(kept), HOME: home, LC_ALL: 'C', ...Object.fromEntries(own) };
  process.env = clean;
  try {
    return await work(clean);
  } finally {
    process.env = before;
  }
}

async function place(client: pg.Client): Promise<string> {
  try {
    await client.connect();
    const { rows } = await client.query<{ user: string; port: string | number; tls: string }>(WHERE);
    const { user, port, tls } = rows[0] as { user: string; port: string | number; tls: string };
    return `${user} ${port} ${tls}`;
  } catch (error) {
    const { code, message, hint } = error as { code?: string; message: string; hint?: string };
    return `${code}: ${message}\n${hint}`.replace(/^(database_unreachable|connection_invalid|missing_privilege): /, '');
  } finally {
    await client.end();
  }
}

const shown = ({ conninfo, env, passfile }: Case): string =>
  [
    conninfo.replaceAll(ENCODED, '...').replaceAll(QUOTED, '...'),
    ...Object.entries(env ?? {}).map((pair) => pair.join('=')),
    ...(passfile ?? []),
  ].join(' ');

describe.each(Object.entries(CASES))('%s', (title, cases) => {
  const replicates = title === 'several hosts' || title === 'unix sockets';
  test.each(cases.map((each) => [shown(each), each] as const))('%s', async (_name, each) => {
    const conninfo = filled(each.conninfo);
    const expected =
      typeof each.expected === 'string'
        ? filled(each.expected)
        : (expect.stringMatching(new RegExp(filled(each.expected.source), 's')) as string);
    await within(each, async (env) => {
      const succeeds = typeof each.expected === 'string';
      const [found, replicating, oracle] = await Promise.all([
        place(createClient(conninfo, 'test')),
        replicates && succeeds ? place(createReplicationClient(conninfo, 'test')) : undefined,
        each.differs === undefined ? psql(conninfo, WHERE, env).catch((error: Error) => error) : undefined,
      ]);
      expect(found).toEqual(expected);
      if (replicates && succeeds) expect(replicating).toBe(expected);
      expect(found).not.toContain(PASSWORD);
      if (oracle === undefined) return;
      if (succeeds) expect(oracle).toBe(expected);
      else expect(oracle).toBeInstanceOf(Error);
    });
  });
});

test('pools, LISTEN and the replication stream accept the same string', async () => {
  const url = filled('postgres://chief@127.0.0.1:{X},127.0.0.1:{S},127.0.0.1:{P}/shop?target_session_attrs=primary');
  const database = { ...databaseOf(primary, NEWEST), url };
  const onShop = async (sql: string) => {
    const client = createPlainClient(url, 'test');
    await client.connect();
    const result = await client.query(sql);
    await client.end();
    return result as never;
  };
  await prepare({ ...database, query: onShop });
  const { stream, consumer } = streamOf({ ...database, name: 'shop' });
  const heard: string[] = [];
  const listener = new Listener({
    url,
    channel: 'sno',
    logger: createLogger('silent'),
    onNotification: (payload) => heard.push(payload),
    retryMs: () => 10,
  });
  const pool = createParsingPool(url, 'access', 1, { statementMs: 20_000, timeoutMs: 25_000 });
  try {
    await stream.start();
    await listener.start();
    await pool.query("insert into public.t values (1, repeat('x', 1000000)); notify sno, 'hello'");
    await until(() => consumer.ids.length === 1 && heard.length === 1, 'the row and the notification');
    expect(consumer.commits[0]?.changes).toEqual([`insert t 1,${'x'.repeat(1_000_000)}`]);
    const { rows } = await pool.query(
      `select application_name as name, ssl from pg_stat_activity join pg_stat_ssl using (pid)
       where application_name like 'sno %' and application_name <> 'sno test' order by 1`,
    );
    expect(rows).toEqual(
      ['access', 'notify', 'query', 'replication'].map((role) => ({ name: `sno ${role}`, ssl: true })),
    );
  } finally {
    await Promise.all([stream.stop(), listener.stop(), pool.end()]);
  }
});
