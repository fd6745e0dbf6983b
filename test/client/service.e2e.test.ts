/**
 * The client against the real service: rows equal the view while writers write and the service is
 * killed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type LiveView, type SnoClient } from '../../src/client/index.ts';
import { type Stage, stage } from '../service/stage.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';

interface Card {
  readonly id: number;
  readonly room: number;
  readonly title: string;
}

const ROOMS = [1, 2, 3];
const SCHEMA = `
  create table cards (id int primary key, room int not null, title text, done boolean not null default false);
  alter table cards replica identity full;
  create table members (room int, sub text, primary key (room, sub));
  insert into cards select id, id % 3 + 1, 'card ' || id, id % 5 = 0 from generate_series(1, 60) id;
  insert into members select room, 'u1' from generate_series(1, 3) room;
  create schema channels;
  create schema if not exists channel_access;
  create view channels."room:{room}" as select id, room, title from cards where not done;
  create view channel_access."room:{room}" as select room, sub from members;
`;

let here: Stage;
let client: SnoClient;
const errors: unknown[] = [];

beforeAll(async () => {
  here = await stage(SCHEMA, { SNO_ACCESS: 'views' });
  const { url, certificate } = here.service;
  class Trusting extends WebSocket {
    constructor(address: string) {
      super(address, { ca: certificate.cert });
    }
  }
  const token = () => signToken({ sub: 'u1' });
  // Without `keepMs`, a view that is opened again is a new subscription.
  client = connect(url, { WebSocket: Trusting, token, keepMs: 0, backoff: { capMs: 2_000 } });
  client.on('error', ({ error }) => errors.push(error));
});

afterAll(async () => {
  await client.close();
  await here.end();
});

/** One random transaction: changes within rooms, moves between them, rows that enter and leave. */
async function write(nth: number): Promise<void> {
  await here.query(`
    begin;
    insert into cards values (${1_000 + nth}, ${(nth % 3) + 1}, 'new ${nth}');
    update cards set title = title || '.', room = (room + ${nth}) % 3 + 1 where id % 7 = ${nth % 7};
    update cards set done = not done where id % 11 = ${nth % 11};
    delete from cards where id = ${1_000 + nth - 20};
    commit`);
}

async function expectRows(room: number, view: LiveView<Card>): Promise<void> {
  const { rows } = await here.query<Card>(
    'select id, room, title from cards where not done and room = $1 order by id',
    [room],
  );
  const held = () => [...view.rows].sort((a, b) => a.id - b.id);
  await until(() => view.status === 'live' && JSON.stringify(held()) === JSON.stringify(rows), `the rows of ${room}`);
  expect(held()).toEqual(rows);
}

test("rows equal the view's, through writes, subscribes at any moment and kill -9", async () => {
  const views = ROOMS.map((room) => client.live<Card>(`room:${room}`));
  await Promise.all(views.map((view) => view.ready));
  const positions: string[] = [];
  client.channel<Card>('room:1').on('change', ({ position }) => positions.push(position));
  for (let nth = 0; nth < 150; nth++) {
    await write(nth);
    if (nth === 50 || nth === 100) {
      await here.service.kill();
      await here.service.restart();
    }
    if (nth % 25 === 0) {
      views[1]?.close();
      views[1] = client.live<Card>('room:2');
    }
  }
  for (const [index, view] of views.entries()) await expectRows(ROOMS[index] ?? 0, view);
  expect(new Set(positions).size).toBe(positions.length);
  for (const view of views) view.close();
});

test('changes have the old row for a handle that wants it, of a channel that was open before too', async () => {
  const [view, plain] = [client.live<Card>('room:1'), client.channel<Card>('room:1')];
  const resets: string[] = [];
  plain.on('reset', ({ reason }) => resets.push(reason));
  await Promise.all([view.ready, plain.ready]);
  const card = view.rows.at(-1) as Card;
  const room = client.channel<Card>('room:1', { old: true });
  const told: unknown[] = [];
  room.on('change', ({ events }) => told.push(...events));
  for (const title of ['x', 'y']) {
    await here.query('update cards set title = $2 where id = $1', [card.id, title]);
    await until(() => view.get(card.id)?.title === title, title);
  }
  await here.query('delete from cards where id = $1', [card.id]);
  await until(() => told.length > 2, 'the changes');
  const key = { id: card.id };
  const [x, y] = ['x', 'y'].map((title) => ({ ...card, title }));
  expect(told).toEqual([
    { op: 'update', key, data: x, old: card },
    { op: 'update', key, data: y, old: x },
    { op: 'delete', key, old: y },
  ]);
  expect(resets).toEqual([]);
  for (const handle of [view, plain, room]) handle.close();
});

test('reads a changed channel view again, and access ends when its view says so', async () => {
  const [kept, taken] = [client.live<Card>('room:1'), client.live<Card>('room:2')];
  await Promise.all([kept.ready, taken.ready]);
  await here.query(
    `create or replace view channels."room:{room}" as select id, room, title from cards where not done and id < 30`,
  );
  for (const view of [kept, taken]) {
    await until(
      () => view.status === 'live' && view.size > 0 && view.rows.every(({ id }) => id < 30),
      'the new definition',
    );
  }
  await here.query(
    `create or replace view channel_access."room:{room}" as select room, sub from members where room <> 2`,
  );
  await until(() => taken.status === 'closed', 'the revocation');
  expect(taken.error).toMatchObject({ code: 'access_revoked' });
  expect(kept.status).toBe('live');
  const refused = client.live('room:4');
  await expect(refused.ready).rejects.toMatchObject({ code: 'access_denied' });
  for (const view of [kept, taken, refused]) view.close();
  expect(errors).toEqual([]);
});

test('unqualified functions decide rows and access, and a missing one denies access', async () => {
  await here.query(`
    create table songs (id int primary key, room int not null, title text);
    alter table songs replica identity full;
    create function shout(text) returns text language sql immutable as 'select upper($1)';
    create function loud(text) returns text language plpgsql immutable strict as 'begin return shout($1); end';
    create function whoever(text) returns text language sql immutable as 'select $1';
    create function who(text) returns text language plpgsql immutable as 'begin return whoever($1); end';
    create view channels."song:{room}" as select id, room, loud(title) as title from songs;
    create view channel_access."song:{room}" as select room, who(sub) as sub from members where room < 3`);
  const view = client.live<Card>('song:1');
  await view.ready;
  await here.query(`insert into songs values (1, 1, 'a'), (2, 2, 'b')`);
  await until(() => view.rows[0]?.title === 'A', 'the row by both functions');
  await here.query(`update songs set title = 'c' where id = 1`);
  await until(() => view.rows[0]?.title === 'C', 'the update');
  await here.query(`drop function whoever; update members set sub = sub where room = 1`);
  await until(() => view.status === 'closed', 'the end of access');
  expect(view.error).toMatchObject({ code: 'access_revoked' });
  await here.service.logged({ view: 'channel_access."song:{room}"', sqlstate: '42883' });
  await here.query(`create function whoever(text) returns text language sql immutable as 'select $1'`);
  const again = client.live<Card>('song:1');
  await again.ready;
  expect(again.rows).toEqual([{ id: 1, room: 1, title: 'C' }]);
  for (const each of [view, again]) each.close();
});

describe('migrations', () => {
  const NAMES = ['kept', 'both', 'access', 'refused', 'renamed', 'column', 'table'] as const;
  const tableOf = (name: string) => (name === 'column' || name === 'table' ? `notes_${name}` : 'notes');
  const tableFor = (name: string) => `
    create table ${tableOf(name)} (id int primary key, room int not null, title text);
    alter table ${tableOf(name)} replica identity full;
    insert into ${tableOf(name)} values (1, 1, 'one'), (2, 2, 'two');`;
  const made = (name: string) =>
    `create view channels."${name}:{room}" as select id, room, title from ${tableOf(name)}`;
  const allowed = (name: string) =>
    `create view channel_access."${name}:{room}" as select room, sub from members where room < 3`;
  /** The commits of each migration in two steps. Between them the view cannot be read. */
  const STEPS: Readonly<Record<(typeof NAMES)[number], readonly [away: readonly string[], back: readonly string[]]>> = {
    kept: [['drop view channels."kept:{room}"'], [made('kept')]],
    both: [
      ['drop view channels."both:{room}"', 'drop view channel_access."both:{room}"'],
      [made('both'), allowed('both')],
    ],
    access: [
      ['drop view channel_access."access:{room}"', 'drop view channels."access:{room}"'],
      [made('access'), allowed('access')],
    ],
    refused: [
      [
        'drop view channels."refused:{room}"',
        'create view channels."refused:{room}" as select room, count(*) from notes group by room',
      ],
      ['drop view channels."refused:{room}"', made('refused')],
    ],
    renamed: [
      ['alter view channels."renamed:{room}" rename to "other:{room}"'],
      ['alter view channels."other:{room}" rename to "renamed:{room}"'],
    ],
    column: [
      ['alter table notes_column drop column title cascade'],
      ["alter table notes_column add column title text default 'new'", made('column')],
    ],
    table: [
      ['drop table notes_table cascade'],
      [
        'create table notes_table (title text, room int not null, id int primary key)',
        "insert into notes_table values ('one', 1, 1)",
        'alter table notes_table replica identity full',
        made('table'),
      ],
    ],
  };

  test('a view that later transactions drop and create again returns by itself, also for pages opened meanwhile', async () => {
    await here.query(`
      ${['', 'column', 'table'].map(tableFor).join('')}
      ${NAMES.map((name) => `${made(name)}; ${allowed(name)};`).join('\n')}`);
    const views = NAMES.map((name) => [name, client.live<Card>(`${name}:1`)] as const);
    for (const [, view] of views) await until(() => view.status === 'live', 'the view is live');
    for (const name of NAMES) for (const sql of STEPS[name][0]) await here.query(sql);
    for (const [name, view] of views) {
      await until(() => view.status === 'closed', `${name} is closed`);
      expect([name, view.error?.message]).toEqual([name, expect.not.stringMatching(/published messages/)]);
    }
    const late = NAMES.map((name) => [name, client.live<Card>(`${name}:2`)] as const);
    for (const [name, view] of late) {
      await until(() => view.status === 'error', `${name} is refused`);
      expect([name, view.error?.message]).toEqual([name, expect.not.stringMatching(/published messages/)]);
    }
    await here.query('alter table notes alter column title type varchar(40) using title || 2').catch(() => undefined);
    for (const name of NAMES) for (const sql of STEPS[name][1]) await here.query(sql);
    for (const name of ['', 'column', 'table'])
      await here.query(`insert into ${tableOf(name)} (id, room, title) values (3, 1, 'three')`);
    for (const [name, view] of views) {
      await until(() => view.status === 'live' && view.size === 2, `${name} is back`);
      expect(view.error).toBeUndefined();
      view.close();
    }
    for (const [name, view] of late) {
      await until(() => view.status === 'live' && view.error === undefined, `${name}, opened meanwhile, is there`);
      view.close();
    }
    const said = (view: string, msg: RegExp) =>
      here.service.log.some((line) => line['view'] === view && msg.test(line.msg));
    for (const name of NAMES) {
      expect([name, said(`channels."${name}:{room}"`, /was dropped/)]).toEqual([name, true]);
      expect([name, said(`channels."${name}:{room}"`, /serves the view again/)]).toEqual([name, true]);
    }
  });

  test('refuses a snapshot of a channel whose view was dropped, with that reason', async () => {
    await here.query('drop view channels."kept:{room}"');
    const view = client.live('kept:2');
    await until(() => view.error, 'an answer');
    expect(view.error).toMatchObject({ code: 'channel_unavailable', message: expect.stringMatching(/was dropped/) });
    await here.query(made('kept'));
    await until(() => view.status === 'live' && view.size === 1, 'the view is back');
    view.close();
  });

  test('renamed, retyped, added and dropped columns cause no refusal in the log', async () => {
    const logged = here.service.log.length;
    const view = client.live<Card>('kept:1');
    await until(() => view.status === 'live', 'the view is live');
    const dropped = 'drop view channels."kept:{room}"';
    for (const sql of [
      'alter table notes rename column title to heading',
      'begin; alter table notes rename column heading to title; update notes set title = 4 where id = 1; commit',
      `begin; ${dropped}; alter table notes add note text; update notes set note = 5; ${made('kept')}; commit`,
      `begin; ${dropped}; alter table notes drop note; update notes set title = 6; ${made('kept')}; commit`,
    ])
      await here.query(sql);
    await here.query(`update notes set title = 'last' where room = 1`);
    await until(
      () => view.status === 'live' && view.rows.every((row) => row.title === 'last' || 'heading' in row),
      'the last write',
    );
    const lines = here.service.log.slice(logged).filter(({ level }) => level !== 'info');
    expect(lines).toEqual([]);
    view.close();
  });
});
