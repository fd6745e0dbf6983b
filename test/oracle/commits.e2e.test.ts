/** The promises, judged by an oracle: real writers, real TLS subscribers that join at random moments, real kills. */
import { afterEach, describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { compareTails, violations } from './check.ts';
import { Random } from './random.ts';
import { Subscriber } from './subscriber.ts';
import { type Commits, ROOMS, SCHEMA, write } from './writers.ts';

const WRITERS = 8;
const TRANSACTIONS = 125;
const SUBSCRIBERS = 20;

const ALL = Array.from({ length: ROOMS }, (_, room) => [`items:${room}`, `ledger:${room}`, `told:${room}`]).flat();

let database: TestDatabase;
let service: ServiceProcess;
let subscribers: Subscriber[] = [];

afterEach(async () => {
  for (const subscriber of subscribers) subscriber.close();
  subscribers = [];
  await service.remove();
  await database.drop();
});

async function prepare(version: (typeof VERSIONS)[number]): Promise<void> {
  database = await freshDatabase(version);
  await database.query(SCHEMA);
  await database.query(
    'insert into items (id, room, amount, note) select i, i % 5, i, null from generate_series(0, 99) i',
  );
  service = await startService(database.url);
}

async function join(random: Random, reconnect: boolean): Promise<Subscriber> {
  const snapshot = random.chance(0.6);
  const channels = ALL.filter(() => random.chance(0.4));
  const subscriber = await subscribe(
    channels.length === 0 ? [ALL[random.below(ALL.length)] as string] : channels,
    snapshot,
    reconnect,
  );
  return subscriber;
}

async function subscribe(channels: readonly string[], snapshot: boolean, reconnect: boolean): Promise<Subscriber> {
  const subscriber = new Subscriber({
    url: service.url,
    ca: () => service.certificate.cert,
    token: await signToken({ sub: 'u1' }),
    channels,
    snapshot,
    reconnect,
  });
  subscribers.push(subscriber);
  return subscriber;
}

/** Commits something in every channel when all is done, and waits until everybody has it. */
async function finish(commits: Commits): Promise<void> {
  await until(() => subscribers.every(({ isLive }) => isLive), 'all are subscribed');
  const { rows } = await database.query<{ xid: string }>(
    `with added as (insert into ledger select 999000000 + room, room, 0 from generate_series(0, ${ROOMS - 1}) room returning room),
       item as (insert into items (id, room, amount) select 100000 + room, room, 1 from generate_series(0, ${ROOMS - 1}) room)
     select (pg_current_xact_id()::text::numeric % 4294967296)::text as xid`,
  );
  const entries = Array.from({ length: ROOMS }, (_, room) => [room, [String(999_000_000 + room)]] as const);
  commits.set(Number(rows[0]?.xid), new Map(entries));
  const hasEnd = (subscriber: Subscriber) =>
    [...subscriber.held].every(([channel, held]) => {
      const [kind, room] = channel.split(':') as [string, string];
      return held.rows.has(
        JSON.stringify(kind === 'ledger' ? { entry: 999_000_000 + Number(room) } : { id: 100_000 + Number(room) }),
      );
    });
  await until(() => subscribers.every(hasEnd), 'all have the last commit');
}

describe.each(VERSIONS)('Postgres %i', (version) => {
  test('subscribers that join while 8 writers commit hold what the view holds', { timeout: 180_000 }, async () => {
    const seed = version;
    const random = new Random(seed);
    await prepare(version);
    const reference = await subscribe(ALL, true, false);
    await until(() => reference.isLive, 'the reference is subscribed');
    // joining is spread over the writing: somebody comes each time so many transactions have been committed
    const joining: Promise<Subscriber>[] = [];
    const commits = await write(database, {
      seed,
      writers: WRITERS,
      transactions: TRANSACTIONS,
      onCommit: (total) => {
        if (total % 40 === 0 && joining.length < SUBSCRIBERS) joining.push(join(random, false));
      },
    });
    while (joining.length < SUBSCRIBERS) joining.push(join(random, false));
    await Promise.all(joining);
    await finish(commits);
    expect(await violations(database, subscribers, commits)).toEqual([]);
    expect(
      compareTails(
        reference,
        subscribers.filter(({ snapshot }) => !snapshot),
      ),
    ).toEqual([]);
    expect(subscribers.flatMap(({ held }) => [...held.values()].flatMap(({ resets }) => resets))).toEqual([]);
  });

  test('the same with kill -9 of Snö three times in the middle', { timeout: 180_000 }, async () => {
    const seed = 100 + version;
    const random = new Random(seed);
    await prepare(version);
    const joined = await Promise.all(Array.from({ length: SUBSCRIBERS }, () => join(random, true)));
    await until(() => joined.every(({ isLive }) => isLive), 'all are subscribed');
    let kills = 0;
    let killing = Promise.resolve();
    const commits = await write(database, {
      seed,
      writers: WRITERS,
      transactions: TRANSACTIONS,
      onCommit: (total) => {
        if (total % 200 !== 0 || kills === 3) return;
        kills++;
        killing = killing.then(async () => {
          await service.kill();
          await service.restart();
        });
      },
    });
    await killing;
    await finish(commits);
    expect(kills).toBe(3);
    expect(await violations(database, subscribers, commits)).toEqual([]);
    // away for far less than the replay window: nobody has to start over
    expect(subscribers.flatMap(({ held }) => [...held.values()].flatMap(({ resets }) => resets))).toEqual([]);
    expect(Math.min(...subscribers.map(({ connections }) => connections))).toBeGreaterThan(1);
  });
});
