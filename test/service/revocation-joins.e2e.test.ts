/**
 * Access views that join: a changed row is a question about the subscriptions that it concerns, and
 * about no others. Access that ends is noticed all the same.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signToken } from '../support/service.ts';
import { RawClient } from './raw-client.ts';
import { type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table users (id int primary key, name text not null unique, banned bool not null default false);
  create table projects (id int primary key, org int not null, archived bool not null default false);
  create table members (project int, person int, primary key (project, person));
  create table org_members (org int, person int, primary key (org, person));
  create table bans (id int primary key, person int, org int);
  ${['users', 'projects', 'members', 'org_members', 'bans'].map((table) => `alter table ${table} replica identity full;`).join(' ')}
  create table notes (id int primary key, project int not null);
  alter table notes replica identity full;
  insert into users select n, 'u' || n from generate_series(1, 6) n;
  insert into projects select n, 1 + n % 2 from generate_series(1, 4) n;
  insert into members select p, u from generate_series(1, 4) p, generate_series(1, 6) u;
  insert into org_members select o, u from generate_series(1, 2) o, generate_series(1, 6) u;
  create schema channels; create schema if not exists channel_access;
  create view channels."member:{project}" as select id, project from notes;
  create view channel_access."member:{project}" as
    select m.project, u.name as sub from members m join users u on u.id = m.person where not u.banned;
  create view channels."org:{project}" as select id, project from notes;
  create view channel_access."org:{project}" as
    select p.id as project, o.person as "user" from projects p join org_members o on o.org = p.org
    where not p.archived and not exists (select from bans b where b.person = o.person and b.org = p.org);
`;
const USERS = [1, 2, 3, 4, 5, 6];
const PROJECTS = [1, 2, 3, 4];

/** `ends`: the channels that end, by user. `checks`: questions about subscriptions. */
const CHANGES: readonly {
  readonly sql: string;
  readonly ends: (user: number, channel: string) => boolean;
  readonly checks: number;
}[] = [
  { sql: `update users set id = id where id = 3`, ends: () => false, checks: 0 },
  // the user's four channels
  {
    sql: `update users set banned = true where id = 1`,
    ends: (user, channel) => user === 1 && channel.startsWith('member'),
    checks: 4,
  },
  // a channel that six users have joined: one does not follow it any more
  {
    sql: `delete from members where project = 2 and person = 2`,
    ends: (user, channel) => user === 2 && channel === 'member:2',
    checks: 5,
  },
  {
    sql: `update members set project = 9 where project = 3 and person = 3`,
    ends: (user, channel) => user === 3 && channel === 'member:3',
    checks: 5,
  },
  // a row more takes access away: user 4 has two projects of this org, and four channels
  {
    sql: `insert into bans values (1, 4, 1)`,
    ends: (user, channel) => user === 4 && ['org:2', 'org:4'].includes(channel),
    checks: 4,
  },
  {
    sql: `delete from org_members where org = 2 and person = 5`,
    ends: (user, channel) => user === 5 && ['org:1', 'org:3'].includes(channel),
    checks: 4,
  },
  {
    sql: `update projects set archived = true where id = 4`,
    ends: (user, channel) => user !== 4 && channel === 'org:4',
    checks: 5,
  },
  {
    sql: `update projects set org = 2 where id = 2`,
    ends: (user, channel) => user === 5 && channel === 'org:2',
    checks: 5,
  },
  // claims and channels that do not matter
  { sql: `insert into members values (7, 1); insert into bans values (2, 99, 1)`, ends: () => false, checks: 0 },
  {
    sql: `truncate bans, org_members`,
    ends: (_user, channel) => channel.startsWith('org'),
    checks: -1,
  },
];

describe.each([0, 2])('SNO_WORKERS=%i', (workers) => {
  let here: Stage;
  const clients: { readonly user: number; readonly client: RawClient; readonly joined: Set<string> }[] = [];

  beforeAll(async () => {
    here = await stage(SCHEMA, { SNO_ACCESS: 'views', SNO_WORKERS: String(workers) });
    for (const user of USERS) {
      const client = await RawClient.open(here.service, await signToken({ sub: `u${user}`, user }));
      const joined = new Set<string>();
      clients.push({ user, client, joined });
      expect((await client.subscribe('end')).type).toBe('subscribed');
      for (const project of PROJECTS)
        for (const kind of ['member', 'org']) {
          const channel = `${kind}:${project}`;
          expect((await client.subscribe(channel)).type).toBe('subscribed');
          joined.add(channel);
        }
    }
  });
  afterAll(async () => {
    for (const { client } of clients) client.cut();
    await here.end();
  });

  test.each(CHANGES)('$sql: $checks checks', async ({ sql, ends, checks }) => {
    const before = await here.metric('sno_access_query_checks_sum');
    await here.query(sql);
    const end = await here.sayEnd();
    for (const { user, client, joined } of clients) {
      await client.wait(end, 0, ({ data }) => data === end);
      const ended = client.frames.flatMap(({ type, channel }) => (type === 'unsubscribed' ? (channel as string) : []));
      client.frames.length = 0;
      expect([user, ended.sort()]).toEqual([user, [...joined].filter((channel) => ends(user, channel)).sort()]);
      for (const channel of ended) joined.delete(channel);
    }
    const asked = (await here.metric('sno_access_query_checks_sum')) - before;
    if (checks >= 0) expect(asked).toBe(checks);
  });
});

test('a claim that Postgres reads as the value of the row counts, however it is written', async () => {
  const here = await stage(SCHEMA, { SNO_ACCESS: 'views' });
  try {
    const clients: RawClient[] = [];
    for (const user of [1, '1', '001', ' 1 ', [7, 1], ['x', '01']]) {
      const client = await RawClient.open(here.service, await signToken({ sub: 'u1', user }));
      expect([user, (await client.subscribe('org:2')).type]).toEqual([user, 'subscribed']);
      clients.push(client);
    }
    await here.query('delete from org_members where person = 1');
    for (const client of clients) await client.wait('its end', 0, ({ code }) => code === 'access_revoked');
    for (const client of clients) client.cut();
  } finally {
    await here.end();
  }
});

test('a claim is compared by the type that its column has now', async () => {
  const here = await stage(SCHEMA, { SNO_ACCESS: 'views' });
  const define = (person: string) => `
    drop view channel_access."org:{project}";
    create view channel_access."org:{project}" as
      select p.id as project, ${person} as "user" from projects p join org_members o on o.org = p.org;`;
  try {
    await here.query(define("lpad(o.person::text, 3, '0')"));
    const client = await RawClient.open(here.service, await signToken({ sub: 'u1', user: '001' }));
    expect((await client.subscribe('org:2')).type).toBe('subscribed');
    expect((await client.subscribe('end')).type).toBe('subscribed');
    await here.query(define('o.person'));
    const end = await here.sayEnd();
    await client.wait(end, 0, ({ data }) => data === end);
    await here.query('delete from org_members where person = 1');
    await client.wait('its end', 0, ({ code }) => code === 'access_revoked');
    client.cut();
  } finally {
    await here.end();
  }
});
