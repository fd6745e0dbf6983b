/**
 * Large transactions, which Postgres sends while they are in progress. A second service reads the
 * same commits whole: clients of both must receive the same frames.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { type Frame, RawClient } from './raw-client.ts';
import { restreamed, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table tasks (id int primary key, room int not null, title text not null, done boolean not null default false);
  alter table tasks replica identity full;
  create table notes (id int primary key, body text not null);
  alter table notes replica identity full;
  create table members (room int, name text, primary key (room, name));
  alter table members replica identity full;
  create table owners (id int primary key, name text not null);
  alter table owners replica identity full;
  create table ignored (id int primary key, body text);
  create schema channels;
  create schema if not exists channel_access;
  create view channels."room:{room}" as select id, room, title from tasks where not done;
  create view channels."all" as select id, done from tasks;
  create view channels."notes" as select id, format('%s!', body) as body from notes;
  create view channels."owned" as select n.id, n.body, o.name from notes n left join owners o on o.id = n.id;
  create view channels."members:{room}" as select room, name from members;
  create view channel_access."members:{room}" as select room, name as sub from members;
`;
const CHANNELS = ['room:1', 'room:2', 'all', 'notes', 'owned', 'members:1', 'end'];
/** Rows of a transaction that Postgres certainly sends in several blocks. */
const MANY = 2_000;

/** A client's frames that depend on nothing but the commits. */
const told = (client: RawClient) => client.frames.filter(({ type }) => type !== 'heartbeat' && type !== 'welcome');

/** Returns a client, and a connection with a transaction that Postgres sends in progress. */
async function begin(here: Stage) {
  await here.query(`alter database ${here.database.name} set logical_decoding_work_mem = '64kB'`);
  await here.service.terminate();
  await here.service.restart();
  const client = await here.client('room:1', 'end');
  const one = await here.database.connect();
  await one.query(`begin; insert into tasks select i, 1, 'task' from generate_series(1, ${MANY}) i`);
  return { client, one };
}

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let whole: ServiceProcess;

  beforeAll(async () => {
    here = await stage(SCHEMA, { SNO_COMMIT_BYTES: '64kB', SNO_SPOOL_BYTES: '1GB' }, version);
    await here.query(`alter database ${here.database.name} set logical_decoding_work_mem = '64kB'`);
    const { active_pid } = await here.slot();
    await here.query('select pg_terminate_backend($1)', [active_pid]);
    await restreamed(here, active_pid);
    whole = await startService(here.database.url, {
      SNO_ACCESS: 'open',
      SNO_COMMIT_BYTES: '64kB',
      SNO_SLOT: `${here.database.name}_whole`,
    });
  });
  afterAll(async () => {
    await whole?.remove();
    await here.end();
  });

  const streamed = async () => {
    const { rows } = await here.query<{ count: number }>(
      'select stream_count::int as count from pg_stat_replication_slots where slot_name = $1',
      [here.database.name],
    );
    return rows[0]?.count ?? 0;
  };
  const insert = (room: number, from: number, count: number) =>
    `insert into tasks select i, ${room}, 'task ' || i from generate_series(${from}, ${from + count - 1}) i`;

  /** Clients of both services, while `work` runs. They must receive the same frames. */
  async function sameFrames(work: () => Promise<void>): Promise<readonly Frame[]> {
    const clients = [await here.client(), await RawClient.open(whole)] as const;
    for (const client of clients) for (const channel of CHANNELS) await client.subscribe(channel, { old: true });
    const from = clients.map((client) => told(client).length);
    const before = await streamed();
    await work();
    const end = await here.sayEnd();
    for (const client of clients) await client.wait(end, 0, ({ data }) => data === end);
    const [blocks, once] = clients.map((client, index) => told(client).slice(from[index])) as [Frame[], Frame[]];
    for (const client of clients) client.cut();
    expect(blocks).toEqual(once);
    await until(async () => (await streamed()) > before, 'Postgres has sent blocks');
    return blocks;
  }

  const open = async () => {
    const client = await here.database.connect();
    await client.query('begin');
    return client;
  };

  test('rows, moves, deletes, messages and traces arrive as if the transaction had come whole, between other commits', async () => {
    const frames = await sameFrames(async () => {
      const [one, two] = [await open(), await open()];
      await one.query(insert(1, 1, MANY));
      await here.query(`insert into tasks values (900001, 1, 'between')`);
      await one.query(`select sno.trace('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')`);
      await two.query(insert(2, 100_001, MANY));
      await one.query(`select sno.publish('room:1', '"in it"', event => 'wave')`);
      await one.query(`select sno.publish('room:1', '"not to all"', 'wave', '1.2')`);
      await one.query(`select pg_logical_emit_message(false, 'other', 'at once')`);
      await one.query('update tasks set room = 2 where id between 1 and 300');
      await one.query(`insert into ignored select i, 'x' from generate_series(1, ${MANY}) i`);
      await here.query(`insert into tasks values (900002, 2, 'between')`);
      await one.query('update tasks set done = true where id between 200 and 500');
      await one.query('delete from tasks where id between 400 and 700');
      await two.query('commit');
      await here.query(`update tasks set title = 'after' where id = 900001`);
      await one.query('commit');
      await Promise.all([one.end(), two.end()]);
    });
    expect(frames.filter(({ part }) => part !== undefined).length).toBeGreaterThan(4);
    const removed = frames.flatMap(({ events = [] }) => events).filter(({ op }) => op === 'delete');
    for (const { key, old } of removed) expect(old).toMatchObject(key as object);
    expect(removed.length).toBeGreaterThan(300);
  });

  test('subtransactions that are rolled back, nested ones and transactions that are rolled back leave nothing', async () => {
    await sameFrames(async () => {
      const [one, two] = [await open(), await open()];
      await two.query(insert(2, 300_001, MANY));
      await one.query(`${insert(1, 200_001, MANY)}; savepoint a; ${insert(1, 210_001, MANY)}; savepoint b`);
      await one.query(`${insert(2, 220_001, MANY)}; release b; update tasks set done = true where id = 200001`);
      await one.query('rollback to a');
      await one.query(insert(1, 230_001, MANY));
      await two.query('rollback');
      await one.query(`savepoint c; alter table tasks add column extra int; ${insert(2, 240_001, 500)}; rollback to c`);
      await one.query(`do $$ begin for i in 1..300 loop
          begin
            insert into tasks select 250000 + 10 * i + j, 1, repeat('x', 100) from generate_series(1, 9) j;
            if i % 3 = 0 then raise exception 'no'; end if;
          exception when others then null; end;
        end loop; end $$`);
      await one.query('commit');
      await Promise.all([one.end(), two.end()]);
    });
  });

  test('a truncated table, rows that Postgres evaluates, and rows that access depends on are exact', async () => {
    await sameFrames(async () => {
      await here.query('insert into members select 1, i::text from generate_series(1, 50) i');
      const one = await open();
      await one.query(insert(1, 400_001, MANY));
      await one.query('truncate tasks');
      await one.query(`${insert(1, 410_001, MANY)}; commit`);
      await one.query(`begin; insert into notes select i, 'note ' || i from generate_series(1, ${MANY}) i; commit`);
      await one.query(`begin; insert into members select 1, 'm' || i from generate_series(1, ${MANY}) i`);
      await one.query('delete from members where name ~ $$^\\d+$$; commit');
      await one.end();
    });
  });

  test('a transaction is read by the definitions at its commit, whether it changes them itself or another one does', async () => {
    const frames = await sameFrames(async () => {
      const one = await open();
      await one.query(insert(1, 500_001, MANY));
      await here.query(
        `create or replace view channels."room:{room}" as select id, room, title, done from tasks where not done`,
      );
      await one.query(`${insert(1, 510_001, MANY)}; commit`);
      await one.query(`begin; ${insert(2, 520_001, MANY)}; alter table tasks add column extra text default 'e'`);
      await one.query(
        'create or replace view channels."room:{room}" as select id, room, title, done, extra from tasks where not done',
      );
      await one.query(`${insert(2, 530_001, MANY)}; commit`);
      await one.end();
    });
    expect(frames.filter(({ type }) => type === 'reset').length).toBeGreaterThan(1);
  });

  test('prepared transactions arrive when they are committed, or never', async () => {
    await sameFrames(async () => {
      const one = await open();
      for (const [index, end] of ['commit', 'rollback'].entries()) {
        const name = `${here.database.name}_${index}`;
        if (index > 0) await one.query('begin');
        await one.query(`${insert(1, 600_001 + 10_000 * index, MANY)}; prepare transaction '${name}'`);
        await here.query(`insert into tasks (id, room, title) values (${690_001 + index}, 1, 'between')`);
        await one.query(`${end} prepared '${name}'`);
      }
      await one.end();
    });
  });

  test.each([
    { by: 'kill -9', end: (stage: Stage) => stage.service.kill() },
    {
      by: 'the end of the walsender',
      end: async (stage: Stage) => {
        const { active_pid } = await stage.slot();
        await stage.query('select pg_terminate_backend($1)', [active_pid]);
        await restreamed(stage, active_pid);
      },
    },
  ])('broken in the middle by $by, a transaction arrives whole, once', async ({ by, end }) => {
    const from = by === 'kill -9' ? 700_001 : 750_001;
    const client = await here.client('room:1');
    const since = await client.heartbeat();
    const one = await open();
    await one.query(insert(1, from, MANY));
    await until(async () => (await here.metric('sno_spool_bytes')) > 0, 'Postgres has sent a part');
    await end(here);
    if (!here.service.isRunning) await here.service.restart();
    await one.query(`${insert(1, from + 10_000, MANY)}; commit`);
    await one.end();
    const again = await here.client('end');
    await again.subscribe('room:1', { since });
    const text = await here.sayEnd();
    await again.wait(text, 0, ({ data }) => data === text);
    const ids = again.of('room:1').flatMap(({ events }) => events?.map(({ key }) => key?.['id']) ?? []);
    const series = (first: number) => Array.from({ length: MANY }, (_, index) => first + index);
    expect(ids).toEqual([...series(from), ...series(from + 10_000)]);
    await until(async () => (await here.metric('sno_spool_bytes')) === 0, 'nothing of it is kept');
  });
});

test.each(VERSIONS)('Postgres %i: a message that a savepoint takes back does not arrive', async (version) => {
  const here = await stage(SCHEMA, { SNO_SPOOL_BYTES: '1GB' }, version);
  try {
    const { client, one } = await begin(here);
    await until(async () => (await here.metric('sno_spool_bytes')) > 0, 'Postgres has sent a part');
    const before = await here.metric('sno_spool_bytes');
    await one.query(`savepoint here; select sno.publish('end', to_json(repeat('gone', 50000)))`);
    const after = async () => (await here.metric('sno_spool_bytes')) > before + 100_000;
    await until(after, 'Postgres has sent the message');
    await one.query('rollback to savepoint here');
    await one.query(`select sno.publish('end', '"kept"'); commit`);
    await one.end();
    const text = await here.sayEnd();
    await client.wait(text, 0, ({ data }) => data === text);
    const said = client.frames.flatMap(({ type, data }) => (type === 'message' ? [data] : []));
    expect(said).toEqual(['kept', text]);
    expect(client.of('room:1').flatMap(({ events = [] }) => events)).toHaveLength(MANY);
    expect(here.service.log.find(({ code }) => code === 'spool_failed')).toMatchObject({
      hint: expect.stringContaining('sno.publish'),
    });
  } finally {
    await here.end();
  }
});

test('if a transaction cannot be kept, Postgres sends it whole: no commit is lost, and the log has a hint', async () => {
  const here = await stage(SCHEMA, { SNO_SPOOL_BYTES: '100kB' });
  try {
    const { client, one } = await begin(here);
    await until(async () => (await here.metric('sno_spool_faults_total')) === 1, 'the spool is full');
    await here.query(`insert into tasks values (900001, 1, 'between')`);
    await one.query('commit');
    await one.end();
    await here.query(`insert into tasks values (900002, 1, 'after')`);
    const text = await here.sayEnd();
    await client.wait(text, 0, ({ data }) => data === text);
    const ids = client.of('room:1').flatMap(({ events }) => events?.map(({ key }) => key?.['id']) ?? []);
    expect(ids).toEqual([900_001, ...Array.from({ length: MANY }, (_, index) => index + 1), 900_002]);
    const line = here.service.log.find(({ code }) => code === 'spool_failed');
    expect(line).toMatchObject({ level: 'warn', hint: expect.stringContaining('SNO_SPOOL_BYTES') });
    expect(await here.metric('sno_spool_faults_total')).toBe(1);
  } finally {
    await here.end();
  }
});
