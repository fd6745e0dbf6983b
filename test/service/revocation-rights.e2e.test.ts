/**
 * What ends access without a change of a row: policies, privileges, inheritance, functions. Nothing
 * that follows is delivered.
 */
import { expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { signToken } from '../support/service.ts';
import { RawClient } from './raw-client.ts';
import { stage } from './stage.ts';

// roles belong to the server, which other tests share
const ROLES = ['test_reader', 'test_owner', 'test_group'].map(
  (role) => `
  do $$ begin create role ${role}; exception when duplicate_object or unique_violation then null; end $$;`,
);

/** A table of members, and an access view on it by the rights of another role. */
const read = (name: string, options = '') => `
  create table ${name} (id int, member text, primary key (id, member));
  insert into ${name} values (1, 'm'), (2, 'm'), (3, 'm');
  create view channel_access."${name}:{id}" ${options} as select id, member as sub from ${name};`;
const owned = (name: string) => `${read(name)}
  grant select on ${name} to test_reader;
  alter view channel_access."${name}:{id}" owner to test_reader;`;

const SCHEMA = `${ROLES.join('')}
  grant test_group to test_reader;
  grant usage, create on schema channel_access, public to test_reader, test_owner, test_group;

  create table turns (at int primary key, id int, member text);
  insert into turns values (1, 1, 'm');
  create view latest as select distinct on (id) id, member from turns order by id, at desc;
  create view channel_access."turn:{id}" as select id, member as sub from latest;

  create table parent (id int, member text, primary key (id, member));
  create table child (primary key (id, member)) inherits (parent);
  create table dropped (primary key (id, member)) inherits (parent);
  create table middle (primary key (id, member)) inherits (parent);
  create table leaf (primary key (id, member)) inherits (middle);
  insert into child values (1, 'm');
  insert into dropped values (2, 'm');
  insert into leaf values (3, 'm');
  create view channel_access."parent:{id}" as select id, member as sub from parent;

  create table bans (member text primary key);
  create function may_hear(id int) returns bool immutable language sql as 'select true';
  ${owned('secured')}
  alter table secured enable row level security;
  create policy by_bans on secured to test_reader using (member not in (select b.member from bans b));
  grant select on bans to test_reader;
  ${owned('called')}
  alter table called enable row level security;
  create policy by_function on called using (may_hear(id));
  ${owned('open')}
  ${read('forced')}
  alter table forced owner to test_owner;
  alter table forced enable row level security;
  alter view channel_access."forced:{id}" owner to test_owner;
  ${read('invoked', 'with (security_invoker)')}
  alter table invoked enable row level security;
  create policy everything on invoked using (true);

  ${owned('granted')}
  ${read('through')}
  create view inner_through as select id, member from through;
  create or replace view channel_access."through:{id}" as select id, member as sub from inner_through;
  grant select (id, member) on through to test_reader;
  alter view inner_through owner to test_reader;
  ${read('grouped')}
  grant select on grouped to test_group;
  alter view channel_access."grouped:{id}" owner to test_reader;
  ${owned('passed')}

  create aggregate any_member(text) (sfunc = textcat, stype = text, initcond = '');
  create table rooms (id int, member text, primary key (id, member));
  insert into rooms values (1, 'm'), (2, 'm'), (3, 'm');
  create view channel_access."aggregate:{id}" as select id, any_member(member) as sub from rooms group by id;
  create function is_here(id int) returns bool immutable language sql as 'select true';
  create view channel_access."function:{id}" as select id, member as sub from rooms where is_here(id);
  create function fits(anyelement) returns bool immutable language sql as 'select true';
  create function is_invited(id int) returns bool immutable language plpgsql as 'begin return public.fits(id); end';
  create view channel_access."invited:{id}" as select id, member as sub from rooms where is_invited(id);

  create view ruled as select id, member from rooms;
  create view channel_access."ruled:{id}" as select id, member as sub from ruled;
  create table whole (id int, member text, primary key (id, member)) partition by list (id);
  create table leaf_1 partition of whole for values in (1);
  create table leaf_2 partition of whole for values in (2);
  create table leaf_3 partition of whole for values in (3) partition by list (member);
  create table leaf_3_m partition of leaf_3 for values in ('m');
  insert into whole values (1, 'm'), (2, 'm'), (3, 'm');
  create view channel_access."leaf:{id}" as
    select id, member as sub from leaf_1 union all select id, member from leaf_2
    union all select id, member from leaf_3_m union all select id, member from leaf_3;
  ${read('single')}`;

/**
 * A channel, the statement that ends access to it, and one that restores access if other cases need
 * it.
 */
const WAYS: readonly (readonly [channel: string, ends: string, gives?: string])[] = [
  ['turn:1', "insert into turns values (2, 1, 'other')"],
  ['parent:1', 'alter table child no inherit parent'],
  ['parent:2', 'drop table dropped'],
  ['parent:3', 'alter table middle no inherit parent', 'alter table middle inherit parent'],
  ['parent:3', 'drop table leaf'],
  ['secured:1', "insert into bans values ('m')", 'delete from bans'],
  ['secured:1', 'alter policy by_bans on secured using (false)', 'alter policy by_bans on secured using (true)'],
  ['secured:1', 'create policy none on secured as restrictive using (false)', 'drop policy none on secured'],
  ['secured:1', 'drop policy by_bans on secured'],
  ['called:1', `create or replace function may_hear(id int) returns bool immutable language sql as 'select false'`],
  ['open:1', 'alter table open enable row level security', 'alter table open disable row level security'],
  ['forced:1', 'alter table forced force row level security'],
  ['invoked:1', 'drop policy everything on invoked'],
  ['granted:1', 'revoke select on granted from test_reader', 'grant select on granted to test_reader'],
  ['granted:2', 'alter view channel_access."granted:{id}" owner to test_owner'],
  ['through:1', 'revoke select (member) on through from test_reader'],
  ['grouped:1', 'drop owned by test_group'],
  ['passed:1', 'alter table passed owner to test_owner; revoke all on passed from public, test_reader'],
  ['aggregate:1', `create or replace aggregate any_member(text) (sfunc = textcat, stype = text, initcond = 'not ')`],
  ['function:1', `create or replace function is_here(id int) returns bool immutable language sql as 'select false'`],
  // sessions keep the plan of a function that called another one
  ['invited:1', `create function fits(int) returns bool immutable language sql as 'select false'`],
  [
    'ruled:1',
    'create or replace rule "_RETURN" as on select to ruled do instead select id, member from rooms where id > 1',
  ],
  // Postgres names only the partitioned table
  ['leaf:1', 'alter table whole detach partition leaf_1; delete from leaf_1'],
  ['leaf:2', 'begin; alter table whole detach partition leaf_2; commit; begin; delete from leaf_2; commit'],
  ['leaf:3', 'begin; alter table whole detach partition leaf_3; commit; begin; truncate leaf_3_m; commit'],
  [
    'single:1',
    `begin; create table around (id int, member text, primary key (id, member)) partition by range (id);
      alter table around attach partition single for values from (0) to (9); commit; begin; delete from around; commit`,
  ],
];

test.each(VERSIONS)(
  'Postgres %i: each way ends the subscription, and nothing after it arrives',
  async (version) => {
    const here = await stage(SCHEMA, { SNO_ACCESS: 'views' }, version);
    try {
      const token = await signToken({ sub: 'm' });
      for (const [index, [channel, ends, gives]] of WAYS.entries()) {
        const client = await RawClient.open(here.service, token);
        expect([channel, (await client.subscribe(channel)).type]).toEqual([channel, 'subscribed']);
        await here.query(ends);
        await here.query('select sno.publish($1, $2::json)', [channel, String(index)]);
        const { code } = await client.wait(`${ends} ends ${channel}`, 0, ({ type }) => type === 'unsubscribed');
        expect([ends, code]).toEqual([ends, 'access_revoked']);
        // The message of the case before it may still come: access has been given again since.
        expect(client.frames.filter(({ data }) => data === index)).toEqual([]);
        expect(await client.subscribe(channel)).toMatchObject({ type: 'error', code: 'access_denied' });
        if (gives !== undefined) {
          await here.query(gives);
          expect([gives, (await client.subscribe(channel)).type]).toEqual([gives, 'subscribed']);
        }
        client.cut();
      }
    } finally {
      await here.end();
    }
  },
  300_000,
);

test('a REVOKE of another object makes Snö check no subscription', async () => {
  const here = await stage(SCHEMA, { SNO_ACCESS: 'views' });
  try {
    const client = await RawClient.open(here.service, await signToken({ sub: 'm' }));
    for (const channel of ['granted:1', 'secured:1']) await client.subscribe(channel);
    const before = await here.metric('sno_access_query_checks_sum');
    await here.query(
      'create table other (id int); grant select on other to test_reader; revoke select on other from test_reader',
    );
    await here.query(`select sno.publish('granted:1', '1')`);
    await client.wait('what was published after it', 0, ({ type }) => type === 'message');
    expect((await here.metric('sno_access_query_checks_sum')) - before).toBe(0);
    client.cut();
  } finally {
    await here.end();
  }
});
