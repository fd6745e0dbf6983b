/** What a commit does to channels (docs/protocol.md, "changes"). */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { type Frame, RawClient } from './raw-client.ts';
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
  create table large (id int primary key, body text, n int not null);
  alter table large replica identity full;
  alter table large alter body set storage external;
  create view channels."large" as select id, body, n from large;
  create view channels."upper" as select id, md5(n::text) as hash, upper(left(body, 3)) as start from large;
  create table plain (id int primary key, n int);
  create view channels."plain" as select id, n from plain;
  create view channels."held" as select p.id, p.spot, c.title from points p join cards c on c.id = p.spot;
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

  test('an update that changes no projected column causes no event', async () => {
    await events("insert into cards values (5, 'a', 'x')");
    expect(await events('update cards set hidden = 1 where id = 5')).toEqual([]);
    expect(await events("update cards set title = 'x' where id = 5")).toEqual([]);
  });

  describe('a client that asked for old values', () => {
    const channels = ['room:a', 'room:b', 'large', 'upper', 'plain', 'held'];
    const old = async (perMessageDeflate = true) => {
      const asking = await RawClient.open(here.service, undefined, perMessageDeflate);
      await asking.subscribe('end');
      for (const channel of channels)
        expect(await asking.subscribe(channel, { old: true })).toMatchObject({ type: 'subscribed' });
      return asking;
    };
    const eventsOf = (frames: readonly Frame[]) => frames.map(({ channel, events }) => [channel, events]);

    test('receives the row of updates and deletes as the channel showed it before, and nothing else more', async () => {
      await here.query(`begin; insert into cards values (50, 'a', 'one', false, 9), (51, 'b', 'b', true, 0), (60, 'x', 'sixty', false, 0);
        insert into points values (50, 60); insert into plain values (1, 1);
        insert into large select 1, repeat('x', 9000), 1; commit`);
      const clients = [await old(), await old(false), await here.client('end', ...channels)] as const;
      const [asking, plain, usual] = clients;
      const arrived = async () => {
        const end = await here.sayEnd();
        for (const each of clients) await each.wait(end, 0, ({ data }) => data === end);
      };
      // the clients may have joined before the rows above had come
      await arrived();
      const both = async (sql: string) => {
        const from = clients.map(({ frames }) => frames.length);
        await here.query(`begin; ${sql}; commit`);
        await arrived();
        return clients.map((each, index) => each.frames.slice(from[index]).filter(({ type }) => type === 'changes'));
      };
      const [told, toldPlain, usually] = await both(`
        update cards set title = 'ö"ne', hidden = 8 where id = 50; update cards set title = 'two' where id = 50;
        update cards set hidden = 1 where id = 50; update cards set room = 'b' where id = 50;
        update cards set done = false where id = 51; update cards set done = true where id = 51;
        update cards set id = 52 where id = 50; delete from cards where id = 52;
        update large set n = 2; update plain set n = 2; update plain set id = 2; delete from plain;
        update cards set title = 'later' where id = 60; update points set at = gen_random_uuid(); delete from points where id = 50`);
      const key = (id: number) => ({ key: { id } });
      const [one, two] = [row(50, 'a', 'ö"ne'), row(50, 'a', 'two')];
      const body = 'x'.repeat(9_000);
      const md5 = (text: string) => createHash('md5').update(text).digest('hex');
      expect(eventsOf(told as Frame[])).toEqual(
        expect.arrayContaining([
          [
            'room:a',
            [
              { op: 'update', ...one, old: row(50, 'a', 'one').data },
              { op: 'update', ...two, old: one.data },
              { op: 'delete', ...key(50), old: two.data },
            ],
          ],
          [
            'room:b',
            [
              { op: 'insert', ...row(50, 'b', 'two') },
              { op: 'insert', ...row(51, 'b', 'b') },
              { op: 'delete', ...key(51), old: row(51, 'b', 'b').data },
              { op: 'delete', ...key(50), old: row(50, 'b', 'two').data },
              { op: 'insert', ...row(52, 'b', 'two') },
              { op: 'delete', ...key(52), old: row(52, 'b', 'two').data },
            ],
          ],
          ['large', [{ op: 'update', ...key(1), data: { id: 1, body, n: 2 }, old: { id: 1, body, n: 1 } }]],
          [
            'upper',
            [
              {
                op: 'update',
                ...key(1),
                data: { id: 1, hash: md5('2'), start: 'XXX' },
                old: { id: 1, hash: md5('1'), start: 'XXX' },
              },
            ],
          ],
          [
            'plain',
            [
              { op: 'update', ...key(1), data: { id: 1, n: 2 } },
              { op: 'delete', ...key(1) },
              { op: 'insert', ...key(2), data: { id: 2, n: 2 } },
              { op: 'delete', ...key(2) },
            ],
          ],
          [
            'held',
            [
              {
                op: 'update',
                ...key(50),
                data: { id: 50, spot: 60, title: 'later' },
                old: { id: 50, spot: 60, title: 'sixty' },
              },
              { op: 'delete', ...key(50), old: { id: 50, spot: 60, title: 'later' } },
            ],
          ],
        ]),
      );
      expect(toldPlain).toEqual(told);
      expect(JSON.stringify(told)).not.toContain('hidden');
      const bare = (told as Frame[]).map((frame) => ({
        ...frame,
        events: frame.events?.map(({ old: _, ...event }) => event),
      }));
      expect(usually).toEqual(bare);
      usual.cut();

      const resumed = await RawClient.open(here.service);
      await resumed.subscribe('end');
      const again = await changesOf(here, resumed, () =>
        resumed.subscribe('room:b', { since: asking.of('room:b', 'subscribed')[0]?.position as string, old: true }),
      );
      expect(again.filter(({ type }) => type === 'changes')).toEqual(
        (told as Frame[]).filter(({ channel }) => channel === 'room:b'),
      );
      for (const each of [asking, plain, resumed]) each.cut();
    });
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
