/** Rolling restarts and absences under load: nothing is lost, nothing comes twice, and who was away too long starts over by himself. */
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type LiveUpdate } from '../../src/client/index.ts';
import { freePort } from '../support/free-port.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { Balancer } from './balancer.ts';
import { violations } from './commits-check.ts';
import { ROOMS, SCHEMA, write } from './commits-writers.ts';
import { RawClient } from './raw-client.ts';
import { Subscriber } from './subscriber.ts';

const CHANNELS = Array.from({ length: ROOMS }, (_, room) => [`items:${room}`, `ledger:${room}`]).flat();

let database: TestDatabase;
let balancer: Balancer;
const services: ServiceProcess[] = [];
const subscribers: Subscriber[] = [];

afterEach(async () => {
  for (const subscriber of subscribers.splice(0)) subscriber.close();
  for (const service of services.splice(0)) await service.remove();
  await balancer.stop();
  await database.drop();
});

async function prepare(version: (typeof VERSIONS)[number]): Promise<void> {
  database = await freshDatabase(version);
  await database.query(SCHEMA);
  balancer = await Balancer.start();
}

async function start(settings: Readonly<Record<string, string>>): Promise<ServiceProcess> {
  const shared = services[0]?.certificate;
  const tls = shared && { SNO_TLS_CERT: shared.certFile, SNO_TLS_KEY: shared.keyFile };
  const service = await startService(database.url, { SNO_SLOT: database.name, ...tls, ...settings });
  services.push(service);
  return service;
}

/** All instances have the one of the first. */
const certificate = (): string => (services[0] as ServiceProcess).certificate.cert;

async function readiness(adminPort: number): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`);
  return ((await response.json()) as { reason?: unknown }).reason ?? response.status;
}

/** Everybody has every row of every channel that he follows. */
async function caughtUp(): Promise<void> {
  for (const room of Array(ROOMS).keys()) {
    for (const kind of ['items', 'ledger']) {
      const { rows } = await database.query<{ count: number }>(
        `select count(*)::int as count from channels."${kind}:{room}" where room = $1`,
        [room],
      );
      const count = rows[0]?.count ?? 0;
      await until(
        () => subscribers.every(({ held }) => (held.get(`${kind}:${room}`)?.rows.size ?? count) === count),
        `all have the ${count} rows of ${kind}:${room}`,
      );
    }
  }
}

describe.each(VERSIONS)('Postgres %i', (version) => {
  test('two rolling restarts under load: no reset, nothing lost, nothing twice', { timeout: 180_000 }, async () => {
    await prepare(version);
    const settings = { SNO_DRAIN_SECONDS: '2' };
    balancer.instances = [await start(settings)];
    const token = await signToken({ sub: 'u1' });
    for (let index = 0; index < 10; index++)
      subscribers.push(
        new Subscriber({
          url: balancer.url,
          ca: certificate,
          token,
          channels: CHANNELS,
          snapshot: true,
          reconnect: true,
        }),
      );
    await until(() => subscribers.every(({ isLive }) => isLive), 'all are subscribed');

    /** The new one waits for the slot while the old one sends its clients away. */
    async function roll(): Promise<number | null> {
      const old = services.at(-1) as ServiceProcess;
      const adminPort = await freePort();
      const starting = start({ ...settings, SNO_ADMIN_PORT: String(adminPort) });
      await until(async () => (await readiness(adminPort)) === 'catching up', 'the new one waits for the slot');
      const exit = old.terminate();
      const next = await starting;
      balancer.instances = [{ port: next.port, adminPort }];
      expect(next.log.some(({ level, code }) => level === 'info' && code === 'slot_in_use')).toBe(true);
      return exit;
    }

    const exits: (number | null)[] = [];
    let rolling = Promise.resolve();
    const commits = await write(database, {
      seed: version,
      writers: 4,
      transactions: 150,
      onCommit: (total) => {
        if (total !== 150 && total !== 350) return;
        rolling = rolling.then(async () => void exits.push(await roll()));
      },
    });
    await rolling;
    expect(exits).toEqual([0, 0]);
    await until(() => subscribers.every(({ isLive, connections }) => isLive && connections > 2), 'all have come back');
    await caughtUp();
    expect(await violations(database, subscribers, commits)).toEqual([]);
    expect(subscribers.flatMap(({ held }) => [...held.values()].flatMap(({ resets }) => resets))).toEqual([]);
    for (const { closes } of subscribers)
      expect(closes.filter((code) => code === 1001).length).toBeGreaterThanOrEqual(2);
  });

  test('who is away for less than the replay window resumes; for longer, is reset and reads the rows anew', async () => {
    await prepare(version);
    const service = await start({ SNO_REPLAY_SECONDS: '3' });
    balancer.instances = [service];
    class Trusting extends WebSocket {
      constructor(address: string) {
        super(address, { ca: certificate() });
      }
    }
    const client = connect(balancer.url, {
      WebSocket: Trusting,
      token: () => signToken({ sub: 'u1' }),
      backoff: { baseMs: 20, capMs: 100 },
    });
    const view = client.live<{ entry: number }>('ledger:0');
    const updates: LiveUpdate<unknown>['reason'][] = [];
    view.subscribe(({ reason }) => reason === 'status' || updates.push(reason));
    await view.ready;
    updates.length = 0;
    let isOver = false;
    let entry = 0;
    const writing = (async () => {
      while (!isOver) await database.query('insert into ledger values ($1, 0, 0)', [++entry]);
    })();
    /** Cut off until `condition` holds; then until the view shows what had been written by its end. */
    async function away(condition: () => Promise<unknown>): Promise<void> {
      balancer.instances = [];
      balancer.cut();
      await until(() => view.status === 'stale', 'it is away');
      await condition();
      const written = entry;
      balancer.instances = [service];
      await until(() => view.status === 'live' && view.get(written) !== undefined, 'it is back');
    }
    try {
      const before = entry;
      await away(() => until(() => entry > before + 20, 'others have written'));
      expect(new Set(updates)).toEqual(new Set(['commit']));
      const raw = await RawClient.open(service, await signToken({ sub: 'u1' }));
      await away(() => {
        // where it stopped
        const { position } = view;
        return until(async () => {
          const answer = await raw.subscribe('ledger:0', { since: position as string });
          if (answer.type === 'reset') return true;
          raw.send({ type: 'unsubscribe', channel: 'ledger:0' });
          await raw.wait('left', raw.frames.indexOf(answer as never), ({ type }) => type === 'unsubscribed');
          return false;
        }, 'its position is too old');
      });
      expect(updates).toContain('snapshot');
      raw.cut();
    } finally {
      isOver = true;
      await writing;
    }
    await until(() => view.size === entry, 'every row is there');
    expect(view.rows.map((row) => row.entry).sort((a, b) => a - b)).toEqual(
      Array.from({ length: entry }, (_, i) => i + 1),
    );
    await client.close();
  });
});

test('a second SIGTERM ends it at once, clients or not', async () => {
  await prepare(18);
  const service = await start({ SNO_DRAIN_SECONDS: '600' });
  const client = await RawClient.open(service, await signToken({ sub: 'u1' }));
  await client.subscribe('ledger:0');
  const first = service.terminate();
  await until(async () => (await readiness(service.adminPort)) === 'draining', 'it is draining');
  // who has not been sent away yet is served
  await database.query('insert into ledger values (1, 0, 0)');
  await Promise.race([client.until('a commit', () => client.events('ledger:0').length === 1), client.closed]);
  await service.terminate();
  expect(await first).toBe(1);
});
