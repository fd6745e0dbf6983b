/**
 * Nothing after revocation: a client that loses access receives nothing of the revoking commit or a
 * later one.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Held } from '../oracle/held.ts';
import { bytesOf } from '../oracle/wal.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { type Frame, RawClient } from './raw-client.ts';

const SCHEMA = `
  create schema channels;
  create schema channel_access;
  create table notes (id bigint generated always as identity primary key, project int not null, body text);
  alter table notes replica identity full;
  create table members (project int, member text, role text, primary key (project, member));
  create table bans (member text primary key);
  create view channels."notes:{project}" as select id, project, body from notes;
  create view channel_access."notes:{project}" as select project, member as sub from members where role <> 'guest';
  -- one row does not tell: a join, and a condition that a row more makes false
  create view channels."joined:{project}" as select id, project, body from notes;
  create view channel_access."joined:{project}" as select m.project, m.member as sub from members m
    where not exists (select from bans b where b.member = m.member)`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  let service: ServiceProcess;
  const clients: RawClient[] = [];

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query(SCHEMA);
    service = await startService(database.url);
  });
  afterAll(async () => {
    for (const client of clients) client.cut();
    await service.remove();
    await database.drop();
  });

  async function join(member: string, channels: readonly string[]): Promise<RawClient> {
    const client = await RawClient.open(service, await signToken({ sub: member }));
    clients.push(client);
    for (const channel of channels)
      expect(await client.subscribe(channel, { snapshot: true })).toMatchObject({ type: 'subscribed' });
    return client;
  }

  /** The rows that a client builds from the frames of a channel. */
  function held({ frames }: RawClient, channel: string): Held {
    const result = new Held();
    for (const frame of frames) if (frame.channel === channel) result.take(frame);
    return result;
  }

  const lsnOf = ({ lsn }: Frame) => bytesOf(lsn as string);

  /** The commit that wrote this note. */
  function commitOf(client: RawClient, channel: string, body: string): Promise<Frame> {
    const isIt = ({ channel: name, events }: Frame) =>
      name === channel && (events ?? []).some(({ data }) => data?.['body'] === body);
    return client.wait(body, 0, isIt);
  }

  const revocations: readonly (readonly [
    what: string,
    channel: 'notes' | 'joined',
    revoke: string,
    restore: string,
  ])[] = [
    [
      'the membership is deleted',
      'notes',
      "delete from members where member = 'm'",
      "insert into members values (1, 'm', 'editor')",
    ],
    [
      'its row says something else',
      'notes',
      "update members set role = 'guest' where member = 'm'",
      "update members set role = 'editor' where member = 'm'",
    ],
    [
      'it moves to another project',
      'notes',
      "update members set project = 2 where member = 'm'",
      "update members set project = 1 where member = 'm'",
    ],
    [
      'a table that the view joins has a row more',
      'joined',
      "insert into bans values ('m')",
      "delete from bans where member = 'm'",
    ],
  ];

  test.each(revocations)('%s, while others write', { timeout: 60_000 }, async (what, kind, revoke, restore) => {
    await database.query("truncate members; insert into members values (1, 'm', 'editor'), (1, 'witness', 'editor')");
    const channel = `${kind}:1`;
    const witness = await join('witness', [channel]);
    const writer = await database.connect();
    for (let round = 0; round < 6; round++) {
      const client = await join(
        'm',
        [channel, 'joined:1', 'notes:1']
          .slice(0, 1 + (round % 2))
          .filter((name, index, all) => all.indexOf(name) === index),
      );
      let isWriting = true;
      const writing = (async () => {
        for (let count = 0; isWriting; count++)
          await writer.query('insert into notes (project, body) values (1, $1)', [`round ${round} note ${count}`]);
      })();
      await client.until('events come', () => client.of(channel).length > 3);
      const body = `${what}: ${round}`;
      await database.query(`begin; insert into notes (project, body) values (1, '${body}'); ${revoke}; commit`);
      // as another client received it
      const revokedAt = lsnOf(await commitOf(witness, channel, body));
      const isTold = ({ type, code, channel: name }: Frame) =>
        type === 'unsubscribed' && code === 'access_revoked' && name === channel;
      await client.wait('it is told', 0, isTold);
      isWriting = false;
      await writing;
      const changes = client.of(channel);
      expect(changes.filter((frame) => lsnOf(frame) >= revokedAt)).toEqual([]);
      // and everything before it
      const before = witness.of(channel).filter((frame) => lsnOf(frame) < revokedAt);
      expect(changes.at(-1)?.lsn).toBe(before.at(-1)?.lsn);
      client.cut();
      await database.query(restore);
    }
    expect(witness.frames.filter(({ type }) => type === 'error')).toEqual([]);
    expect(held(witness, channel).violations).toEqual([]);
  });

  test('a client that keeps access misses nothing and receives all channels in order', async () => {
    await database.query(
      "delete from bans; truncate members; insert into members select p, m, 'editor' from generate_series(1, 3) p, unnest('{m,n}'::text[]) m",
    );
    const channels = ['notes:1', 'notes:2', 'notes:3', 'joined:1'];
    const client = await join('m', channels);
    for (let round = 0; round < 40; round++) {
      await database.query(`insert into notes (project, body) values (${1 + (round % 3)}, 'r${round}')`);
      await database.query(
        round % 2 === 0
          ? "delete from members where member = 'n' and project = 1"
          : "insert into members values (1, 'n', 'editor')",
      );
    }
    await database.query("insert into notes (project, body) select p, 'end' from generate_series(1, 3) p");
    for (const channel of channels) await commitOf(client, channel, 'end');
    const lsns = client.frames.filter(({ type }) => type === 'changes').map(lsnOf);
    expect(lsns).toEqual(lsns.toSorted((a, b) => a - b));
    for (const channel of channels) {
      const { rows } = await database.query('select count(*)::int as count from notes where project = $1', [
        Number(channel.split(':')[1]),
      ]);
      const { rows: followed, violations } = held(client, channel);
      expect(followed.size).toBe(rows[0]?.['count']);
      expect(violations).toEqual([]);
    }
  });
});
