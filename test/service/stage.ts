/** The stage of a service test: a database, `sno start` on it, and clients. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { text as bodyOf } from 'node:stream/consumers';
import { expect } from 'vitest';
import { freshDatabase, type ServerKind, type TestDatabase } from '../support/postgres.ts';
import { type Launch, type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';

/** A channel for messages only: its message tells a test that everything before it has arrived. */
const END = 'create schema if not exists channel_access; create view channel_access."end" as select;';

export interface Stage {
  readonly database: TestDatabase;
  readonly service: ServiceProcess;
  readonly query: TestDatabase['query'];
  /** Opens a client that has sent hello and follows the channels from now on. */
  client(...channels: readonly string[]): Promise<RawClient>;
  /** The same, without compression. */
  plainClient(...channels: readonly string[]): Promise<RawClient>;
  /**
   * Commits a message that every client following `end` receives after everything committed before.
   * Returns its text.
   */
  sayEnd(): Promise<string>;
  slot(): Promise<SlotState>;
  metric(name: string): Promise<number>;
  /** Cuts the clients and removes service and database. */
  end(): Promise<void>;
}

/** LSNs as bytes. */
export interface SlotState {
  readonly confirmed: number;
  readonly restart: number;
  readonly current: number;
  readonly active_pid: number | null;
}

/**
 * `sql` runs before the service starts. Every client may join every channel unless the settings say
 * otherwise. `through`: returns the URL by which the service connects.
 */
export async function stage(
  sql: string,
  settings: Readonly<Record<string, string>> = {},
  version?: ServerKind,
  launch: Launch = {},
  through: (url: string) => string | Promise<string> = (url) => url,
): Promise<Stage> {
  const database = await freshDatabase(version);
  await database.query(END + sql);
  // slots belong to the server, which other tests share
  const slot = database.name;
  const url = await through(database.url);
  const service = await startService(url, { SNO_ACCESS: 'open', SNO_SLOT: slot, ...settings }, launch);
  const refused = service.log.find(({ code, view }) => code !== undefined && view !== undefined);
  if (refused !== undefined) throw new Error(`a view is refused: ${JSON.stringify(refused)}`);
  const clients: RawClient[] = [];
  let ends = 0;
  const follow = async (channels: readonly string[], perMessageDeflate: boolean) => {
    const client = await RawClient.open(service, undefined, perMessageDeflate);
    clients.push(client);
    await client.wait('welcome', 0, ({ type }) => type === 'welcome');
    for (const channel of channels) {
      const { type } = await client.subscribe(channel);
      if (type !== 'subscribed') throw new Error(`${channel}: ${JSON.stringify(client.frames.at(-1))}`);
    }
    return client;
  };
  return {
    database,
    service,
    query: (text, params) => database.query(text, params),
    client: (...channels) => follow(channels, true),
    plainClient: (...channels) => follow(channels, false),
    async sayEnd() {
      const text = `end ${++ends}`;
      await database.query("select sno.publish('end', to_json($1::text))", [text]);
      return text;
    },
    async slot() {
      const { rows } = await database.query<Record<keyof SlotState, string | number | null>>(
        `select (confirmed_flush_lsn - '0/0')::text as confirmed, (restart_lsn - '0/0')::text as restart,
           (pg_current_wal_lsn() - '0/0')::text as current, active_pid
         from pg_replication_slots where slot_name = $1`,
        [slot],
      );
      const row = rows[0];
      if (row === undefined) throw new Error('there is no slot');
      const { confirmed, restart, current, active_pid } = row;
      return {
        confirmed: Number(confirmed),
        restart: Number(restart),
        current: Number(current),
        active_pid: active_pid as number | null,
      };
    },
    metric: (name) => readMetric(service, name),
    async end() {
      for (const client of clients) client.cut();
      await service.remove();
      await database.drop();
    },
  };
}

/** The value of one metric, with its labels as /metrics writes them. */
export async function readMetric(service: Pick<ServiceProcess, 'adminPort'>, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${service.adminPort}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  if (line === undefined) throw new Error(`/metrics has no ${name}`);
  return Number(line.slice(name.length + 1));
}

/**
 * The `changes` frames that arrived on the clients' channels because of `work`, in order of
 * arrival.
 */
export async function changesOf(stage: Stage, client: RawClient, work: () => Promise<unknown>) {
  const from = client.frames.length;
  await work();
  const end = await stage.sayEnd();
  await client.wait(end, from, ({ type, data }) => type === 'message' && data === end);
  return client.frames.slice(from).filter(({ type, channel }) => type !== 'heartbeat' && channel !== 'end');
}

/** Bytes of memory of a process, from /proc: VmRSS is its current size, VmHWM its maximum. */
export async function memory(pid: number, what: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1_024;
}

/**
 * Kills the service and starts it again. `work` runs while the service is starting: a lock in the
 * database delays the end of the start.
 */
export async function whileStarting({ service, database }: Stage, work: () => Promise<unknown>): Promise<void> {
  await service.kill();
  const holder = await database.connect();
  await holder.query('begin; lock table sno.publications in access exclusive mode');
  const restarted = service.restart();
  restarted.catch(() => undefined);
  try {
    await work();
  } finally {
    await holder.end();
  }
  await restarted;
}

/**
 * The answer of a service to `GET path`, or to a websocket request; undefined if it does not listen
 * yet.
 */
async function answerOf({ port, certificate }: ServiceProcess, path: string, headers: Record<string, string> = {}) {
  const asked = request({ host: 'localhost', port, path, ca: certificate.cert, headers });
  asked.end();
  try {
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return { status: response.statusCode ?? 0, headers: response.headers, body: await bodyOf(response) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return undefined;
    throw error;
  }
}

/** The port serves the client library and answers `starting` to everything else. */
export async function expectStarting(service: ServiceProcess): Promise<void> {
  const bundle = await until(() => answerOf(service, '/sno.js'), 'it listens');
  expect({ status: bundle.status, isModule: bundle.body.includes('export{') }).toEqual({ status: 200, isModule: true });
  const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' };
  const key = { 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
  for (const [path, headers] of [
    ['/v1', { ...upgrade, ...key }],
    ['/v1', {}],
    ['/', {}],
    ['/sno.js', { ...upgrade, ...key }],
  ] as const) {
    const answer = await answerOf(service, path, headers);
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({ code: 'starting' });
  }
  const [health, ready] = await Promise.all(
    ['healthz', 'readyz'].map((path) => fetch(`http://127.0.0.1:${service.adminPort}/${path}`)),
  );
  expect([health?.status, ready?.status]).toEqual([200, 503]);
  expect(await ready?.json()).toEqual({ status: 'not ready', reason: 'starting' });
}

/** Waits until a different walsender reads the slot. */
export async function restreamed(stage: Stage, before: number | null): Promise<number> {
  return until(async () => {
    const { active_pid } = await stage.slot();
    return active_pid !== null && active_pid !== before && active_pid;
  }, 'the slot is read again');
}
