/** Rules change like data: DDL takes effect at its own commit, without a restart. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table tasks (id int primary key, room int not null, title text, done boolean not null default false);
  alter table tasks replica identity full;
  create schema channels;
  create view channels."task:{room}" as select id, room, title from tasks;
  create view channels."open:{room}" as select id, room from tasks where not done;
`;

const reset = (channel: string) => ({ type: 'reset', channel, reason: 'channel_changed' });

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let client: RawClient;
  let ids = 0;

  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
    client = await here.client('end', 'open:1');
  });
  afterAll(() => here.end());

  const insert = (room: number) => here.query('insert into tasks values ($1, $2)', [++ids, room]);
  const views = (name: string) => `create view channels."${name}:{room}" as select id, room, title from tasks`;

  /** Runs the statements in one commit; returns what the client received of it. */
  const got = (sql: string) => changesOf(here, client, () => here.query(`begin; ${sql}; commit`));
  /** The channel that does not change continues undisturbed. */
  async function expectOthersGoOn(): Promise<void> {
    const frames = await changesOf(here, client, () => insert(1));
    expect(frames.filter(({ channel }) => channel === 'open:1')).toMatchObject([
      { type: 'changes', events: [{ op: 'insert', key: { id: ids } }] },
    ]);
  }

  test('a view that is created can be subscribed to', async () => {
    expect(await client.subscribe('fresh:1')).toMatchObject({ type: 'error', code: 'channel_unknown' });
    expect(await got(views('fresh'))).toEqual([]);
    expect(await client.subscribe('fresh:1', { snapshot: true })).toMatchObject({ type: 'subscribed' });
    const frames = await changesOf(here, client, () => insert(1));
    expect(frames.map(({ channel }) => channel).sort()).toEqual(['fresh:1', 'open:1']);
  });

  test('a client that subscribes right after the commit of a view never receives channel_unknown', async () => {
    for (const name of ['quick', 'quicker', 'quickest']) {
      await here.query(views(name));
      expect(await client.subscribe(`${name}:1`, { snapshot: true })).toMatchObject({ type: 'subscribed' });
    }
  });

  test('a replaced view resets its subscribers and no other client', async () => {
    await client.subscribe('task:1');
    expect(
      await got(`create or replace view channels."task:{room}" as select id, room, title, done from tasks`),
    ).toEqual([reset('task:1')]);
    await client.subscribe('task:1');
    const frames = await changesOf(here, client, () => insert(1));
    expect(frames.find(({ channel }) => channel === 'task:1')?.events?.[0]?.data).toEqual({
      id: ids,
      room: 1,
      title: null,
      done: false,
    });
    await expectOthersGoOn();
  });

  test('a view that is replaced by the same definition resets no client', async () => {
    await got(views('same'));
    await client.subscribe('same:1');
    expect(await got(`create or replace view channels."same:{room}" as select id, room, title from tasks`)).toEqual([]);
  });

  test('a dropped view ends its subscriptions; dropped and created in one commit, it resets them', async () => {
    await got(views('brief'));
    await client.subscribe('brief:1');
    expect(
      await got(`drop view channels."brief:{room}"; create view channels."brief:{room}" as select id, room from tasks`),
    ).toEqual([reset('brief:1')]);
    await client.subscribe('brief:1');
    expect(await got('drop view channels."brief:{room}"')).toEqual([
      { type: 'unsubscribed', channel: 'brief:1', code: 'channel_dropped' },
    ]);
    expect(await client.subscribe('brief:1')).toMatchObject({ type: 'error', code: 'channel_unknown' });
    await expectOthersGoOn();
  });

  test('a table altered, its view replaced and rows written in one commit: a reset, then the new shape', async () => {
    await got(
      'create table plans (id int primary key, room int not null); alter table plans replica identity full; create view channels."plan:{room}" as select id, room from plans',
    );
    await client.subscribe('plan:1', { snapshot: true });
    await got('insert into plans values (1, 1)');
    const frames = await got(
      `insert into plans values (2, 1);
       alter table plans add column price numeric;
       insert into plans values (3, 1, 9.50);
       create or replace view channels."plan:{room}" as select id, room, price from plans;
       update plans set price = 1.0 where id = 1`,
    );
    expect(frames).toEqual([reset('plan:1')]);
    const from = client.frames.length;
    await client.subscribe('plan:1', { snapshot: true });
    const rows = client.of('plan:1', 'snapshot', from).flatMap(({ rows }) => rows ?? []);
    expect(rows.map(({ data }) => data).sort((a, b) => Number(a['id']) - Number(b['id']))).toEqual([
      { id: 1, room: 1, price: 1 },
      { id: 2, room: 1, price: null },
      { id: 3, room: 1, price: 9.5 },
    ]);
    expect(await got('update plans set price = 2 where id = 3')).toMatchObject([
      { channel: 'plan:1', events: [{ op: 'update', data: { id: 3, room: 1, price: 2 } }] },
    ]);
  });

  test.each([
    ['waits for its turn', false],
    ['does not wait for ever', true],
  ])('DDL of two sessions that commit at the same time: both views are served; the second %s', async (_, isLate) => {
    const [early, late] = isLate ? ['early', 'late'] : ['first', 'second'];
    await here.query(`
      drop table if exists gate; create table gate (id int);
      create or replace function pass_gate() returns trigger language plpgsql
        as $$ begin perform pg_advisory_xact_lock_shared(77); return null; end $$;
      create constraint trigger gate after insert on gate
        deferrable initially deferred for each row execute function pass_gate()`);
    const [holder, first, second] = await Promise.all([1, 2, 3].map(() => here.database.connect()));
    const subscriber = await here.client();
    const waiting = async (lock: string) =>
      (await here.query(`select from pg_locks where not granted and ${lock}`)).rowCount === 1;
    const isServed = async (name: string) => {
      const { type, code } = await subscriber.subscribe(`${name}:1`);
      return type === 'subscribed' || code === 'already_subscribed';
    };
    await holder?.query('select pg_advisory_lock(77)');
    // its catalog is in the WAL, its commit is not
    const firstDone = first?.query(`begin; ${views(early as string)}; insert into gate values (1); commit`);
    await until(() => waiting("locktype = 'advisory'"), 'the first is about to commit');
    let isDone = false;
    const secondDone = second?.query(views(late as string)).then(() => {
      isDone = true;
    });
    if (isLate) await secondDone;
    else await until(async () => isDone || (await waiting("relation = 'sno.turn'::regclass")), 'the second waits');
    await holder?.query('select pg_advisory_unlock(77)');
    await Promise.all([firstDone, secondDone]);
    await until(async () => (await isServed(early as string)) && (await isServed(late as string)), 'both are served');
    for (const each of [holder, first, second]) await each?.end();
  });

  test('a prepared transaction that creates a channel does not block a session that alters another one', async () => {
    await got(views('apart'));
    const other = await here.database.connect();
    await other.query(`begin; ${views('prepared')}; prepare transaction '${here.database.name}'`);
    try {
      await here.query(
        `set lock_timeout = '5s'; create or replace view channels."apart:{room}" as select id, room, title, done from tasks; reset lock_timeout`,
      );
    } finally {
      await other.query(`commit prepared '${here.database.name}'`);
      await other.end();
    }
    for (const name of ['prepared', 'apart'])
      await until(async () => (await client.subscribe(`${name}:1`)).type === 'subscribed', `${name} is served`);
    await expectOthersGoOn();
  });

  test('DDL that is rolled back changes nothing', async () => {
    await here.query(`begin; drop view channels."open:{room}"; rollback`);
    expect(await got('select 1')).toEqual([]);
    await expectOthersGoOn();
  });

  test('if the replica identity no longer suffices, the channel ends and is unavailable until it is corrected', async () => {
    await got(
      'create table cards (id int primary key, room int not null); alter table cards replica identity full; create view channels."card:{room}" as select id, room from cards',
    );
    await client.subscribe('card:1');
    expect(await got('alter table cards replica identity default')).toEqual([
      { type: 'unsubscribed', channel: 'card:1', code: 'channel_dropped' },
    ]);
    expect(await client.subscribe('card:1')).toMatchObject({ type: 'error', code: 'channel_unavailable' });
    const refusal = await until(
      () => here.service.log.findLast(({ code }) => code === 'replica_identity'),
      'the refusal is in the log',
    );
    expect(refusal['hint']).toMatch(/alter table .*cards replica identity full/i);
    await got('alter table cards replica identity full');
    expect(await client.subscribe('card:1')).toMatchObject({ type: 'subscribed' });
    expect(await got('insert into cards values (1, 1)')).toMatchObject([
      { channel: 'card:1', events: [{ op: 'insert' }] },
    ]);
    await expectOthersGoOn();
  });

  test('a refused view affects no other channel, and the log says why', async () => {
    expect(await got('create view channels."sum:{room}" as select room, count(*) from tasks group by room')).toEqual(
      [],
    );
    expect(await client.subscribe('sum:1')).toMatchObject({ type: 'error', code: 'channel_unavailable' });
    const logged = () => here.service.log.findLast(({ view }) => view === 'channels."sum:{room}"');
    expect(await until(logged, 'the refusal is in the log')).toMatchObject({ code: 'channel_refused' });
    await expectOthersGoOn();
  });

  test('a client that resumes from before a redefinition is reset, after a restart too', async () => {
    await got(views('old'));
    const { position } = await client.subscribe('old:1');
    const { position: other } = await client.subscribe('task:2');
    await got(`create or replace view channels."old:{room}" as select id, room, title, done from tasks`);
    const since = async () => {
      const back = await here.client();
      return [
        await back.subscribe('old:1', { since: position as string }),
        await back.subscribe('task:2', { since: other as string }),
      ];
    };
    const expected = [reset('old:1'), { type: 'subscribed', channel: 'task:2', recovered: true }];
    expect(await since()).toMatchObject(expected);
    await here.service.kill();
    await here.service.restart();
    expect(await since()).toMatchObject(expected);
    client = await here.client('end', 'open:1');
    await expectOthersGoOn();
  });
});

describe('access views', () => {
  let here: Stage;
  afterEach(() => here.end());

  test('Snö checks subscriptions again when their access view is changed or dropped', async () => {
    here = await stage(
      `${SCHEMA}
       create view channel_access."task:{room}" as select r as room, 'u' || r as sub from generate_series(1, 3) r;
       create view channel_access."open:{room}" as select r as room from generate_series(1, 3) r;`,
      { SNO_ACCESS: 'views' },
    );
    const client = await RawClient.open(here.service, await signToken({ sub: 'u1' }));
    for (const channel of ['end', 'task:1', 'open:1'])
      expect(await client.subscribe(channel)).toMatchObject({ type: 'subscribed' });
    const unsubscribed = (channel: string, from: number) =>
      client.wait(`${channel} is revoked`, from, (frame) => frame.type === 'unsubscribed' && frame.channel === channel);
    let from = client.frames.length;
    await here.query(
      `create or replace view channel_access."task:{room}" as select r as room, 'v' || r as sub from generate_series(1, 3) r`,
    );
    expect(await unsubscribed('task:1', from)).toMatchObject({ code: 'access_revoked' });
    expect(await client.subscribe('task:1')).toMatchObject({ code: 'access_denied' });
    from = client.frames.length;
    await here.query(`drop view channel_access."open:{room}"`);
    expect(await unsubscribed('open:1', from)).toMatchObject({ code: 'access_revoked', undeclared: true });
    expect(await client.subscribe('open:1')).toMatchObject({ code: 'access_undeclared' });
    await changesOf(here, client, () => here.query('insert into tasks values (1, 1)'));
    expect(client.events('task:1')).toEqual([]);
    client.cut();
  });
});

describe('without event triggers: a role that may not create them', () => {
  let database: TestDatabase;
  let service: ServiceProcess;
  let client: RawClient;

  beforeAll(async () => {
    database = await freshDatabase();
    const role = `app_${database.name}`;
    await database.query(`create role ${role} login replication password 'app'`);
    await database.query(`grant create on database ${database.name} to ${role}`);
    await database.query(`grant create on schema public to ${role}`);
    await database.query(`set role ${role}`);
    await database.query(SCHEMA);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'app';
    service = await startService(url.href, { SNO_ACCESS: 'open', SNO_SLOT: database.name });
    client = await RawClient.open(service);
  });
  afterAll(async () => {
    client.cut();
    await service.remove();
    await database.query('reset role');
    await database.query(`drop owned by app_${database.name} cascade`);
    await database.query(`drop role app_${database.name}`);
    await database.drop();
  });

  test('Snö logs it, and polls for changes: created, replaced and dropped views, a new table', async () => {
    expect(service.log.find(({ what }) => /event trigger/.test(String(what)))?.level).toBe('warn');
    expect(await client.subscribe('open:1')).toMatchObject({ type: 'subscribed' });
    expect(await client.subscribe('task:1')).toMatchObject({ type: 'subscribed' });
    await database.query(
      `create table notes (id int primary key, room int not null); alter table notes replica identity full;
       create view channels."note:{room}" as select id, room from notes`,
    );
    const answers = () => client.frames.filter(({ channel, type }) => channel === 'note:1' && type !== 'changes');
    await until(async () => {
      // The next poll resets its subscribers if the first one found it while it was being created.
      if (answers().at(-1)?.type !== 'subscribed') await client.subscribe('note:1');
      await database.query('insert into notes select coalesce(max(id), 0) + 1, 1 from notes');
      return client.of('note:1').length > 0;
    }, 'its first event');
    const from = client.frames.length;
    await database.query(`create or replace view channels."task:{room}" as select id, room, title, done from tasks`);
    expect(await client.wait('a reset', from, ({ type }) => type === 'reset')).toEqual(reset('task:1'));
    await database.query(`drop view channels."note:{room}"`);
    expect(await client.wait('the end', 0, ({ type }) => type === 'unsubscribed')).toEqual({
      type: 'unsubscribed',
      channel: 'note:1',
      code: 'channel_dropped',
    });
    await database.query('insert into tasks values (1, 1)');
    await client.wait('open goes on', 0, ({ type, channel }) => type === 'changes' && channel === 'open:1');
    expect(client.frames.filter(({ channel, type }) => channel === 'open:1' && type !== 'changes').length).toBe(1);
  });
});
