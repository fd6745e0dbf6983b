/** Nothing after revocation: what a commit takes away is not sent of that commit, nor of any later one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { lsnValue, Subscriber } from './subscriber.ts';

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
  const subscribers: Subscriber[] = [];

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query(SCHEMA);
    service = await startService(database.url);
  });
  afterAll(async () => {
    for (const subscriber of subscribers) subscriber.close();
    await service.remove();
    await database.drop();
  });

  async function join(member: string, channels: readonly string[]): Promise<Subscriber> {
    const token = await signToken({ sub: member });
    const subscriber = new Subscriber({
      url: service.url,
      ca: () => service.certificate.cert,
      token,
      channels,
      snapshot: true,
    });
    subscribers.push(subscriber);
    await until(() => subscriber.isLive, `${member} is subscribed`);
    return subscriber;
  }

  /** The LSN of the commit that wrote this note, as somebody else saw it. */
  async function lsnOf(witness: Subscriber, channel: string, body: string): Promise<bigint> {
    const found = await until(
      () =>
        witness.held
          .get(channel)
          ?.changes.find(({ events }) => events?.some(({ data }) => (data as { body?: string })?.body === body)),
      `the witness saw ${body}`,
    );
    return lsnValue(found.lsn as string);
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
      const subscriber = await join(
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
      await until(() => (subscriber.held.get(channel)?.changes.length ?? 0) > 3, 'events come');
      const body = `${what}: ${round}`;
      await database.query(`begin; insert into notes (project, body) values (1, '${body}'); ${revoke}; commit`);
      const revokedAt = await lsnOf(witness, channel, body);
      await until(
        () => subscriber.frames.some(({ type, code }) => type === 'unsubscribed' && code === 'access_revoked'),
        'it is told',
      );
      isWriting = false;
      await writing;
      const changes = subscriber.held.get(channel)?.changes ?? [];
      expect(changes.filter(({ lsn }) => lsnValue(lsn as string) >= revokedAt)).toEqual([]);
      // and everything before it
      const before = witness.held.get(channel)?.changes.filter(({ lsn }) => lsnValue(lsn as string) < revokedAt) ?? [];
      expect(changes.at(-1)?.lsn).toBe(before.at(-1)?.lsn);
      subscriber.close();
      await database.query(restore);
    }
    expect(witness.errors).toEqual([]);
    expect(witness.violations()).toEqual([]);
  });

  test('who keeps access misses nothing, and hears all channels in order', async () => {
    await database.query(
      "delete from bans; truncate members; insert into members select p, m, 'editor' from generate_series(1, 3) p, unnest('{m,n}'::text[]) m",
    );
    const channels = ['notes:1', 'notes:2', 'notes:3', 'joined:1'];
    const subscriber = await join('m', channels);
    for (let round = 0; round < 40; round++) {
      await database.query(`insert into notes (project, body) values (${1 + (round % 3)}, 'r${round}')`);
      await database.query(
        round % 2 === 0
          ? "delete from members where member = 'n' and project = 1"
          : "insert into members values (1, 'n', 'editor')",
      );
    }
    await database.query("insert into notes (project, body) select p, 'end' from generate_series(1, 3) p");
    await until(
      () =>
        channels.every((name) =>
          subscriber.held
            .get(name)
            ?.changes.at(-1)
            ?.events?.some(({ data }) => (data as { body: string }).body === 'end'),
        ),
      'all has come',
    );
    const lsns = subscriber.frames.filter(({ type }) => type === 'changes').map(({ lsn }) => lsnValue(lsn as string));
    expect(lsns.every((lsn, index) => index === 0 || lsn >= (lsns[index - 1] as bigint))).toBe(true);
    for (const name of channels) {
      const { rows } = await database.query('select count(*)::int as count from notes where project = $1', [
        Number(name.split(':')[1]),
      ]);
      expect(subscriber.held.get(name)?.rows.size).toBe(rows[0]?.['count']);
    }
    expect(subscriber.violations()).toEqual([]);
  });
});
