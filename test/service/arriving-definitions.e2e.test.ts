/**
 * A definition takes effect at its commit: what clients receive that subscribe while the commit
 * arrives, after its definitions and before its end.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CatalogGate } from '../support/catalog-gate.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { NEWEST, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import type { RawClient } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table tasks (id int primary key, room int not null, title text);
  alter table tasks replica identity full;
  create schema channels;
  create view channels."task:{room}" as select id, room, title from tasks;
  create view channels."old:{room}" as select id, room from tasks;
`;

describe.each([
  ...VERSIONS.flatMap((version) => [
    { version, kind: 'in one process' },
    { version, kind: 'with workers' },
  ]),
  { version: NEWEST, kind: 'by NATS' },
])('Postgres $version, $kind', ({ version, kind }) => {
  let gate: CatalogGate;
  let nats: NatsServer | undefined;
  let here: Stage;
  let client: RawClient;
  let ids = 0;

  beforeAll(async () => {
    if (kind === 'by NATS') nats = await startNats();
    const settings = {
      ...(kind === 'with workers' ? { SNO_WORKERS: '1' } : {}),
      ...(nats === undefined ? {} : { SNO_NATS_URL: nats.url }),
    };
    here = await stage(SCHEMA, settings, version, {}, async (url) => {
      gate = new CatalogGate(url);
      await gate.open();
      return gate.through(url);
    });
    client = await here.client('end');
  });
  afterAll(async () => {
    await here?.end();
    gate?.close();
    await nats?.remove();
  });

  const insert = (room = 1) => here.query('insert into tasks values ($1, $2)', [++ids, room]);
  const view = (name: string) => `create view channels."${name}:{room}" as select id, room, title from tasks`;
  const replaced = (name: string) =>
    `create or replace view channels."${name}:{room}" as select id, room, title, id as n from tasks`;
  const viewCount = () => here.metric('sno_channel_views{path="process"}');

  /** Commits the statements. Resolves when Snö has their definitions, but not the commit's end. */
  async function holdEndOf(sql: string, views: number): Promise<void> {
    const before = await viewCount();
    const held = gate.hold();
    await here.query(`begin; ${sql}; commit`);
    await held;
    await until(async () => (await viewCount()) === before + views, 'the definitions have arrived');
  }

  test.each([
    ['created', view('a')],
    ['created, with rows', `${view('b')}; insert into tasks values (-1, 1)`],
    ['created and replaced', `${view('c')}; set constraints all immediate; ${replaced('c')}`],
  ])('a view that is %s: Snö answers at the end of the commit, and resets no client', async (_, sql) => {
    const name = /channels."(.)/.exec(sql)?.[1] as string;
    await holdEndOf(sql, 1);
    const other = await here.client();
    const [now, snapshot] = [client, other].map((each, index) =>
      each.subscribe(`${name}:1`, index === 0 ? {} : { snapshot: true }),
    );
    // both requests have been read
    for (const each of [client, other]) await each.heartbeat();
    gate.release();
    for (const answer of [now, snapshot]) expect(await answer).toMatchObject({ type: 'subscribed' });
    const frames = (await changesOf(here, client, () => insert())).filter(({ channel }) => channel === `${name}:1`);
    expect(frames).toMatchObject([{ type: 'changes', events: [{ op: 'insert', key: { id: ids } }] }]);
    await other.until('the row', () => other.events(`${name}:1`).length > 0);
    expect(other.of(`${name}:1`, 'reset')).toEqual([]);
  });

  test('a view that is dropped: a client subscribes by it until the end of the commit, which ends the channel', async () => {
    await holdEndOf('drop view channels."old:{room}"', -1);
    const from = client.frames.length;
    const answer = await client.subscribe('old:1');
    gate.release();
    expect(answer).toMatchObject({ type: 'subscribed' });
    await client.wait('the end', from, ({ code }) => code === 'channel_dropped');
    expect(await client.subscribe('old:1')).toMatchObject({ type: 'error', code: 'channel_unknown' });
  });

  test('if the stream breaks before the end of the commit, the subscribers of a view that it replaces are reset', async () => {
    await client.subscribe('task:1');
    await holdEndOf(`${replaced('task')}; ${view('d')}`, 1);
    const from = client.frames.length;
    gate.cut();
    expect(await client.wait('the reset', from, ({ channel }) => channel === 'task:1')).toEqual({
      type: 'reset',
      channel: 'task:1',
      reason: 'channel_changed',
    });
    for (const channel of ['task:1', 'd:1'])
      expect(await client.subscribe(channel)).toMatchObject({ type: 'subscribed' });
    const frames = await changesOf(here, client, () => insert());
    expect(frames.find(({ channel }) => channel === 'task:1')?.events).toMatchObject([{ data: { id: ids, n: ids } }]);
    expect(frames.filter(({ type }) => type === 'reset')).toEqual([]);
  });
});
