/** Publishing by hand: sno.publish(), pg_notify, and invalid messages. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import type { Frame, RawClient } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table posts (id int primary key, room int not null);
  alter table posts replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room from posts;
  create view channel_access."only:{room}" as select 1 as room;
`;

const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

/** A frame in short: the keys of its changes, or the event and data of its message. */
const said = ({ type, events, event, data }: Frame) =>
  type === 'changes' ? (events ?? []).map(({ op, key }) => `${op} ${key?.['id']}`).join() : [event, data];

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let client: RawClient;

  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
    client = await here.client('end', 'room:1', 'only:1');
  });
  afterAll(() => here.end());

  const got = async (sql: string) => (await changesOf(here, client, () => here.query(sql))).map(said);

  test('messages and rows arrive in commit order; within a commit, each channel receives its rows first', async () => {
    expect(
      await got(
        `insert into posts values (1, 1);
         select sno.publish('room:1', '{"n":1}', event => 'wave');`,
      ),
    ).toEqual(['insert 1', ['wave', { n: 1 }]]);
    const other = await here.database.connect();
    const frames = await changesOf(here, client, async () => {
      await other.query(`begin; select sno.publish('room:1', '"second"')`);
      await here.query(`select sno.publish('room:1', '"first"')`);
      await here.query('insert into posts values (2, 1)');
      await other.query('insert into posts values (3, 1); commit');
    });
    await other.end();
    expect(frames.map(said)).toEqual([['message', 'first'], 'insert 2', 'insert 3', ['message', 'second']]);
  });

  test('a rolled back message is not published', async () => {
    expect(await got(`begin; select sno.publish('room:1', '1'); rollback; select sno.publish('room:1', '2')`)).toEqual([
      ['message', 2],
    ]);
    expect(await got(`begin; savepoint s; select sno.publish('room:1', '1'); rollback to s; commit`)).toEqual([]);
  });

  test('a channel that only an access view declares receives messages and has no snapshot', async () => {
    expect(await got(`select sno.publish('only:1', '[1, 2]')`)).toEqual([['message', [1, 2]]]);
    const reader = await here.client();
    expect(await reader.subscribe('only:1', { snapshot: true })).toMatchObject({ code: 'snapshot_unavailable' });
  });

  test('data of every argument type arrives unchanged', async () => {
    expect(await got(`select sno.publish('room:1', '{"a": 1.10,  "b":"\\u00e4"}'::json)`)).toEqual([
      ['message', { a: 1.1, b: 'ä' }],
    ]);
    expect(await got(`select sno.publish('room:1', jsonb_build_object('a', null))`)).toEqual([
      ['message', { a: null }],
    ]);
    expect(await got(`select sno.publish('room:1', p) from posts p where id = 1`)).toEqual([
      ['message', { id: 1, room: 1 }],
    ]);
    expect(await got(`select sno.publish('room:1', null::json)`)).toEqual([['message', null]]);
    expect(await got(`select sno.publish('room:1', '1', event => 'ä "quoted"')`)).toEqual([['ä "quoted"', 1]]);
  });

  test('a message of 20 MB arrives whole', async () => {
    const [[, data]] = (await got(`select sno.publish('room:1', to_json(repeat('0123456789abcdef', 1310720)))`)) as [
      [string, string],
    ];
    expect(data.length).toBe(20 * 2 ** 20);
    expect(data.startsWith('0123456789abcdef0123') && data.endsWith('abcdef')).toBe(true);
  });

  test('messages are replayed from a position, in order', async () => {
    const { position } = await (await here.client('end')).subscribe('only:1');
    await got(`select sno.publish('only:1', '1')`);
    const first = client.of('only:1', 'message').at(-1) as Frame;
    await got(`select sno.publish('only:1', '2')`);
    const back = await here.client('end');
    const replayed = (since: string) =>
      changesOf(here, back, async () => {
        await back.subscribe('only:1', { since });
        back.send({ type: 'unsubscribe', channel: 'only:1' });
      });
    const data = (frames: readonly Frame[]) => frames.filter(({ type }) => type === 'message').map(({ data }) => data);
    expect(data(await replayed(position as string))).toEqual([1, 2]);
    expect(data(await replayed(first.position as string))).toEqual([2]);
  });

  test.each([
    ["'no channel', '1'", /is no channel name/],
    ["'', '1'", /is no channel name/],
    ["null, '1'", /is no channel name/],
    ["'room:a%2f', '1'", /is no channel name/],
    [`'room:1', '{"a":'`, /the data is not JSON/],
    ["'room:1', '1', event => ''", /the event must have/],
    ["'room:1', '1', event => E'a\\nb'", /the event must have/],
  ])('sno.publish(%s) is refused by Postgres', async (args, message) => {
    await expect(here.query(`select sno.publish(${args})`)).rejects.toThrow(message);
  });

  test('sno.trace: rows and messages of the transaction carry the trace, also after a restart; others carry none', async () => {
    const traced = async (sql: string) =>
      (await changesOf(here, client, () => here.query(sql))).map(({ type, trace }) => [type, trace]);
    const { position } = await (await here.client('end')).subscribe('room:1');
    const other = TRACE.replace('4bf', 'abc');
    const expected = [
      ['changes', TRACE],
      ['message', TRACE],
    ];
    expect(
      await traced(`insert into posts values (20, 1); select sno.trace('${TRACE}'); select sno.publish('room:1', '1')`),
    ).toEqual(expected);
    expect(await traced(`insert into posts values (21, 1)`)).toEqual([['changes', undefined]]);
    expect(await traced(`select sno.trace('${other}'); select sno.trace('${TRACE}'); truncate posts`)).toEqual([
      ['changes', TRACE],
    ]);
    expect(
      await traced(
        `begin; savepoint s; select sno.trace('${TRACE}'); rollback to s; insert into posts values (22, 1); commit`,
      ),
    ).toEqual([['changes', undefined]]);
    await here.service.kill();
    await here.service.restart();
    client = await here.client('end', 'only:1');
    await changesOf(here, client, () => client.subscribe('room:1', { since: position as string }));
    expect(client.of('room:1', 'changes').map(({ trace }) => trace)).toEqual([TRACE, undefined, TRACE, undefined]);
  });

  test.each([
    'null',
    "''",
    `'${TRACE}0'`,
    `'${TRACE.toUpperCase()}'`,
    `'ff${TRACE.slice(2)}'`,
    `'00-${'0'.repeat(32)}-00f067aa0ba902b7-01'`,
    `'00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01'`,
    `E'${TRACE}\n'`,
  ])('sno.trace(%s) is refused by Postgres', async (argument) => {
    await expect(here.query(`select sno.trace(${argument})`)).rejects.toThrow(/is no traceparent/);
  });

  test('a malformed trace in the WAL is dropped and counted, and the events arrive without it', async () => {
    const malformed = 'sno_messages_dropped_total{reason="payload_malformed"}';
    const before = await here.metric(malformed);
    const quoted = `${TRACE.slice(0, -2)}",`;
    const frames = await changesOf(here, client, () =>
      here.query(`select pg_logical_emit_message(true, 'sno.trace', '${quoted}'); select sno.publish('room:1', '1')`),
    );
    expect(frames.map(({ trace, data }) => [trace, data])).toEqual([[undefined, 1]]);
    expect(await here.metric(malformed)).toBe(before + 1);
  });

  test('malformed messages in the WAL, and messages to unknown channels, are counted, logged and dropped', async () => {
    const malformed = 'sno_messages_dropped_total{reason="payload_malformed"}';
    const unknown = 'sno_messages_dropped_total{reason="channel_unknown"}';
    const before = [await here.metric(malformed), await here.metric(unknown)] as const;
    const rubbish = [
      'rubbish',
      '',
      '\\n\\n',
      'room:1\\n\\n1',
      'room:1\\nwave\\n',
      'room:1\\nwave\\n{"a":',
      'ro"om:1\\nwave\\n1',
    ];
    const sql = [
      ...rubbish.map((text) => `select pg_logical_emit_message(true, 'sno.publish', E'${text}')`),
      `select pg_logical_emit_message(true, 'sno.publish', '\\xff0a770a31'::bytea)`,
      `select pg_logical_emit_message(false, 'sno.publish', E'room:1\\nwave\\n1')`,
      `select pg_logical_emit_message(true, 'another', 'room:1')`,
      `select sno.publish('nobody:1', '1')`,
      `insert into posts values (10, 1)`,
    ].join(';');
    expect(await got(sql)).toEqual(['insert 10']);
    expect(await here.metric(malformed)).toBe(before[0] + rubbish.length + 1);
    expect(await here.metric(unknown)).toBe(before[1] + 1);
    const logged = () => here.service.log.findLast(({ reason }) => reason === 'channel_unknown')?.level;
    expect(await until(logged, 'the log tells of it')).toBe('warn');
  });

  test('a malformed catalog in the WAL ends no subscription', async () => {
    const sql = `select pg_logical_emit_message(true, 'sno.catalog', 'rubbish'); insert into posts values (11, 1)`;
    expect(await got(sql)).toEqual(['insert 11']);
    expect(await got('insert into posts values (12, 1)')).toEqual(['insert 12']);
  });

  test('a catalog that another session wrote redefines nothing', async () => {
    const server = { version: 180_000, encoding: 'UTF8' };
    const nothing = { server, channels: [], access: [], tables: [], types: [], published: [], publishing: [] };
    const forged = JSON.stringify({ key: 'guessed', touched: ['channels:room:{room}'], catalog: nothing });
    await here.query(`select pg_logical_emit_message(true, 'sno.catalog', $1)`, [forged]);
    expect(await got('insert into posts values (13, 1)')).toEqual(['insert 13']);
    expect(client.frames.filter(({ type }) => type === 'reset' || type === 'unsubscribed')).toEqual([]);
  });

  test('pg_notify delivers well-formed messages and drops malformed ones', async () => {
    const malformed = 'sno_messages_dropped_total{reason="payload_malformed"}';
    const before = await here.metric(malformed);
    const bad = [
      '',
      'x',
      '1',
      '[]',
      '{}',
      '{"channel":"room:1","more":1}',
      '{"channel":"room:1","event":""}',
      '{"channel":1}',
    ];
    for (const payload of bad) await here.query("select pg_notify('sno', $1)", [payload]);
    const from = client.frames.length;
    await here.query(`select pg_notify('sno', '{"channel":"room:1","event":"wave","data":{"hi":1}}')`);
    await here.query(`select pg_notify('sno', '{"channel":"only:1"}')`);
    await client.wait('the last notification', from, ({ type, channel }) => type === 'message' && channel === 'only:1');
    const messages = client.frames.slice(from).filter(({ type }) => type === 'message');
    expect(messages.map(({ channel, event, data }) => [channel, event, data])).toEqual([
      ['room:1', 'wave', { hi: 1 }],
      ['only:1', 'message', null],
    ]);
    expect(await here.metric(malformed)).toBe(before + bad.length);
    await here.query(`begin; select pg_notify('sno', '{"channel":"room:1"}'); rollback`);
    expect(await got('select 1')).toEqual([]);
  });

  test('a notification is replayed from a position while the process runs', async () => {
    const reader = await here.client('end');
    const { position } = await reader.subscribe('only:1');
    for (const n of [1, 2]) await here.query("select pg_notify('sno', $1)", [`{"channel":"only:1","data":${n}}`]);
    await reader.until('both', () => reader.of('only:1', 'message').length === 2);
    const first = reader.of('only:1', 'message')[0]?.position as string;
    for (const [since, expected] of [
      [position as string, [1, 2]],
      [first, [2]],
    ] as const) {
      const back = await here.client();
      await back.subscribe('only:1', { since });
      await back.until('all', () => back.of('only:1', 'message').length === expected.length);
      expect(back.of('only:1', 'message').map(({ data }) => data)).toEqual(expected);
    }
  });

  test('Snö reopens the connection for notifications when it is cut', async () => {
    const { rows } = await here.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and application_name = 'sno notify'`,
    );
    await here.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
    let n = 0;
    await until(async () => {
      await here.query("select pg_notify('sno', $1)", [`{"channel":"only:1","event":"again","data":${++n}}`]);
      return client.of('only:1', 'message').some(({ event }) => event === 'again');
    }, 'notifications arrive again');
  });
});
