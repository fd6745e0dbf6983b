/** Snapshots, and where they and the stream meet. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { ownServer, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { type Frame, RawClient } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table orders (id int primary key, shop int not null, note text not null);
  alter table orders replica identity full;
  create schema channels;
  create view channels."shop:{shop}" as select id, shop, note from orders;
`;

const ids = (frames: readonly Frame[]) => frames.flatMap(({ rows }) => rows ?? []).map(({ key }) => Number(key['id']));

const connections = `
  select state, query from pg_stat_activity
  where datname = current_database() and application_name = 'sno snapshot' and state <> 'idle'`;

describe.each(VERSIONS)('a snapshot that is outdated before its first row is sent, Postgres %i', (version) => {
  test('is taken again, and the client notices nothing', async () => {
    const access = `create table shops (id int primary key); insert into shops values (1);
      create view channel_access."shop:{shop}" as select id as shop from shops;`;
    const settings = { SNO_ACCESS: 'views', SNO_ACCESS_TIMEOUT_SECONDS: '60', SNO_REPLAY_BYTES: '20kB' };
    const here = await stage(`${SCHEMA}${access}`, settings, version);
    const [migration, holder] = [await here.database.connect(), await here.database.connect()];
    const waitsForLock = async (name: string) => {
      const waiting = `select from pg_stat_activity
        where datname = current_database() and application_name = $1 and wait_event_type = 'Lock'`;
      return (await here.query(waiting, [name])).rowCount;
    };
    try {
      const [live, joining] = [await here.client('end', 'shop:1'), await here.client()];
      await migration.query('begin; lock table orders in access exclusive mode');
      joining.send({ type: 'subscribe', channel: 'shop:1', snapshot: true });
      await until(() => waitsForLock('sno snapshot'), 'the snapshot waits for the migration');
      // Access is checked again once the snapshot is taken.
      await holder.query('begin; lock table shops in access exclusive mode');
      await migration.query('commit');
      await until(() => waitsForLock('sno access'), 'its rows wait for the access check');
      const commits = Array.from({ length: 60 }, (_, index) => index + 1);
      await changesOf(here, live, async () => {
        for (const id of commits) await here.query("insert into orders values ($1, 1, repeat('x', 1000))", [id]);
      });
      await holder.query('commit');
      await joining.wait('an answer', 0, ({ type }) => type === 'subscribed' || type === 'reset');
      expect(joining.of('shop:1', 'reset')).toEqual([]);
      expect(ids(joining.of('shop:1', 'snapshot')).sort((a, b) => a - b)).toEqual(commits);
    } finally {
      await Promise.all([migration.end(), holder.end()]);
      await here.end();
    }
  });
});

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;

  beforeAll(async () => {
    here = await stage(SCHEMA, { SNO_SNAPSHOT_BYTES: '1MB' }, version);
    await here.query('insert into orders select i, 1, repeat(md5(i::text), 10) from generate_series(1, 20000) i');
  });
  afterAll(() => here.end());

  const insert = (id: number, shop: number) => here.query("insert into orders values ($1, $2, 'text')", [id, shop]);

  test('many rows arrive in numbered parts, the last one marked, before `subscribed`', async () => {
    const client = await here.client();
    const from = client.frames.length;
    await client.subscribe('shop:1', { snapshot: true });
    const frames = client.frames.slice(from);
    const parts = frames.slice(0, -1);
    expect(frames.at(-1)?.type).toBe('subscribed');
    expect(frames.at(-1)).not.toHaveProperty('recovered');
    expect(parts.length).toBeGreaterThan(5);
    expect(parts.every(({ type }) => type === 'snapshot')).toBe(true);
    expect(parts.map(({ part }) => part)).toEqual(parts.map((_, index) => index + 1));
    expect(parts.map(({ last }) => last)).toEqual(parts.map((_, index) => index === parts.length - 1));
    expect(ids(parts).sort((a, b) => a - b)).toEqual(Array.from({ length: 20_000 }, (_, index) => index + 1));
  });

  test('a channel without rows sends one empty part', async () => {
    const client = await here.client();
    await client.subscribe('shop:404', { snapshot: true });
    expect(client.of('shop:404', 'snapshot')).toEqual([
      { type: 'snapshot', channel: 'shop:404', rows: [], part: 1, last: true },
    ]);
  });

  test('a transaction that is open during the snapshot and commits later arrives as changes, once', async () => {
    const writer = await here.database.connect();
    await writer.query("begin; insert into orders values (100001, 2, 'late')");
    await insert(100_002, 2);
    const client = await here.client('end');
    await client.subscribe('shop:2', { snapshot: true });
    expect(ids(client.of('shop:2', 'snapshot'))).toEqual([100_002]);
    await changesOf(here, client, () => writer.query('commit'));
    await writer.end();
    expect(client.events('shop:2').map(({ op, key }) => [op, key])).toEqual([['insert', { id: 100_001 }]]);
  });

  test('a table that is rewritten during the snapshot does not look empty', async () => {
    const migration = await here.database.connect();
    await migration.query(`create table prices (id int primary key, unused int); insert into prices values (1, 1);
      create view channels.prices as select id from prices`);
    const client = await here.client();
    await until(async () => (await client.subscribe('prices')).type === 'subscribed', 'the channel is known');
    const other = await here.client();
    await migration.query('begin; alter table prices alter unused type bigint');
    const subscribed = other.subscribe('prices', { snapshot: true });
    await until(
      async () =>
        (
          await here.query(
            "select from pg_stat_activity where datname = current_database() and application_name = 'sno snapshot' and wait_event_type = 'Lock'",
          )
        ).rowCount,
      'the snapshot waits for the migration',
    );
    await migration.query('commit');
    expect(await subscribed).toMatchObject({ type: 'subscribed' });
    expect(ids(other.of('prices', 'snapshot'))).toEqual([1]);
    expect(client.of('prices', 'reset')).toEqual([]);
    await migration.end();
  });

  test('commits with synchronous_commit off are in exactly one of snapshot and stream', async () => {
    const writer = await here.database.connect();
    await writer.query('set synchronous_commit = off');
    const clients: RawClient[] = [];
    for (let id = 1; id <= 300; id++) {
      await writer.query("insert into orders values (200000 + $1, 3, 'x')", [id]);
      if (id % 50 !== 0) continue;
      const client = await here.client('end');
      client.send({ type: 'subscribe', channel: 'shop:3', snapshot: true });
      clients.push(client);
    }
    await writer.end();
    for (const client of clients) {
      await client.wait('subscribed', 0, ({ type, channel }) => type === 'subscribed' && channel === 'shop:3');
      await changesOf(here, client, async () => undefined);
      const all = [
        ...ids(client.of('shop:3', 'snapshot')),
        ...client.events('shop:3').map(({ key }) => Number(key?.['id'])),
      ];
      expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, index) => 200_001 + index));
    }
  });

  test('clients that ask at the same time share reads, and each receives all rows', async () => {
    await here.query("insert into orders select 400000 + i, 7, repeat('x', 300) from generate_series(1, 2000) i");
    const clients = await Promise.all(Array.from({ length: 30 }, () => here.client()));
    const before = await here.metric('sno_snapshot_reads_total');
    const answers = await Promise.all(clients.map((client) => client.subscribe('shop:7', { snapshot: true })));
    expect(answers.map(({ type }) => type)).toEqual(clients.map(() => 'subscribed'));
    for (const client of clients) expect(ids(client.of('shop:7', 'snapshot')).length).toBe(2_000);
    const reads = (await here.metric('sno_snapshot_reads_total')) - before;
    expect(reads).toBeLessThan(clients.length / 2);
  });

  test('channels that are opened at the same time each receive their own rows, while others commit', async () => {
    const shops = Array.from({ length: 120 }, (_, index) => 1_000 + index);
    await here.query(`insert into orders select 500000 + i, 1000 + i % 120, 'x' from generate_series(0, 599) i;
      insert into orders select 600000 + i, 1000, repeat('y', 1000) from generate_series(1, 1000) i`);
    const clients = await Promise.all([1, 2, 3].map(() => here.client('end')));
    for (const [index, shop] of shops.entries())
      clients[index % 3]?.send({ type: 'subscribe', channel: `shop:${shop}`, snapshot: true });
    for (let id = 0; id < 20; id++) await insert(700_000 + id, 1_000 + id);
    for (const [index, shop] of shops.entries()) {
      const client = clients[index % 3] as RawClient;
      const name = `shop:${shop}`;
      await client.wait('it is subscribed', 0, ({ type, channel }) => type === 'subscribed' && channel === name);
    }
    for (const client of clients) await changesOf(here, client, async () => undefined);
    for (const [index, shop] of shops.entries()) {
      const client = clients[index % 3] as RawClient;
      const held = [
        ...ids(client.of(`shop:${shop}`, 'snapshot')),
        ...client.events(`shop:${shop}`).map(({ key }) => Number(key?.['id'])),
      ];
      const { rows } = await here.query('select id from orders where shop = $1 order by id', [shop]);
      expect(held.sort((a, b) => a - b)).toEqual(rows.map(({ id }) => Number(id)));
    }
  });

  test('a client that unsubscribes or disconnects in the middle releases the database connection', async () => {
    const busy = async () => (await here.query(connections)).rowCount as number;
    for (const leave of ['unsubscribe', 'disconnect'] as const) {
      const client = await here.client();
      client.pause();
      client.send({ type: 'subscribe', channel: 'shop:1', snapshot: true });
      await until(async () => (await busy()) > 0, 'the snapshot is being read');
      if (leave === 'disconnect') {
        client.cut();
      } else {
        client.send({ type: 'unsubscribe', channel: 'shop:1' });
        client.resume();
        await client.wait('the answer', 0, ({ type }) => type === 'unsubscribed');
        const from = client.frames.length;
        await client.heartbeat();
        expect(client.of('shop:1', 'snapshot', from)).toEqual([]);
      }
      await until(async () => (await busy()) === 0, `the connection is free after ${leave}`);
    }
  });

  test('clients that do not read their snapshots delay no live events of others', async () => {
    const quick = await here.client('end', 'shop:5');
    const stuck = await Promise.all(Array.from({ length: 8 }, () => here.client()));
    for (const client of stuck) {
      client.pause();
      client.send({ type: 'subscribe', channel: 'shop:1', snapshot: true });
    }
    await until(async () => ((await here.query(connections)).rowCount as number) > 0, 'a snapshot is being read');
    await changesOf(here, quick, () => insert(300_001, 5));
    expect(quick.events('shop:5').length).toBe(1);
    for (const client of stuck) client.resume();
    // a client too far behind the others is reset, and gets a snapshot of its own
    for (const client of stuck) {
      const isAnswer = ({ type }: Frame) => type === 'subscribed' || type === 'reset';
      const answer = await client.wait('an answer', 0, isAnswer);
      if (answer.type === 'reset') expect(answer.reason).toBe('lagging');
      else continue;
      expect((await client.subscribe('shop:1', { snapshot: true })).type).toBe('subscribed');
    }
    for (const client of stuck) expect(new Set(ids(client.of('shop:1', 'snapshot'))).size).toBe(20_000);
  });

  test('a client that does not read holds bytes up to the limit of a socket, however many channels it joins, and loses none', async () => {
    const shops = Array.from({ length: 60 }, (_, index) => 7_000 + index);
    await here.query(
      "insert into orders select 7000000 + i, 7000 + i, repeat('x', 250000) from generate_series(0, 59) i",
    );
    const stuck = await here.plainClient();
    stuck.pause();
    for (const shop of shops) stuck.send({ type: 'subscribe', channel: `shop:${shop}`, snapshot: true });
    await until(async () => (await here.metric('sno_outbound_bytes')) > 1_000_000, 'the socket is full');
    const quick = await here.client();
    expect((await quick.subscribe('shop:99', { snapshot: true })).type).toBe('subscribed');
    await until(async () => (await here.metric('sno_snapshots_waiting')) === 0, 'its other channels wait no more');
    expect(await here.metric('sno_outbound_bytes')).toBeLessThan(2_000_000);
    stuck.resume();
    for (const shop of shops)
      await stuck.wait(`shop ${shop}`, 0, ({ type, channel }) => type === 'subscribed' && channel === `shop:${shop}`);
    expect(stuck.frames.filter(({ type }) => type === 'reset' || type === 'error')).toEqual([]);
    expect(ids(stuck.frames).length).toBe(60);
  });
});

describe('clients that do not read, with SNO_SNAPSHOTS=1,', () => {
  let here: Stage;

  beforeAll(async () => {
    // one process, because each of several has its own share of SNO_SNAPSHOTS
    here = await stage(SCHEMA, {
      SNO_WORKERS: '0',
      SNO_SNAPSHOTS: '1',
      SNO_MAX_WAITING_SNAPSHOTS: '2',
      SNO_SNAPSHOT_BYTES: '1MB',
    });
    await here.query('insert into orders select i, i % 4, repeat(md5(i::text), 40) from generate_series(1, 60000) i');
  });
  afterAll(() => here.end());

  /** A client that stops reading in the middle of the snapshot of a shop. */
  async function stuckAt(shop: number): Promise<RawClient> {
    // compressed, all of it would fit into its socket
    const client = await here.plainClient();
    client.pause();
    client.send({ type: 'subscribe', channel: `shop:${shop}`, snapshot: true });
    return client;
  }

  test('delay no other snapshot: they are reset, and may ask again', async () => {
    const stuck = await stuckAt(0);
    await until(async () => ((await here.query(connections)).rowCount as number) > 0, 'it is being read');
    const quick = await here.client();
    expect((await quick.subscribe('shop:9', { snapshot: true })).type).toBe('subscribed');
    stuck.resume();
    expect((await stuck.wait('the reset', 0, ({ type }) => type === 'reset')).reason).toBe('lagging');
    expect((await stuck.subscribe('shop:0', { snapshot: true })).type).toBe('subscribed');
    const from = stuck.frames.findIndex(({ type }) => type === 'reset');
    expect(ids(stuck.of('shop:0', 'snapshot', from)).length).toBe(15_000);
  });

  test('if the queue is full, the answer is overloaded, and the connection stays usable', async () => {
    const stuck = [await stuckAt(0)];
    await until(async () => ((await here.query(connections)).rowCount as number) > 0, 'it is being read');
    for (const shop of [1, 2]) stuck.push(await stuckAt(shop));
    await until(async () => (await here.metric('sno_snapshots_waiting')) === 2, 'the queue is full');
    const client = await here.client();
    const refusal = await client.subscribe('shop:3', { snapshot: true });
    expect(refusal).toMatchObject({
      type: 'error',
      code: 'overloaded',
      message: expect.stringContaining('Retry after'),
    });
    expect(await here.metric('sno_limits_met_total{limit="waiting_snapshots"}')).toBe(1);
    // a client that shares a waiting snapshot needs no place in the queue
    const sharer = await here.client();
    sharer.send({ type: 'subscribe', channel: 'shop:2', snapshot: true });
    for (const each of stuck) each.cut();
    await sharer.wait('its snapshot', 0, ({ type }) => type === 'subscribed');
    expect(await here.metric('sno_limits_met_total{limit="waiting_snapshots"}')).toBe(1);
    expect((await client.subscribe('shop:3', { snapshot: true })).type).toBe('subscribed');
  });
});

describe.each(VERSIONS)('Postgres %i: a commit that is in the WAL and not visible yet', (version) => {
  let server: EmbeddedPostgres;
  let service: ServiceProcess;
  const sessions: pg.Client[] = [];

  async function session(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: server.url() });
    client.on('error', () => undefined);
    await client.connect();
    sessions.push(client);
    return client;
  }

  /**
   * Inserts rows, each in its own commit, until one waits for a standby that does not exist. That
   * row has the last id.
   */
  async function insertUntilHanging(writer: pg.Client, control: pg.Client) {
    const { rows } = await writer.query<{ pid: number }>('select pg_backend_pid() as pid');
    for (let id = 2; ; id++) {
      let isDone = false;
      const committed = writer.query("insert into orders values ($1, 1, 'text')", [id]).then(() => {
        isDone = true;
      });
      const activity = `select from pg_stat_activity where pid = ${rows[0]?.pid} and wait_event = 'SyncRep'`;
      await until(async () => isDone || (await control.query(activity)).rowCount === 1, 'the commit is done or hangs');
      if (!isDone) return { id, committed };
    }
  }

  beforeAll(async () => {
    server = await ownServer({ version });
    await (await session()).query(SCHEMA);
    service = await startService(server.url(), { SNO_ACCESS: 'open' });
  });
  afterEach(async () => {
    await Promise.all(sessions.splice(0).map((client) => client.end()));
  });
  afterAll(async () => {
    await service.remove();
    await server.stop('immediate');
  });

  test('arrives as changes between the snapshot, which lacks it, and `subscribed`', async () => {
    const [control, writer] = [await session(), await session()];
    await control.query("insert into orders values (1, 1, 'text')");
    await control.query("alter system set synchronous_standby_names = 'nobody'");
    await control.query('select pg_reload_conf()');
    const live = await RawClient.open(service);
    await live.subscribe('shop:1', { snapshot: true });
    const { id, committed } = await insertUntilHanging(writer, control);
    // the commit has been decoded: live clients have it
    await live.until('the hanging commit', () => live.events('shop:1').at(-1)?.key?.['id'] === id);
    const visible = async () => (await control.query('select from orders where id = $1', [id])).rowCount;
    expect(await visible()).toBe(0);

    const client = await RawClient.open(service);
    expect((await client.subscribe('shop:1', { snapshot: true })).type).toBe('subscribed');
    expect(await visible()).toBe(0);
    const frames = client.frames.filter(({ type }) => type !== 'welcome');
    expect(frames.map(({ type }) => type)).toEqual(['snapshot', 'changes', 'subscribed']);
    const before = Array.from({ length: id - 1 }, (_, index) => index + 1);
    expect(ids(frames.slice(0, 1)).sort((a, b) => a - b)).toEqual(before);
    expect(frames[1]?.events).toMatchObject([{ op: 'insert', key: { id } }]);

    await control.query('alter system reset synchronous_standby_names');
    await control.query('select pg_reload_conf()');
    await committed;
    await writer.query("insert into orders values ($1, 1, 'after')", [id + 1]);
    await client.until('the commit after', () => client.events('shop:1').at(-1)?.key?.['id'] === id + 1);
    expect(client.events('shop:1').map(({ key }) => key?.['id'])).toEqual([id, id + 1]);
    const late = await RawClient.open(service);
    await late.subscribe('shop:1', { snapshot: true });
    expect(ids(late.of('shop:1', 'snapshot')).sort((a, b) => a - b)).toEqual([...before, id, id + 1]);
    expect(late.events('shop:1')).toEqual([]);
    for (const each of [live, client, late]) each.cut();
  });
});
