/** What an operator sees and does: the admin port, restarts of Postgres, the slot, stopping. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { promtool } from '../ops/promtool.ts';
import { ownServer, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { changesOf, readMetric, restreamed, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table jobs (id int primary key, queue int not null);
  alter table jobs replica identity full;
  create schema channels;
  create view channels."queue:{queue}" as select id, queue from jobs;
`;

const get = async (service: ServiceProcess, path: string) => {
  const response = await fetch(`http://127.0.0.1:${service.adminPort}${path}`);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let ids = 0;

  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
  });
  afterAll(() => here.end());

  const insert = (queue: number) => here.query('insert into jobs values ($1, $2)', [++ids, queue]);

  test('/metrics has every metric, with plausible values', async () => {
    const [one, two] = [await here.client('end', 'queue:1'), await here.client('queue:1', 'queue:2')];
    await one.subscribe('nowhere');
    await one.subscribe('queue:3', { since: 'x' });
    await changesOf(here, one, async () => {
      for (const queue of [1, 1, 2]) await insert(queue);
      await here.query('update jobs set queue = 2 where id = 1');
      await here.query('delete from jobs where id = 1');
      await here.query('truncate jobs');
    });
    await two.until('all events', () => two.events('queue:2').at(-1)?.op === 'truncate');
    const metric = here.metric;
    expect(await metric('sno_connections')).toBe(2);
    expect(await metric('sno_subscriptions')).toBe(4);
    expect(await metric('sno_events_total{op="insert"}')).toBe(4);
    expect(await metric('sno_events_total{op="update"}')).toBe(0);
    expect(await metric('sno_events_total{op="delete"}')).toBe(2);
    expect(await metric('sno_events_total{op="truncate"}')).toBe(1);
    expect(await metric('sno_events_total{op="message"}')).toBe(1);
    expect(await metric('sno_commits_total')).toBeGreaterThanOrEqual(7);
    // one client receives a message and 4 frames of queue:1, the other 4 frames of each queue
    expect(await metric('sno_deliveries_total')).toBe(1 + 4 + 8);
    expect(await metric('sno_denials_total{code="channel_unknown"}')).toBe(1);
    expect(await metric('sno_denials_total{code="position_invalid"}')).toBe(1);
    expect(await metric('sno_journal_entries')).toBe(9);
    expect(await metric('sno_journal_bytes')).toBeGreaterThan(9 * 200);
    expect(await metric('sno_caught_up')).toBe(1);
    expect(await metric('sno_slot_retained_bytes')).toBeGreaterThan(0);
    expect(await metric('sno_wal_lag_bytes')).toBeGreaterThanOrEqual(0);
    expect(await metric('sno_commit_to_send_seconds_count')).toBeGreaterThanOrEqual(7);
    const sum = await metric('sno_commit_to_send_seconds_sum');
    expect(sum).toBeGreaterThan(0);
    const of = (name: string, pattern: string) => metric(`sno_pattern_${name}{pattern="${pattern}"}`);
    expect(await of('events_total', 'queue:{queue}')).toBe(7);
    expect(await of('events_total', 'end')).toBe(1);
    expect(await of('deliveries_total', 'queue:{queue}')).toBe(4 + 8);
    expect(await of('deliveries_total', 'end')).toBe(1);
    expect(await of('denials_total', 'queue:{queue}')).toBe(1);
    expect(await of('resets_total', 'queue:{queue}')).toBe(0);
    expect(await of('subscriptions', 'queue:{queue}')).toBe(3);
    expect(Math.abs((await of('last_event_seconds', 'queue:{queue}')) - Date.now() / 1_000)).toBeLessThan(3_600);
    expect(await metric('sno_rows_total')).toBe(5);
    expect(await metric('sno_sent_bytes_total')).toBeGreaterThan(13 * 150);
    expect(await metric('sno_wal_position_bytes')).toBeGreaterThan(0);
    expect(await metric('sno_channel_views{path="process"}')).toBe(1);
    expect(await metric('sno_channel_views{path="refused"}')).toBe(0);
    for (const reason of ['position_too_old', 'epoch_changed', 'channel_changed', 'lagging', 'slot_lost'])
      expect(await metric(`sno_resets_total{reason="${reason}"}`)).toBe(0);
    expect(await get(here.service, '/healthz')).toEqual({ status: 200, body: { status: 'alive' } });
    expect(await get(here.service, '/readyz')).toEqual({ status: 200, body: { status: 'ready' } });
  });

  test('promtool accepts what /metrics answers, and finds no fault in the names of Snö', async () => {
    const text = await (await fetch(`http://127.0.0.1:${here.service.adminPort}/metrics`)).text();
    // prom-client names some metrics of Node's own against the rules.
    const own = text.replaceAll(/^.*\bnodejs_.*\n/gm, '');
    expect(own).toMatch(/^sno_info\{version="\d+\.\d+\.\d+"\} 1$/m);
    expect(await promtool(['check', 'metrics'], own)).toEqual({ code: 0, output: '' });
    // Unknown or without a meaning here: absent, and not 0.
    expect(own).not.toMatch(/^sno_(relay_(sequence|lag_messages|cut_off)|ingesting|workers) /m);
  });

  test('WAL that a frozen walsender has not sent counts as not read', async () => {
    const { active_pid } = await here.slot();
    const lag = () => here.metric('sno_wal_lag_bytes');
    process.kill(Number(active_pid), 'SIGSTOP');
    try {
      await here.query(
        "select pg_logical_emit_message(false, 'padding', repeat('x', 1000000)) from generate_series(1, 8)",
      );
      await until(async () => (await lag()) > 7_000_000, 'the lag is told', 60_000);
    } finally {
      process.kill(Number(active_pid), 'SIGCONT');
    }
    await until(async () => (await lag()) < 1_000_000, 'the lag is over', 60_000);
  });

  test('if the walsender is terminated, connected clients receive every commit once and no reset', async () => {
    const client = await here.client('end', 'queue:4');
    const from = ids;
    for (let round = 0; round < 3; round++) {
      const { active_pid } = await here.slot();
      for (let count = 0; count < 20; count++) await insert(4);
      await here.query('select pg_terminate_backend($1)', [active_pid]);
      for (let count = 0; count < 20; count++) await insert(4);
      await restreamed(here, active_pid);
    }
    await changesOf(here, client, async () => undefined);
    const expected = Array.from({ length: 120 }, (_, index) => from + 1 + index);
    expect(client.events('queue:4').map(({ key }) => key?.['id'])).toEqual(expected);
    expect(client.of('queue:4', 'reset')).toEqual([]);
  });

  test('if the slot is dropped while Snö reads it, clients receive slot_lost, and everything after that under a new epoch', async () => {
    const client = await here.client('end', 'queue:5');
    const before = client.frames[0]?.epoch;
    const { position } = await client.subscribe('queue:6');
    const slot = here.database.name;
    await until(async () => {
      await here.query('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1', [
        slot,
      ]);
      await here.query('select pg_drop_replication_slot($1)', [slot]);
      return true;
    }, 'the slot is dropped');
    for (const channel of ['end', 'queue:5', 'queue:6'])
      await client.wait('reset', 0, (frame) => frame.type === 'reset' && frame.channel === channel);
    expect(client.frames.filter(({ type }) => type === 'reset').map(({ reason }) => reason)).toEqual(
      Array(3).fill('slot_lost'),
    );
    for (const channel of ['end', 'queue:5']) expect((await client.subscribe(channel)).type).toBe('subscribed');
    await changesOf(here, client, () => insert(5));
    expect(client.events('queue:5').map(({ key }) => key?.['id'])).toEqual([ids]);
    expect(await client.subscribe('queue:6', { since: position as string })).toMatchObject({ reason: 'slot_lost' });
    const later = await here.client();
    expect(later.frames[0]?.epoch).not.toBe(before);
    expect(await here.metric('sno_slot_lost_total')).toBe(1);
  });
});

describe.each(VERSIONS)('Postgres %i stops and starts again', (version) => {
  let server: EmbeddedPostgres;
  let service: ServiceProcess;

  beforeAll(async () => {
    server = await ownServer({ version });
    await query(SCHEMA);
    service = await startService(server.url(), { SNO_ACCESS: 'open' });
  });
  afterAll(async () => {
    await service.remove();
    await server.stop('immediate');
  });

  async function query(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: server.url() });
    await client.connect();
    await client.query(sql);
    await client.end();
  }

  test.each(['SIGQUIT', 'SIGKILL', 'SIGINT'] as const)(
    'by %s: Snö is not ready meanwhile; clients that stay connected miss nothing',
    async (signal) => {
      const client = await RawClient.open(service);
      await client.subscribe('queue:1');
      await query('insert into jobs select coalesce(max(id), 0) + 1, 1 from jobs');
      await client.until('the commit before', () => client.events('queue:1').length === 1);
      await server.kill(signal);
      await until(async () => (await get(service, '/readyz')).status === 503, 'it is not ready');
      expect((await get(service, '/healthz')).status).toBe(200);
      expect(await client.subscribe('queue:2', { snapshot: true })).toMatchObject({ type: 'error', code: 'try_again' });
      await server.restart();
      await query('insert into jobs select max(id) + 1, 1 from jobs');
      await until(async () => (await get(service, '/readyz')).status === 200, 'it is ready again');
      await client.until('the commit after', () => client.events('queue:1').length === 2);
      const [before, after] = client.events('queue:1').map(({ key }) => Number(key?.['id']));
      expect(after).toBe((before as number) + 1);
      expect(client.frames.filter(({ type }) => type === 'reset')).toEqual([]);
      expect((await client.subscribe('queue:2', { snapshot: true })).type).toBe('subscribed');
      expect(await readMetric(service, 'sno_reconnects_total')).toBeGreaterThan(0);
      client.cut();
    },
  );
});

// it waits for the slot for as long as a rolling restart may take; the code is the same on every
// version
test('a second instance on the same slot ends with slot_in_use; the first goes on', async () => {
  const here = await stage(SCHEMA);
  try {
    const client = await here.client('queue:7');
    await expect(startService(here.database.url, { SNO_ACCESS: 'open', SNO_SLOT: here.database.name })).rejects.toThrow(
      /ended with 1: sno: slot_in_use: .*\n {2}\S/,
    );
    await here.query('insert into jobs values (1, 7)');
    await client.until('the commit', () => client.events('queue:7').length === 1);
    expect(client.frames.filter(({ type }) => type === 'reset')).toEqual([]);
  } finally {
    await here.end();
  }
});

describe('stopping', () => {
  let here: Stage;
  afterEach(() => here.end());

  test('SIGTERM: not ready at once, clients are closed with 1001, exit code 0; after a restart they resume', async () => {
    here = await stage(SCHEMA);
    // does not answer the close frame: the service waits for it
    const stalled = await here.client();
    stalled.pause();
    const clients = await Promise.all(Array.from({ length: 6 }, () => here.client('queue:1')));
    const position = clients[0]?.of('queue:1', 'subscribed')[0]?.position as string;
    const ended = here.service.terminate();
    await until(async () => {
      const { status, body } = await get(here.service, '/readyz');
      return status === 503 && body['reason'] === 'draining';
    }, 'it is draining');
    await expect(RawClient.open(here.service)).rejects.toThrow();
    expect(await Promise.all(clients.map(({ closed }) => closed))).toEqual(Array(6).fill(1001));
    expect(await ended).toBe(0);
    expect((await here.slot()).active_pid).toBeNull();
    await here.query('insert into jobs values (1, 1)');
    await here.service.restart();
    // What fills the journal again was sent long ago, or is sent as a resume.
    expect(await here.metric('sno_commit_to_send_seconds_count')).toBe(0);
    const back = await here.client('end');
    await changesOf(here, back, () => back.subscribe('queue:1', { since: position }));
    expect(back.events('queue:1').map(({ key }) => key)).toEqual([{ id: 1 }]);
  });
});
