/**
 * Everything that takes access away: rows, joins, truncation, materialized views, definitions; and
 * what does not.
 */
import { expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { type Frame, RawClient } from './raw-client.ts';
import { stage } from './stage.ts';

const SCHEMA = `
  create table members (price numeric, member text, primary key (price, member));
  create table rates (rate float8, member text, primary key (rate, member));
  create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  create table loose (name text collate loose, member text, primary key (name, member));
  create table plain (id int, member text, primary key (id, member));
  create table stored (id int, member text, primary key (id, member));
  create table teams (id int primary key, room int);
  create table users (name text primary key, role text not null, team int);
  create table sold (id int, member text, primary key (id, member)) partition by list (id);
  create table sold_1 partition of sold for values in (1);
  create table sold_2 partition of sold for values in (2);
  create view channel_access."price:{price}" as select price, member as sub from members;
  create view channel_access."rate:{rate}" as select rate, member as sub from rates;
  create view channel_access."loose:{name}" as select name, member as sub from loose;
  create view channel_access."plain:{id}" as select id, member as sub from plain;
  create view channel_access."dropped:{id}" as select id, member as sub from plain;
  create materialized view stored_members as select id, member from stored;
  create unique index on stored_members (id, member);
  create view through as select id, member from stored_members;
  create view channel_access."stored:{id}" as select id, member as sub from stored_members;
  create view channel_access."through:{id}" as select id, member as sub from through;
  create view channel_access."team:{room}" as
    select t.room, u.name as sub from teams t join users u on u.team = t.id where u.role = 'editor';
  create view channel_access."sold:{id}" as select id, member as sub from sold;
  insert into members values (1.00, 'm');
  insert into rates values ('-0', 'm');
  insert into loose values ('A', 'm');
  insert into plain values (1, 'm'), (2, 'm');
  insert into stored values (1, 'm'), (2, 'm'), (3, 'm');
  insert into teams values (1, 1), (2, 2), (3, 3);
  insert into users values ('m', 'editor', 1);
  insert into sold values (1, 'm'), (2, 'm');
  refresh materialized view stored_members`;

const WAYS = [
  ['price:1.0', 'delete from members'],
  ['rate:0', 'delete from rates'],
  ['loose:a', 'delete from loose'],
  ['dropped:1', 'drop view channel_access."dropped:{id}"'],
  ['plain:1', 'delete from plain where id = 1'],
  ['plain:2', 'truncate plain'],
  ['stored:1', 'delete from stored where id = 1; refresh materialized view stored_members'],
  ['stored:2', 'delete from stored where id = 2', 'refresh materialized view concurrently stored_members'],
  ['through:3', 'delete from stored where id = 3; refresh materialized view stored_members'],
  ['team:1', "update users set role = 'guest'", "update users set role = 'editor'"],
  ['team:1', 'update users set team = 2', 'update users set team = 1'],
  ['team:1', 'update teams set room = 4 where id = 1', 'update teams set room = 1 where id = 1'],
  ['team:1', 'delete from teams where id = 1'],
  ['sold:1', 'truncate sold_1'],
  ['sold:2', 'alter table sold detach partition sold_2'],
] as const;

test.each(VERSIONS)('Postgres %i: each way ends the subscription', async (version) => {
  const here = await stage(SCHEMA, { SNO_ACCESS: 'views' }, version);
  try {
    const token = await signToken({ sub: 'm' });
    for (const [channel, ...statements] of WAYS) {
      const client = await RawClient.open(here.service, token);
      expect([channel, (await client.subscribe(channel)).type]).toEqual([channel, 'subscribed']);
      // the last statement grants access again, if the case has one
      const gives = statements.length > 1 && !statements[1]?.startsWith('refresh');
      for (const sql of gives ? statements.slice(0, 1) : statements) await here.query(sql);
      const { code } = await client.wait(`${channel} ends`, 0, ({ type }) => type === 'unsubscribed');
      expect([channel, code]).toEqual([channel, channel === 'dropped:1' ? 'channel_dropped' : 'access_revoked']);
      if (gives) await here.query(statements[1] as string);
      client.cut();
    }
  } finally {
    await here.end();
  }
});

test('a materialized view that is refreshed with the same rows: its subscribers stay, and other channels are not checked', async () => {
  const here = await stage(SCHEMA, { SNO_ACCESS: 'views' });
  try {
    const client = await RawClient.open(here.service, await signToken({ sub: 'm' }));
    for (const channel of ['stored:1', 'plain:1']) await client.subscribe(channel);
    const before = await here.metric('sno_access_query_checks_sum');
    await here.query('refresh materialized view stored_members');
    await here.query(`select sno.publish('stored:1', '1')`);
    await client.wait('what was published after it', 0, ({ type }) => type === 'message');
    expect((await here.metric('sno_access_query_checks_sum')) - before).toBe(1);
    client.cut();
  } finally {
    await here.end();
  }
});

test('if the catalog cannot be read when DDL commits: touched channels end all the same, and Snö finds new ones later', async () => {
  const here = await stage(SCHEMA, { SNO_ACCESS: 'views' });
  try {
    const client = await RawClient.open(here.service, await signToken({ sub: 'm' }));
    expect((await client.subscribe('plain:1')).type).toBe('subscribed');
    await here.query(`
      alter function sno.catalog(name, oid[]) rename to true_catalog;
      create function sno.catalog(publication name default null, views oid[] default null) returns json language plpgsql stable as $$
      begin
        if current_setting('application_name') not like 'sno %' then raise exception 'cache lookup failed'; end if;
        return sno.true_catalog(publication, views);
      end $$`);
    await here.query('drop view channel_access."plain:{id}"');
    await client.wait('its end', 0, ({ type }) => type === 'unsubscribed');
    await here.query('create view channel_access."new:{id}" as select id, member as sub from plain');
    await until(async () => (await client.subscribe('new:1')).type === 'subscribed', 'the new one is there');
    client.cut();
  } finally {
    await here.end();
  }
});

test.each([0, 2])(
  'SNO_WORKERS=%i: while the catalog cannot be read, no client receives or joins by the earlier access view',
  async (workers) => {
    const here = await stage(SCHEMA, { SNO_ACCESS: 'views', SNO_WORKERS: String(workers) });
    try {
      const token = await signToken({ sub: 'm' });
      const member = await RawClient.open(here.service, token);
      for (const channel of ['plain:1', 'plain:2']) expect((await member.subscribe(channel)).type).toBe('subscribed');
      const witness = await here.client('end');
      await here.query(`
      create table reading (is_possible bool);
      insert into reading values (false);
      alter function sno.catalog(name, oid[]) rename to true_catalog;
      create function sno.catalog(publication name default null, views oid[] default null) returns json language plpgsql stable as $$
      begin
        if not (select is_possible from public.reading) then raise exception 'cache lookup failed'; end if;
        return sno.true_catalog(publication, views);
      end $$`);
      const from = member.frames.length;
      // the earlier view does not compare the role
      await here.query(
        `create or replace view channel_access."plain:{id}" as select id, member as sub, 'admin'::text as role from plain`,
      );
      await here.query(`select sno.publish('plain:1', '"for admins"')`);
      const end = await here.sayEnd();
      await witness.wait(end, 0, ({ data }) => data === end);
      const other = await RawClient.open(here.service, token);
      const joined = other.subscribe('plain:1');
      await here.query('update reading set is_possible = true');
      expect(await joined).toMatchObject({ type: 'error', code: 'access_denied' });
      const isEnd = (name: string) => (frame: Frame) => frame.type === 'unsubscribed' && frame.channel === name;
      for (const name of ['plain:1', 'plain:2']) await member.wait(`${name} ends`, from, isEnd(name));
      expect(member.frames.slice(from).map(({ type, code }) => [type, code])).toEqual([
        ['unsubscribed', 'access_revoked'],
        ['unsubscribed', 'access_revoked'],
      ]);
      const admin = await RawClient.open(here.service, await signToken({ sub: 'm', role: 'admin' }));
      expect((await admin.subscribe('plain:1')).type).toBe('subscribed');
      for (const client of [member, other, admin]) client.cut();
    } finally {
      await here.end();
    }
  },
);
