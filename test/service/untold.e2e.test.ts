/**
 * DDL that is not in the WAL: changes undone in their transaction, and changes that triggers miss.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import type { RawClient } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create schema work; create schema elsewhere; create schema channels;
  create publication sno for tables in schema work with (publish_via_partition_root = true);
  create function work.make(name text) returns void language plpgsql as $$ begin
    execute format('create table work.%1$I (id int primary key, n int not null, twice int generated always as (n * 2) stored)', name);
    execute format('alter table work.%1$I replica identity full', name);
    execute format('create view channels.%1$I as select id, n, twice from work.%1$I', name);
  end $$;
  select work.make(name) from unnest('{plain, swapped, gone, other}'::text[]) name;
  create table work.parts (id int primary key, n int) partition by range (id);
  create table work.parts_1 partition of work.parts for values from (0) to (100);
  create table work.parts_2 partition of work.parts for values from (100) to (200);
  create view channels.parts as select id, n from work.parts;
  create table work.words (id int primary key, body text);
  alter table work.words replica identity full;
  create text search configuration work.plain (copy = simple);
  create view channels.words as select id, body, to_tsvector('work.plain', body) as words from work.words;
  create function work.inner_step(n int) returns int immutable language plpgsql as 'begin return n + 1; end';
  create function work.outer_step(n int) returns int immutable language plpgsql as 'begin return WORK.INNER_STEP(n); end';
  create table work.steps (id int primary key, n int);
  alter table work.steps replica identity full;
  create view channels.steps as select id, work.outer_step(n) as n from work.steps;
`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let client: RawClient;
  let ids = 0;
  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
    client = await here.client('end', 'plain', 'other', 'parts', 'words', 'steps', 'swapped', 'gone');
  });
  afterAll(() => here.end());

  /** Runs the statements in one transaction: which channels were reset, and which got events. */
  async function told(sql: string): Promise<Record<'reset' | 'changes', string[]>> {
    const frames = await changesOf(here, client, () => here.query(`begin; ${sql}; commit`));
    const of = (type: string) => frames.flatMap((frame) => (frame.type === type ? [frame.channel as string] : []));
    const resets = of('reset');
    for (const channel of resets) expect((await client.subscribe(channel)).type).toBe('subscribed');
    return { reset: resets.sort(), changes: of('changes').sort() };
  }
  const row = (table = 'plain') => `insert into work.${table} (id, n) values (${++ids}, 1)`;

  // the table looks the same before and after: changes in between are lost, or arrive in another
  // form
  test.each([
    ['is unlogged', 'alter table work.plain set unlogged', 'alter table work.plain set logged'],
    [
      'is in another schema',
      'alter table work.plain set schema elsewhere',
      'alter table elsewhere.plain set schema work',
    ],
    [
      'has another identity',
      'alter table work.plain replica identity default',
      'alter table work.plain replica identity full',
    ],
    [
      'is left out with its schema',
      'alter publication sno drop tables in schema work',
      'alter publication sno add tables in schema work',
    ],
    [
      'has only its inserts published',
      "alter publication sno set (publish = 'insert')",
      "alter publication sno set (publish = 'insert, update, delete, truncate')",
    ],
    ...(version >= 17
      ? [
          [
            'has another expression',
            'alter table work.plain alter twice set expression as (n * 3)',
            'alter table work.plain alter twice set expression as (n * 2)',
          ],
        ]
      : []),
  ])('a table that %s for a part of a transaction resets its channels', async (_, change, back) => {
    const table = change.includes('schema elsewhere') ? 'elsewhere.plain' : 'work.plain';
    const { reset } = await told(`${change}; ${row().replace('work.plain', table)}; ${back}`);
    expect(reset).toContain('plain');
    if (!change.includes('publication')) expect(reset).toEqual(['plain']);
    expect(await told(row())).toEqual({ reset: [], changes: ['plain'] });
  });

  test('adding and dropping columns that no view reads resets no client', async () => {
    expect(
      await told(`alter table work.plain add column x int default 1; alter table work.plain alter x type text;
        alter table work.plain drop column x; ${row()}`),
    ).toEqual({ reset: [], changes: ['plain'] });
  });

  test.each([
    ['of its own', 'truncate work.parts_1', ['parts']],
    [
      'under session_replication_role = replica',
      'set local session_replication_role = replica; truncate work.parts_1',
      ['parts'],
    ],
    [
      'after all triggers were disabled',
      'alter table work.parts_1 disable trigger all; truncate work.parts_1',
      ['parts'],
    ],
    ['after its trigger was dropped', 'drop trigger sno_truncate on work.parts_1; truncate work.parts_1', ['parts']],
    [
      'in the transaction that makes it',
      'create table work.parts_3 partition of work.parts for values from (200) to (300); insert into work.parts values (200); truncate work.parts_3',
      ['parts'],
    ],
  ])('TRUNCATE of a partition %s is noticed', async (_, sql, reset) => {
    expect((await told(sql)).reset).toEqual(reset);
    // and the next one again
    expect((await told('truncate work.parts_2')).reset).toEqual(['parts']);
  });

  test('a channel ends while a partition is unlogged', async () => {
    const from = client.frames.length;
    await here.query('create unlogged table work.parts_9 partition of work.parts for values from (900) to (1000)');
    await client.wait('the end', from, ({ code, channel }) => code === 'channel_dropped' && channel === 'parts');
    expect(await client.subscribe('parts')).toMatchObject({ type: 'error', code: 'channel_unavailable' });
    await here.query('insert into work.parts values (900); alter table work.parts_9 set logged');
    expect(await client.subscribe('parts')).toMatchObject({ type: 'subscribed' });
    expect((await told('insert into work.parts values (901)')).changes).toEqual(['parts']);
  });

  test('a partition that went to another table is dropped: the channels of that table are reset', async () => {
    const resetBy = async (sql: string) => (await told(sql)).reset;
    expect(
      await resetBy(`create table work.others (id int primary key, n int) partition by range (id);
        create view channels.others as select id, n from work.others;
        create table work.moving partition of work.parts for values from (300) to (400); insert into work.parts values (300, 1)`),
    ).toEqual(['parts']);
    expect(await client.subscribe('others')).toMatchObject({ type: 'subscribed' });
    expect(await resetBy('alter table work.parts detach partition work.moving')).toEqual(['parts']);
    expect(
      await resetBy('alter table work.others attach partition work.moving for values from (300) to (400)'),
    ).toEqual(['others']);
    expect(await resetBy('drop table work.moving')).toEqual(['others']);
  });

  test('DDL under session_replication_role = replica takes effect at its commit', async () => {
    expect(
      await told(`set local session_replication_role = replica;
        create or replace view channels.swapped as select id, n, twice, n as m from work.swapped; ${row('swapped')}`),
    ).toEqual({ reset: ['swapped'], changes: [] });
  });

  test.each([
    [
      'a text search configuration',
      'alter text search configuration work.plain alter mapping for asciiword with english_stem',
      'words',
    ],
    [
      'a function that a function calls by name',
      "create or replace function work.inner_step(n int) returns int immutable language plpgsql as 'begin return n + 2; end'",
      'steps',
    ],
    ['by another command for it', 'alter routine work.outer_step(int) strict', 'steps'],
  ])('altering %s resets the channels that depend on it', async (_, sql, channel) => {
    expect((await told(sql)).reset).toEqual([channel]);
  });

  test('Snö finds DDL that no trigger reports a moment later', async () => {
    const from = client.frames.length;
    await here.query(
      version >= 17
        ? 'set event_triggers = off'
        : 'alter event trigger sno_ddl disable; alter event trigger sno_drop disable',
    );
    await here.query(
      `
      create or replace view channels.swapped as select id, n from work.swapped where n > 0;
      drop view channels.gone;
      create table work.fresh (id int primary key, n int);
      alter table work.fresh replica identity full;
      create view channels.fresh as select id, n from work.fresh;
      alter table work.parts_1 disable trigger all; truncate work.parts_1; alter table work.parts_1 enable trigger all`.replace(
        'create or replace view channels.swapped',
        'drop view channels.swapped; create view channels.swapped',
      ),
    );
    await here.query(
      version >= 17
        ? 'set event_triggers = on'
        : 'alter event trigger sno_ddl enable always; alter event trigger sno_drop enable always',
    );
    const reset = (channel: string) =>
      client.wait(`${channel} is reset`, from, (frame) => frame.type === 'reset' && frame.channel === channel);
    await Promise.all([
      reset('swapped'),
      reset('parts'),
      client.wait('the end', from, ({ code, channel }) => code === 'channel_dropped' && channel === 'gone'),
    ]);
    expect(client.frames.slice(from).filter(({ channel }) => channel === 'plain' || channel === 'other')).toEqual([]);
    // the table waits for its writers if its lock is not free at once
    await until(async () => (await client.subscribe('fresh')).type === 'subscribed', 'the new channel is served');
    expect((await told('insert into work.fresh values (1, 1)')).changes).toEqual(['fresh']);
  });

  test('row-level security that applies to a view ends its channel; Snö serves it again once it does not apply', async () => {
    const role = `reader_${here.database.name}`;
    await here.query(`create role ${role}; grant usage on schema work, channels to ${role}; grant create on schema channels to ${role};
      select work.make('secured'); grant select on work.secured to ${role}; alter view channels.secured owner to ${role}`);
    try {
      const subscribed = () => client.subscribe('secured', { snapshot: true });
      const ends = async (sql: string) => {
        const [from, logged] = [client.frames.length, here.service.log.length];
        await here.query(sql);
        await client.wait('the end', from, ({ code, channel }) => code === 'channel_dropped' && channel === 'secured');
        expect(await subscribed()).toMatchObject({ type: 'error', code: 'channel_unavailable' });
        const told = () => here.service.log.slice(logged).findLast(({ view }) => view === 'channels."secured"');
        expect(await until(told, 'the log tells of it')).toMatchObject({
          code: 'row_security',
          hint: expect.stringMatching(/^ALTER VIEW channels\.secured OWNER TO /),
        });
      };
      expect(await subscribed()).toMatchObject({ type: 'subscribed' });
      await ends('alter table work.secured enable row level security');
      await here.query(`alter role ${role} bypassrls`);
      // no event trigger fires for ALTER ROLE
      await until(async () => (await subscribed()).type === 'subscribed', 'the channel is served again');
      await ends(`alter role ${role} nobypassrls`);
      await here.query('alter table work.secured disable row level security');
      expect(await subscribed()).toMatchObject({ type: 'subscribed' });
    } finally {
      await here.query(`drop table work.secured cascade; drop owned by ${role}; drop role ${role}`);
    }
  });
});
