import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PgoutputDecoder } from '../../src/decode/pgoutput.ts';
import type { Relation } from '../../src/decode/relation.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { TextPlugin } from '../support/text-plugin.ts';
import { comparable, packageEventsOf } from './package-events.ts';
import * as recorded from './recording.ts';
import { decodeAll, type Event, Events, type Recording, type Row, record, UNSENT } from './recording.ts';

/** Does not compress, so Postgres stores it apart from its row (TOAST). */
const LARGE = "(select string_agg(md5(i::text), '') from generate_series(1, 1000) i)";

/** What the decoder makes of the messages. Another implementation must make the same of them. */
function eventsOf(messages: readonly Buffer[]): Event[] {
  const events = recorded.eventsOf(messages);
  expect(packageEventsOf(messages)).toEqual(comparable(events));
  return events;
}

describe.each(VERSIONS)('pgoutput, Postgres %i', (version) => {
  let database: TestDatabase;
  let recording: Recording;
  let large: string;

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query('create publication p for all tables');
    recording = await record(database, 'p');
    large = (await database.query<{ large: string }>(`select ${LARGE} as large`)).rows[0]?.large as string;
  });

  afterAll(() => database.drop());

  /** Runs statements, each committed by itself, and returns the decoder's events. */
  async function eventsAfter(...statements: string[]): Promise<Event[]> {
    for (const statement of statements) await database.query(statement);
    return eventsOf(await recording.take());
  }

  /** Returns changes only, without begin, relation and commit. */
  async function changesAfter(...statements: string[]): Promise<Event[]> {
    const events = await eventsAfter(...statements);
    return events.filter(({ kind }) => kind !== 'begin' && kind !== 'commit' && kind !== 'relation');
  }

  const relationsOf = (events: readonly Event[]): Relation[] =>
    events.flatMap((event) => (event.kind === 'relation' ? [event.relation] : []));

  test('a commit has its transaction, its LSN and its time', async () => {
    await database.query('create table first (id int primary key)');
    await recording.take();
    const { rows } = await database.query<{ xid: string; lsn: string; at: string }>(
      `insert into first values (1)
       returning pg_current_xact_id()::xid::text as xid, pg_current_wal_insert_lsn()::text as lsn, now()::text as at`,
    );
    const [begin, relation, insert, commit] = eventsOf(await recording.take());
    expect(relation?.kind).toBe('relation');
    expect(insert).toEqual({ kind: 'insert', table: 'first', row: { id: '1' } });
    if (begin?.kind !== 'begin' || commit?.kind !== 'commit') expect.unreachable('it begins and ends');
    else {
      expect(begin.xid).toBe(Number(rows[0]?.xid));
      const order = await database.query(
        `select $1::pg_lsn <= $2::pg_lsn as "the row comes before the commit", $2::pg_lsn < $3::pg_lsn as "which has an end",
           timestamptz '2000-01-01 UTC' + $5 * interval '1 microsecond' between $4::timestamptz and now() as "and its time"`,
        [rows[0]?.lsn, begin.lsn, commit.lsn, rows[0]?.at, begin.at],
      );
      expect(Object.values(order.rows[0] ?? {})).toEqual([true, true, true]);
    }
  });

  test('a relation is described by its names, identity and columns', async () => {
    const events = await eventsAfter(
      'create schema "Odd ""schema"""',
      `create type "Odd ""schema""".mood as enum ('glad')`,
      `create type "Odd ""schema""".pair as (a int, b text)`,
      `create table "Odd ""schema"""."täble" (id int, "näme ""x""" varchar(5), price numeric(7, 2), feeling "Odd ""schema""".mood, pair "Odd ""schema""".pair, gone int, primary key (id, feeling))`,
      `alter table "Odd ""schema"""."täble" drop column gone`,
      `insert into "Odd ""schema"""."täble" values (1, 'é', 1.5, 'glad', (1, 'b'))`,
    );
    const [relation] = relationsOf(events);
    expect(relation).toMatchObject({ schema: 'Odd "schema"', name: 'täble', replicaIdentity: 'd', wanted: true });
    const { rows } = await database.query<{ oid: number }>('select $1::regclass::oid::int as oid', [
      '"Odd ""schema"""."täble"',
    ]);
    expect(relation?.oid).toBe(rows[0]?.oid);
    const types = await database.query<{ oid: number }>(
      `select t::regtype::oid::int as oid from unnest('{"\\"Odd \\"\\"schema\\"\\"\\".mood","\\"Odd \\"\\"schema\\"\\"\\".pair"}'::text[]) t`,
    );
    expect(relation?.columns).toEqual([
      { name: 'id', typeOid: 23, typeModifier: -1, identity: true },
      { name: 'näme "x"', typeOid: 1043, typeModifier: 9, identity: false },
      { name: 'price', typeOid: 1700, typeModifier: (7 << 16) + 2 + 4, identity: false },
      { name: 'feeling', typeOid: types.rows[0]?.oid, typeModifier: -1, identity: true },
      { name: 'pair', typeOid: types.rows[1]?.oid, typeModifier: -1, identity: false },
    ]);
    expect(events.filter(({ kind }) => kind === 'insert')).toEqual([
      {
        kind: 'insert',
        table: 'täble',
        row: { id: '1', 'näme "x"': 'é', price: '1.50', feeling: 'glad', pair: '(1,b)' },
      },
    ]);
  });

  test('the messages contain every letter of the protocol', async () => {
    const session = await database.connect();
    await database.query('select pg_replication_origin_create($1)', [database.name]);
    await session.query('select pg_replication_origin_session_setup($1)', [database.name]);
    await session.query("create type letter as enum ('a'); create table letters (id int primary key, letter letter)");
    await session.query(
      "begin; insert into letters values (1, 'a'); update letters set id = 2; delete from letters; truncate letters; select pg_logical_emit_message(true, 'p', 'x'); commit",
    );
    await session.query('select pg_replication_origin_session_reset()');
    await database.query('select pg_replication_origin_drop($1)', [database.name]);
    const messages = await recording.take();
    const letters = new Set(messages.map((message) => String.fromCharCode(message[0] as number)));
    expect([...letters].sort().join('')).toBe('BCDIMORTUY');
    expect(eventsOf(messages).map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['begin', 'relation', 'insert', 'update', 'delete', 'truncate', 'message', 'commit']),
    );
  });

  test('identity DEFAULT: the old key comes only if it changed', async () => {
    await eventsAfter(
      "create table by_key (id int primary key, a text, b text); insert into by_key values (1, 'a', null)",
    );
    expect(
      await changesAfter("update by_key set a = 'b'", "update by_key set id = 2, b = ''", 'delete from by_key'),
    ).toEqual([
      { kind: 'update', table: 'by_key', row: { id: '1', a: 'b', b: null } },
      {
        kind: 'update',
        table: 'by_key',
        old: { id: '1', a: null, b: null },
        keyOnly: true,
        row: { id: '2', a: 'b', b: '' },
      },
      { kind: 'delete', table: 'by_key', old: { id: '2', a: null, b: null }, keyOnly: true },
    ]);
  });

  test('identity INDEX: the index’s columns are the key', async () => {
    await eventsAfter(
      'create table by_index (id int primary key, a text not null, b text)',
      'create unique index by_index_a on by_index (a)',
      'alter table by_index replica identity using index by_index_a',
      "insert into by_index values (1, 'a', 'b')",
    );
    const events = await eventsAfter(
      'update by_index set id = 2',
      "update by_index set a = 'c'",
      'delete from by_index',
    );
    expect(relationsOf(events)[0]).toMatchObject({ replicaIdentity: 'i' });
    expect(relationsOf(events)[0]?.columns.map(({ identity }) => identity)).toEqual([false, true, false]);
    expect(events.filter(({ kind }) => kind === 'update' || kind === 'delete')).toEqual([
      { kind: 'update', table: 'by_index', row: { id: '2', a: 'a', b: 'b' } },
      {
        kind: 'update',
        table: 'by_index',
        old: { id: null, a: 'a', b: null },
        keyOnly: true,
        row: { id: '2', a: 'c', b: 'b' },
      },
      { kind: 'delete', table: 'by_index', old: { id: null, a: 'c', b: null }, keyOnly: true },
    ]);
  });

  test('identity FULL: the whole old row comes', async () => {
    await eventsAfter(
      'create table whole (id int, a text); alter table whole replica identity full',
      "insert into whole values (1, 'a'), (null, '')",
    );
    const events = await eventsAfter("update whole set a = 'b' where id = 1", 'delete from whole where id is null');
    expect(relationsOf(events)[0]).toMatchObject({ replicaIdentity: 'f' });
    expect(events.filter(({ kind }) => kind === 'update' || kind === 'delete')).toEqual([
      { kind: 'update', table: 'whole', old: { id: '1', a: 'a' }, keyOnly: false, row: { id: '1', a: 'b' } },
      { kind: 'delete', table: 'whole', old: { id: null, a: '' }, keyOnly: false },
    ]);
  });

  test('identity NOTHING: only inserts come', async () => {
    const events = await eventsAfter(
      'create table nothing (id int); alter table nothing replica identity nothing',
      'insert into nothing values (1)',
    );
    expect(relationsOf(events)[0]).toMatchObject({ replicaIdentity: 'n' });
    expect(events.filter(({ kind }) => kind === 'insert')).toEqual([
      { kind: 'insert', table: 'nothing', row: { id: '1' } },
    ]);
    await expect(database.query('update nothing set id = 2')).rejects.toThrow('replica identity');
  });

  test('an unchanged TOASTed value is not sent under DEFAULT, and is marked as unchanged', async () => {
    await eventsAfter(
      'create table toasted (id int primary key, big text, small text)',
      'alter table toasted alter big set storage external',
    );
    expect(
      await changesAfter(
        `insert into toasted values (1, ${LARGE}, 'a')`,
        "update toasted set small = 'b'",
        'update toasted set id = 2',
        "update toasted set big = big || 'x'",
      ),
    ).toEqual([
      { kind: 'insert', table: 'toasted', row: { id: '1', big: large, small: 'a' } },
      { kind: 'update', table: 'toasted', row: { id: '1', big: UNSENT, small: 'b' } },
      {
        kind: 'update',
        table: 'toasted',
        old: { id: '1', big: null, small: null },
        keyOnly: true,
        row: { id: '2', big: UNSENT, small: 'b' },
      },
      { kind: 'update', table: 'toasted', row: { id: '2', big: `${large}x`, small: 'b' } },
    ]);
  });

  test('an unchanged TOASTed value is taken from the old row under FULL', async () => {
    await eventsAfter(
      'create table toasted_full (id int primary key, big text, small text)',
      'alter table toasted_full alter big set storage external; alter table toasted_full replica identity full',
      `insert into toasted_full values (1, ${LARGE}, 'a')`,
    );
    expect(await changesAfter("update toasted_full set small = 'b'")).toEqual([
      {
        kind: 'update',
        table: 'toasted_full',
        old: { id: '1', big: large, small: 'a' },
        keyOnly: false,
        row: { id: '1', big: large, small: 'b' },
      },
    ]);
  });

  test('an unchanged TOASTed value of the key is taken from the old key', async () => {
    await eventsAfter(
      'create table toasted_key (id int, big text, primary key (id, big))',
      'alter table toasted_key alter big set storage external',
    );
    // an index row holds 2,700 bytes at most, and values of more than 2,000 bytes are TOASTed
    const key = large.slice(0, 2_400);
    await eventsAfter(`insert into toasted_key values (1, '${key}')`);
    expect(await changesAfter('update toasted_key set id = 2')).toEqual([
      { kind: 'update', table: 'toasted_key', old: { id: '1', big: key }, keyOnly: true, row: { id: '2', big: key } },
    ]);
  });

  test('added, renamed, retyped and dropped columns are described again', async () => {
    const events = await eventsAfter(
      'create table changing (id int primary key, a text); insert into changing values (1, $$a$$)',
      'alter table changing add b int default 7',
      'insert into changing values (2, $$a$$)',
      'alter table changing rename a to c',
      'insert into changing values (3, $$a$$)',
      'alter table changing alter b type text',
      'alter table changing drop c',
      'begin; insert into changing values (4, $$x$$); alter table changing add d int; update changing set d = 1 where id = 4; commit',
    );
    const rows = events.flatMap<Row>((event) =>
      event.kind === 'insert' || event.kind === 'update' ? [event.row] : [],
    );
    expect(rows.filter(({ id }) => Number(id) > 0)).toEqual([
      { id: '1', a: 'a' },
      { id: '2', a: 'a', b: '7' },
      { id: '3', c: 'a', b: '7' },
      { id: '4', b: 'x' },
      { id: '4', b: 'x', d: '1' },
    ]);
  });

  test('generated columns are not sent', async () => {
    expect(
      await changesAfter(
        'create table computed (id int primary key, twice int generated always as (id * 2) stored, a text)',
        'insert into computed (id, a) values (1, $$a$$)',
        'update computed set id = 2',
      ),
    ).toEqual([
      { kind: 'insert', table: 'computed', row: { id: '1', a: 'a' } },
      { kind: 'update', table: 'computed', old: { id: '1', a: null }, keyOnly: true, row: { id: '2', a: 'a' } },
    ]);
  });

  test('decodes a table of 1,600 columns, the maximum of Postgres', async () => {
    const columns = Array.from({ length: 1_600 }, (_, index) => `c${index}`);
    const [change] = await changesAfter(
      `create table wide (${columns.map((name) => `${name} int2`).join()})`,
      `insert into wide values (${columns.map((_name, index) => (index % 3 === 0 ? 'null' : index)).join()})`,
    );
    expect(change).toEqual({
      kind: 'insert',
      table: 'wide',
      row: Object.fromEntries(columns.map((name, index) => [name, index % 3 === 0 ? null : String(index)])),
    });
  });

  test('decodes a table without columns', async () => {
    expect(await changesAfter('create table empty ()', 'insert into empty default values')).toEqual([
      { kind: 'insert', table: 'empty', row: {} },
    ]);
  });

  test('empty text is not NULL', async () => {
    expect(
      await changesAfter(
        'create table blank (id int primary key, a text, b text, c text[])',
        "insert into blank values (1, '', null, '{}'), (2, E'\\n', 'null', null)",
      ),
    ).toEqual([
      { kind: 'insert', table: 'blank', row: { id: '1', a: '', b: null, c: '{}' } },
      { kind: 'insert', table: 'blank', row: { id: '2', a: '\n', b: 'null', c: null } },
    ]);
  });

  test('a truncate names all its tables', async () => {
    await eventsAfter('create table x (id int primary key); create table y (id int primary key references x)');
    expect(await changesAfter('truncate x cascade', 'truncate y restart identity')).toEqual([
      { kind: 'truncate', tables: ['x', 'y'] },
      { kind: 'truncate', tables: ['y'] },
    ]);
  });

  test('transactional messages come at their place with their bytes, others are ignored', async () => {
    const events = await changesAfter(
      `begin; insert into first values (2); select pg_logical_emit_message(true, 'sno.é', 'text'), pg_logical_emit_message(false, 'sno.é', 'outside');
       insert into first values (3); select pg_logical_emit_message(true, '', '\\x00ff00'::bytea), pg_logical_emit_message(true, 'nothing', ''); commit`,
      "select pg_logical_emit_message(false, 'p', 'outside')",
    );
    expect(events).toEqual([
      { kind: 'insert', table: 'first', row: { id: '2' } },
      { kind: 'message', prefix: 'sno.é', lsn: expect.stringMatching(/^\w+\/\w+$/), content: Buffer.from('text') },
      { kind: 'insert', table: 'first', row: { id: '3' } },
      { kind: 'message', prefix: '', lsn: expect.any(String), content: Buffer.from([0, 255, 0]) },
      { kind: 'message', prefix: 'nothing', lsn: expect.any(String), content: Buffer.alloc(0) },
    ]);
  });

  test('pg-logical-replication differs in a byte order mark, and in an unchanged large value of the key', async () => {
    const key = large.slice(0, 2_400);
    await database.query('create table differing (id int, big text, primary key (id, big))');
    await database.query('alter table differing alter big set storage external');
    await database.query("insert into differing values (1, e'\\ufeffmarked')");
    await database.query(`update differing set big = '${key}'`);
    await database.query('update differing set id = 2');
    const messages = await recording.take();
    const rows = recorded.eventsOf(messages).flatMap((event) => ('row' in event ? [event.row] : []));
    expect(rows).toEqual([
      { id: '1', big: '\ufeffmarked' },
      { id: '1', big: key },
      { id: '2', big: key },
    ]);
    const plugin = new TextPlugin('p');
    const theirs = messages
      .map((message) => plugin.parse(message))
      .flatMap((each) => ('new' in each ? [each.new] : []));
    expect(theirs.map((row) => ({ ...row }))).toEqual([
      { id: '1', big: 'marked' },
      { id: '1', big: key },
      { id: '2', big: undefined },
    ]);
  });

  test('unwanted tables are skipped, and their rows are not read', async () => {
    await eventsAfter('create table wanted (id int primary key); create table unwanted (id int primary key)');
    await database.query(
      'begin; insert into unwanted values (1); insert into wanted values (1); update unwanted set id = 2; delete from unwanted; truncate wanted, unwanted; truncate unwanted; commit',
    );
    const messages = await recording.take();
    class Choosy extends Events {
      override relation(relation: Relation): void {
        relation.wanted = relation.name === 'wanted';
      }
    }
    const events = new Choosy();
    const decoder = new PgoutputDecoder(events);
    decodeAll(messages, decoder);
    expect(events.list.map(({ kind }) => kind)).toEqual(['begin', 'insert', 'truncate', 'commit']);
    expect(events.list[2]).toEqual({ kind: 'truncate', tables: ['wanted'] });
    expect([...decoder.relations()].map(({ name }) => name)).toEqual(expect.arrayContaining(['wanted', 'unwanted']));
    decoder.reset();
    expect([...decoder.relations()]).toEqual([]);
    const rows = messages.filter((message) => message[0] === 0x49);
    expect(() => decodeAll(rows, decoder)).toThrow('came before its description');
  });

  test('changes of partitions are sent as changes of their root', async () => {
    await database.query('create table parts (id int primary key, a text) partition by range (id)');
    await database.query('create table part_1 partition of parts for values from (0) to (10)');
    await database.query('create table part_2 partition of parts for values from (10) to (20)');
    await database.query('create publication roots for table parts with (publish_via_partition_root = true)');
    await recording.take();
    await database.query("insert into parts values (1, 'a'); update parts set id = 11; delete from parts");
    const slot = `record_${database.name}`;
    const { rows } = await database.query<{ data: Buffer }>(
      "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', 'roots')",
      [slot],
    );
    const changes = eventsOf(rows.map(({ data }) => data)).filter((event) => 'table' in event);
    expect(changes).toEqual([
      { kind: 'insert', table: 'parts', row: { id: '1', a: 'a' } },
      { kind: 'delete', table: 'parts', old: { id: '1', a: null }, keyOnly: true },
      { kind: 'insert', table: 'parts', row: { id: '11', a: 'a' } },
      { kind: 'delete', table: 'parts', old: { id: '11', a: null }, keyOnly: true },
    ]);
  });
});
