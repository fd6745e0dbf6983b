/**
 * Runs random DDL among random writes; Snö detects it by event triggers or by polling. Whenever
 * writes pause, every follower's rows equal the view: by events, or because it was reset and read
 * the channel again.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { Follower } from './follower.ts';
import { migrate, PATTERNS, ROOMS, repair, run, schema, type Tally, transact } from './migrations.ts';
import { Random } from './random.ts';

const SEED = Number(process.env['SNO_TEST_SEED'] ?? 1);
const ROUNDS = Number(process.env['SNO_TEST_ROUNDS'] ?? 2);
const MIGRATIONS = 12;
const TRANSACTIONS = 25;
const WRITERS = 2;
const FOLLOWERS = 3;

const CHANNELS = PATTERNS.flatMap((pattern) =>
  Array.from({ length: ROOMS }, (_, room) => pattern.replace('{room}', String(room))),
);

let database: TestDatabase;
let service: ServiceProcess;
let followers: Follower[] = [];

afterEach(async () => {
  for (const follower of followers) follower.close();
  followers = [];
  await service?.remove();
  await database.query('reset role');
  await database.query(`drop owned by app_${database.name} cascade`).catch(() => undefined);
  await database.query(`drop role if exists app_${database.name}`);
  await database.drop();
});

/** `polled`: Snö's role, which owns everything, may not create event triggers. */
async function prepare(version: (typeof VERSIONS)[number], random: Random, polled: boolean): Promise<void> {
  database = await freshDatabase(version);
  const url = new URL(database.url);
  if (polled) {
    const role = `app_${database.name}`;
    await database.query(`create role ${role} login replication password 'app';
      grant create on database ${database.name} to ${role}; grant create on schema public to ${role}; set role ${role}`);
    [url.username, url.password] = [role, 'app'];
  }
  await database.query(schema(random));
  service = await startService(url.href, { SNO_ACCESS: 'open', SNO_SLOT: database.name, SNO_DATABASE_URL: url.href });
  expect(service.log.some(({ what }) => /event trigger/.test(String(what)))).toBe(polled);
}

async function connect(polled: boolean) {
  const client = await database.connect();
  if (polled) await client.query(`set role app_${database.name}`);
  return client;
}

/** Differences between the followers' rows and the views. */
async function differences(): Promise<string[]> {
  const found: string[] = [];
  for (const channel of CHANNELS) {
    const [name, room] = channel.split(':') as [string, string];
    const { rows } = await database.query<{ data: string }>(
      `select row_to_json(v)::text as data from channels."${name}:{room}" v where room = $1`,
      [room],
    );
    const expected = rows.map(({ data }) => JSON.stringify(JSON.parse(data))).sort();
    for (const [index, { held }] of followers.entries()) {
      const followed = held.get(channel);
      if (followed === undefined) continue;
      const got = [...followed.rows.values()].sort();
      const wrong = [
        ...got.filter((row) => !expected.includes(row)).map((row) => `not ${row}`),
        ...expected.filter((row) => !got.includes(row)).map((row) => `but ${row}`),
      ];
      if (wrong.length > 0 || got.length !== expected.length)
        found.push(
          `follower ${index} holds of ${channel} ${got.length} of ${expected.length} rows: ${wrong.join('; ')}`,
        );
    }
  }
  return [...found, ...followers.flatMap((follower) => follower.violations())];
}

async function play(version: (typeof VERSIONS)[number], polled: boolean, seed: number) {
  const random = new Random(seed);
  await prepare(version, random, polled);
  const clients = await Promise.all(Array.from({ length: WRITERS + 1 }, () => connect(polled)));
  const [migrator, ...writers] = clients as [(typeof clients)[number], ...typeof clients];
  followers = Array.from(
    { length: FOLLOWERS },
    (_, index) => new Follower(service, index === 0 ? CHANNELS : CHANNELS.filter(() => random.chance(0.5)), polled),
  );
  await until(() => followers.every(({ isLive }) => isLive), 'all are subscribed');
  const tally: Tally = { transactions: 0, migrations: 0, refused: 0 };
  let kills = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const seeds = writers.map(() => new Random(random.below(2 ** 31)));
    await Promise.all([
      ...writers.map(async (writer, index) => {
        for (let n = 0; n < TRANSACTIONS; n++) await transact(writer, seeds[index] as Random, tally);
      }),
      (async () => {
        for (let n = 0; n < MIGRATIONS; n++) await migrate(migrator, random, tally);
      })(),
      // once during writes and DDL
      ...(round === 1
        ? [
            service
              .kill()
              .then(() => service.restart())
              .then(() => kills++),
          ]
        : []),
    ]);
    expect(
      await run(migrator, [...repair(random), `create view channels."round:${round}" as select id from things`]),
    ).toBe(true);
    // a follower that is live on this view has received everything before it
    const probe = new Follower(service, [`round:${round}`]);
    await until(() => probe.isLive, 'the repair has been heard of');
    probe.close();
    const end = `round ${round}`;
    await database.query("select sno.publish('end', to_json($1::text))", [end]);
    const isThrough = () => followers.every(({ ends, isLive }) => ends.has(end) && isLive);
    await until(isThrough, `everybody is at the end of round ${round}`);
    expect(await differences(), `seed ${seed}, round ${round}`).toEqual([]);
  }
  const ends = followers.flatMap(({ held }) => [...held.values()].map(({ ends }) => ends));
  return { ...tally, kills, resets: ends.reduce((sum, count) => sum + count, 0) };
}

describe.each(VERSIONS)('Postgres %i', (version) => {
  test.each([
    ['by event triggers', false],
    ['by polling', true],
  ])(
    'followers hold what the views hold while DDL is noticed %s',
    { timeout: 60_000 + ROUNDS * 60_000 },
    async (_, polled) => {
      const { transactions, migrations, resets, kills } = await play(version, polled, SEED * 100 + version);
      expect([transactions, migrations, resets].every((count) => count > 0)).toBe(true);
      expect(kills).toBe(ROUNDS > 1 ? 1 : 0);
    },
  );
});
