/** What a commit does to channels (docs/protocol.md, "changes"). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import type { Frame, RawClient } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table cards (id int primary key, room text, title text, done boolean not null default false, hidden int);
  alter table cards replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, title from cards where not done;
  create table points (id int primary key, spot int not null, at uuid);
  alter table points replica identity full;
  create view channels."spot:{spot}" as select id, spot from points;
  create view channels."at:{at}" as select id, at from points;
`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let client: RawClient;

  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
    client = await here.client('end', 'room:a', 'room:b', 'spot:7');
  });
  afterAll(() => here.end());

  /** Channel and events of each frame that one commit with these statements causes. */
  async function events(sql: string): Promise<unknown[]> {
    const frames = await changesOf(here, client, () => here.query(`begin; ${sql}; commit`));
    return frames.map(({ type, channel, events }) => (type === 'changes' ? [channel, events] : type));
  }

  const row = (id: number, room: string, title: string) => ({ key: { id }, data: { id, room, title } });

  test('insert, update and delete', async () => {
    expect(await events("insert into cards values (1, 'a', 'Paint')")).toEqual([
      ['room:a', [{ op: 'insert', ...row(1, 'a', 'Paint') }]],
    ]);
    expect(await events("update cards set title = 'Sand' where id = 1")).toEqual([
      ['room:a', [{ op: 'update', ...row(1, 'a', 'Sand') }]],
    ]);
    expect(await events('delete from cards where id = 1')).toEqual([['room:a', [{ op: 'delete', key: { id: 1 } }]]]);
  });

  test('a row that enters the WHERE is an insert, one that leaves it a delete', async () => {
    expect(await events("insert into cards values (2, 'a', 'x', true)")).toEqual([]);
    expect(await events("update cards set title = 'y' where id = 2")).toEqual([]);
    expect(await events('update cards set done = false where id = 2')).toEqual([
      ['room:a', [{ op: 'insert', ...row(2, 'a', 'y') }]],
    ]);
    expect(await events('update cards set done = true where id = 2')).toEqual([
      ['room:a', [{ op: 'delete', key: { id: 2 } }]],
    ]);
    expect(await events('delete from cards where id = 2')).toEqual([]);
  });

  test('a row that moves is a delete in the old channel and an insert in the new one, in one commit', async () => {
    await events("insert into cards values (3, 'a', 'x')");
    const moved = await changesOf(here, client, () => here.query("update cards set room = 'b' where id = 3"));
    expect(moved.map(({ channel, events }) => [channel, events])).toEqual([
      ['room:a', [{ op: 'delete', key: { id: 3 } }]],
      ['room:b', [{ op: 'insert', ...row(3, 'b', 'x') }]],
    ]);
    expect(new Set(moved.map(({ lsn }) => lsn)).size).toBe(1);
    expect(new Set(moved.map(({ xid }) => xid)).size).toBe(1);
  });

  test('a changed key is a delete of the old key before an insert of the new one', async () => {
    await events("insert into cards values (4, 'a', 'x')");
    expect(await events('update cards set id = 40 where id = 4')).toEqual([
      [
        'room:a',
        [
          { op: 'delete', key: { id: 4 } },
          { op: 'insert', ...row(40, 'a', 'x') },
        ],
      ],
    ]);
  });

  test('an update that changes no projected column is no event', async () => {
    await events("insert into cards values (5, 'a', 'x')");
    expect(await events('update cards set hidden = 1 where id = 5')).toEqual([]);
    expect(await events("update cards set title = 'x' where id = 5")).toEqual([]);
  });

  test('NULL in a placeholder is no channel', async () => {
    expect(await events("insert into cards values (6, null, 'x')")).toEqual([]);
    expect(await events("update cards set room = 'a' where id = 6")).toEqual([
      ['room:a', [{ op: 'insert', ...row(6, 'a', 'x') }]],
    ]);
    expect(await events('update cards set room = null where id = 6')).toEqual([
      ['room:a', [{ op: 'delete', key: { id: 6 } }]],
    ]);
  });

  test('several events of one row in one commit arrive in order', async () => {
    expect(
      await events(
        "insert into cards values (7, 'a', '1'); update cards set title = '2' where id = 7; delete from cards where id = 7; insert into cards values (7, 'a', '3')",
      ),
    ).toEqual([
      [
        'room:a',
        [
          { op: 'insert', ...row(7, 'a', '1') },
          { op: 'update', ...row(7, 'a', '2') },
          { op: 'delete', key: { id: 7 } },
          { op: 'insert', ...row(7, 'a', '3') },
        ],
      ],
    ]);
  });

  test('a commit over several channels sends one frame to each, all of the same commit', async () => {
    let xid: string | undefined;
    const frames = await changesOf(here, client, async () => {
      const { rows } = await here.query<{ xid: string }>(
        `with a as (insert into cards values (8, 'a', 'x'), (9, 'b', 'y')), p as (insert into points values (1, 7))
         select pg_current_xact_id()::text as xid`,
      );
      xid = rows[0]?.xid;
    });
    expect(frames.map(({ channel }) => channel).sort()).toEqual(['room:a', 'room:b', 'spot:7']);
    expect(new Set(frames.map(({ xid }) => xid))).toEqual(new Set([Number(xid)]));
    expect(new Set(frames.map(({ lsn }) => lsn)).size).toBe(1);
    for (const { committed_at, part } of frames) {
      expect(committed_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
      expect(part).toBeUndefined();
    }
  });

  test('rolled back changes are never sent, nor are those rolled back to a savepoint', async () => {
    await changesOf(here, client, () => here.query("begin; insert into cards values (10, 'a', 'x'); rollback"));
    expect(
      await events(
        "insert into cards values (11, 'a', 'kept'); savepoint s; insert into cards values (12, 'a', 'gone'); update cards set title = 'gone' where id = 11; rollback to s; insert into cards values (13, 'a', 'kept')",
      ),
    ).toEqual([
      [
        'room:a',
        [
          { op: 'insert', ...row(11, 'a', 'kept') },
          { op: 'insert', ...row(13, 'a', 'kept') },
        ],
      ],
    ]);
    expect(client.events('room:a').filter(({ key }) => key?.['id'] === 10 || key?.['id'] === 12)).toEqual([]);
  });

  test('truncate reaches channels with and without events in the commit, and a client that resumes', async () => {
    const away = await here.client('room:quiet');
    const since = away.of('room:quiet', 'subscribed')[0]?.position as string;
    away.cut();
    const got = await events(
      "insert into cards values (14, 'a', 'x'); truncate cards; insert into cards values (15, 'a', 'y')",
    );
    expect(got).toEqual([
      ['room:a', [{ op: 'insert', ...row(14, 'a', 'x') }, { op: 'truncate' }, { op: 'insert', ...row(15, 'a', 'y') }]],
      ['room:b', [{ op: 'truncate' }]],
    ]);
    const back = await here.client('end');
    const frames = await changesOf(here, back, () => back.subscribe('room:quiet', { since }));
    expect(frames.map(({ type, events }) => events ?? type)).toEqual(['subscribed', [{ op: 'truncate' }]]);
  });

  test('any value is percent-encoded in channel names', async () => {
    const names: readonly (readonly [value: string, name: string])[] = [
      ['a/b', 'room:a%2Fb'],
      ['näte', 'room:n%C3%A4te'],
      ['a b:c%', 'room:a%20b%3Ac%25'],
      ['😀', 'room:%F0%9F%98%80'],
      ['o\'"\\\n', 'room:o%27%22%5C%0A'],
      ['A~z_0.-', 'room:A~z_0.-'],
    ];
    const reader = await here.client('end', ...names.map(([, name]) => name));
    await changesOf(here, reader, async () => {
      for (const [index, [value]] of names.entries())
        await here.query("insert into cards values ($1, $2, 'x')", [100 + index, value]);
    });
    for (const [index, [value, name]] of names.entries()) {
      expect(reader.events(name)).toEqual([{ op: 'insert', ...row(100 + index, value, 'x') }]);
    }
  });

  test.each([
    ['spot:07', 'channel_unknown'],
    ['spot:+7', 'channel_invalid'],
    ['spot:-0', 'channel_unknown'],
    ['spot:seven', 'channel_unknown'],
    ['spot:99999999999', 'channel_unknown'],
    ['spot:', 'channel_unknown'],
    ['spot:%37', 'channel_invalid'],
    ['room:a%2fb', 'channel_invalid'],
    ['room:a%2', 'channel_invalid'],
    ['room:%FF', 'channel_unknown'],
    ['room:%00', 'channel_unknown'],
    ['room:näte', 'channel_invalid'],
    ['room:a/b', 'channel_unknown'],
    ['', 'channel_invalid'],
    ['at:A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'channel_unknown'],
    ['at:a0eebc99', 'channel_unknown'],
    ['nowhere:1', 'channel_unknown'],
  ])('%s is not a channel: %s', async (name, code) => {
    const answers: Frame[] = [];
    for (const options of [{}, { snapshot: true }]) answers.push(await client.subscribe(name, options));
    expect(answers.map(({ type, code }) => [type, code])).toEqual([
      ['error', code],
      ['error', code],
    ]);
  });
});
