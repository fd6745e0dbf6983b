/** A database without event triggers: the poll finds what differs, and blocks no other session. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pollCatalog } from '../../src/channels/catalog/reader.ts';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { touchedBy } from '../../src/setup/catalog-poll.ts';
import { install } from '../support/install.ts';
import { freshDatabase, SERVERS, type TestDatabase } from '../support/postgres.ts';
import { catalogOf } from './compiled.ts';

const SCHEMA = `
  create type role as enum ('m', 'guest');
  create type pair as (a role, b int);
  create domain shown as role;
  create text search dictionary plain_words (template = simple);
  create text search configuration words (copy = simple);
  alter text search configuration words alter mapping for asciiword with plain_words;
  create table members (id int primary key, role role, pair pair, shown shown, body text);
  alter table members replica identity full;
  create function first_of(role) returns role immutable language sql as 'select $1';
  create view inner_members as select id, role from members;
  create view channel_access."column:{id}" as select id, role::text as sub from members;
  create view channel_access."through:{id}" as select id, role as sub from inner_members;
  create view channel_access."pair:{id}" as select id, (pair).a::text as sub from members;
  create view channel_access."domain:{id}" as select id, shown::text as sub from members;
  create view channel_access."constant:{id}" as select id, enum_first(null::role)::text as sub from members;
  create view channel_access."words:{id}" as select id, body as sub from members where to_tsvector('words', body) @@ 'a'::tsquery;
  create view channel_access."other:{id}" as select id, body as sub from members;
  create view channels."found" as select id, to_tsvector('words', body) as words from members;
  create view channels."other" as select id, body from members`;

const OF_ROLE = ['column', 'constant', 'domain', 'pair', 'through'].map((name) => `channel_access:${name}:{id}`);
const OF_WORDS = ['channel_access:words:{id}', 'channels:found'];

describe.each(SERVERS)('Postgres %s', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await database.query(SCHEMA);
  });
  afterAll(() => database.drop());

  test.each([
    ["alter type role rename value 'm' to 'was_m'", OF_ROLE],
    ["alter type role add value 'before' before 'guest'", OF_ROLE],
    ['alter text search configuration words alter mapping for word with english_stem', OF_WORDS],
    ['alter text search dictionary plain_words (accept = false)', OF_WORDS],
  ])('finds %s', async (sql, touched) => {
    const registry = new ChannelRegistry('sno');
    const fingerprint = async () => (await database.query('select sno.fingerprint() as fingerprint')).rows;
    await pollCatalog(await database.connect(), 'sno');
    const before = await fingerprint();
    registry.load(await catalogOf(database));
    await database.query(sql);
    expect(await fingerprint()).not.toEqual(before);
    expect(touchedBy(registry.compare(await catalogOf(database))).sort()).toEqual(touched);
  });

  test('does not wait for a table that is in use', async () => {
    await database.query(`create table logs (id int primary key) partition by range (id);
      create table logs_1 partition of logs for values from (0) to (9); create view channels.logs as select id from logs`);
    const writer = await database.connect();
    await writer.query('begin; insert into logs values (1)');
    const poll = await database.connect();
    const guards = async () =>
      (await database.query("select from pg_trigger where tgrelid = 'logs_1'::regclass and tgname ~ '^sno'")).rowCount;
    await pollCatalog(poll, 'sno');
    expect(await guards()).toBe(0);
    await writer.query('commit');
    await pollCatalog(poll, 'sno');
    expect(await guards()).toBe(1);
  });
});
