/**
 * The oracle for as long as SOAK_SECONDS says (default 120), one seed after the other from SOAK_SEED on: writers, subscribers
 * that resume, and faults at random moments. Prints figures for each round, so that one can be repeated.
 */
import { afterEach, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { violations } from './check.ts';
import { Random } from './random.ts';
import { Subscriber } from './subscriber.ts';
import { type Commits, ROOMS, SCHEMA, write } from './writers.ts';

const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 120);
const FIRST_SEED = Number(process.env['SOAK_SEED'] ?? 1);
const WRITERS = 8;
const TRANSACTIONS = 150;
const SUBSCRIBERS = 15;
const FAULTS = 6;
const COMMITS_BETWEEN_FAULTS = 120;

let database: TestDatabase;
let service: ServiceProcess;
const subscribers: Subscriber[] = [];

afterEach(async () => {
  await end();
});

async function end(): Promise<void> {
  for (const subscriber of subscribers.splice(0)) subscriber.close();
  await service.remove();
  await database.drop();
}

/** What goes wrong. Each resolves once it is over, or goes over by itself. */
const FAULT: Readonly<Record<string, (random: Random) => Promise<void>>> = {
  async killed() {
    await service.kill();
    await service.restart();
  },
  async stopped() {
    process.kill(service.pid, 'SIGSTOP');
    const { rows } = await database.query<{ count: number }>('select count(*)::int as count from ledger');
    const before = rows[0]?.count ?? 0;
    // stopped until others have committed
    await until(async () => {
      const { rows: now } = await database.query<{ count: number }>('select count(*)::int as count from ledger');
      return (now[0]?.count ?? 0) > before + 20 || isWritten;
    }, 'others have committed');
    process.kill(service.pid, 'SIGCONT');
  },
  async terminated() {
    await database.query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'sno'");
  },
  async disconnected() {
    await database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'sno %' and datname = current_database()",
    );
  },
  async cut(random) {
    for (const subscriber of subscribers) if (random.chance(0.5)) subscriber.cut();
  },
};

let isWritten = false;

async function round(seed: number, version: (typeof VERSIONS)[number]): Promise<Record<string, unknown>> {
  const random = new Random(seed);
  isWritten = false;
  database = await freshDatabase(version);
  await database.query(SCHEMA);
  service = await startService(database.url);
  const all = Array.from({ length: ROOMS }, (_, room) => [`items:${room}`, `ledger:${room}`, `told:${room}`]).flat();
  for (let index = 0; index < SUBSCRIBERS; index++) {
    const channels = all.filter(() => random.chance(0.4));
    subscribers.push(
      new Subscriber({
        url: service.url,
        ca: () => service.certificate.cert,
        token: await signToken({ sub: 'u1' }),
        channels: channels.length === 0 ? all.slice(0, 1) : channels,
        snapshot: random.chance(0.7),
        reconnect: true,
      }),
    );
  }
  await until(() => subscribers.every(({ isLive }) => isLive), 'all are subscribed');
  const faults: string[] = [];
  let faulting = Promise.resolve();
  const commits = await write(database, {
    seed,
    writers: WRITERS,
    transactions: TRANSACTIONS,
    onCommit: (total) => {
      if (total % COMMITS_BETWEEN_FAULTS !== 0 || faults.length === FAULTS) return;
      const names = Object.keys(FAULT);
      const name = names[random.below(names.length)] as string;
      faults.push(name);
      faulting = faulting.then(() => FAULT[name]?.(random));
    },
  });
  isWritten = true;
  await faulting;
  await finish(commits);
  const found = await violations(database, subscribers, commits);
  const resets = subscribers.flatMap(({ held }) => [...held.values()].flatMap((each) => each.resets));
  const deliveries = subscribers.reduce((sum, { frames }) => sum + frames.length, 0);
  expect(found).toEqual([]);
  return { seed, version, faults, commits: commits.size, deliveries, resets: resets.length, violations: found.length };
}

/** Commits something in every channel when all is done, and waits until everybody has it. */
async function finish(commits: Commits): Promise<void> {
  const { rows } = await database.query<{ xid: string }>(
    `with item as (insert into items (id, room, amount) select 100000 + room, room, 1 from generate_series(0, ${ROOMS - 1}) room),
       entry as (insert into ledger select 999000000 + room, room, 0 from generate_series(0, ${ROOMS - 1}) room)
     select (pg_current_xact_id()::text::numeric % 4294967296)::text as xid`,
  );
  commits.set(
    Number(rows[0]?.xid),
    new Map(Array.from({ length: ROOMS }, (_, room) => [room, [String(999_000_000 + room)]])),
  );
  const key = (channel: string) => {
    const room = Number(channel.split(':')[1]);
    return JSON.stringify(channel.startsWith('ledger') ? { entry: 999_000_000 + room } : { id: 100_000 + room });
  };
  await until(
    () => subscribers.every(({ held }) => [...held].every(([channel, { rows }]) => rows.has(key(channel)))),
    'all have the last commit',
    120_000,
  );
}

test('no seed finds a violation', { timeout: (SECONDS + 300) * 1_000 }, async () => {
  const began = performance.now();
  for (let seed = FIRST_SEED; performance.now() - began < SECONDS * 1_000; seed++) {
    if (seed > FIRST_SEED) await end();
    const figures = await round(seed, VERSIONS[seed % VERSIONS.length] as (typeof VERSIONS)[number]);
    process.stdout.write(`${JSON.stringify(figures)}\n`);
  }
});
