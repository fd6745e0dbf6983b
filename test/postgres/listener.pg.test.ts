import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../src/logger.ts';
import { Listener } from '../../src/postgres/listener.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { countTimers, type TimerCount } from '../support/timers.ts';
import { until } from '../support/wait.ts';

let database: TestDatabase;
let timers: TimerCount;

beforeAll(async () => {
  database = await freshDatabase(VERSIONS[0]);
});
afterAll(async () => {
  await database?.drop();
});
beforeEach(() => {
  timers = countTimers();
});
afterEach(() => timers.end());

const listenerOf = () =>
  new Listener({
    url: database.url,
    channel: 'told',
    logger: createLogger('silent'),
    onNotification: () => undefined,
    retryMs: () => 0,
  });

async function sessions(): Promise<number> {
  const { rows } = await database.query(
    `select count(*)::int as count from pg_stat_activity where application_name = 'sno notify'
      and datname = current_database()`,
  );
  return (rows[0] as { readonly count: number }).count;
}

const nothingLeft = async () => {
  await until(async () => (await sessions()) === 0, 'no session of the listener is left');
  await until(() => timers.running() === 0, 'no timer of the listener is left');
};

test('a listener that is stopped while it connects leaves neither a connection nor a timer', async () => {
  const listener = listenerOf();
  await timers.during(async () => {
    const started = listener.start();
    await listener.stop();
    await started;
  });
  await nothingLeft();
});

test('a listener that is stopped while it connects again leaves neither a connection nor a timer', async () => {
  const listener = listenerOf();
  await timers.during(() => listener.start());
  expect(await sessions()).toBe(1);
  expect(timers.running()).toBeGreaterThan(0);
  await database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sno notify' and datname = current_database()`,
  );
  // the next connection is on its way, or there already
  await listener.stop();
  await nothingLeft();
});
