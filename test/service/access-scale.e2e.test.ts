/**
 * The cost of access checks with many subscribers: Snö checks only what a commit can affect, and
 * many clients that join at once make only tens of queries. `npm test` runs a small version;
 * `SCALE=25 npm run vitest -- test/service/access-scale` as in docs/security.md.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signToken } from '../support/service.ts';
import { RawClient } from './raw-client.ts';
import { memory, type Stage, stage } from './stage.ts';

const SCALE = Number(process.env['SCALE'] ?? 1);
const PER_CONNECTION = 500;
const CONNECTIONS = 4 * SCALE;
const SUBSCRIPTIONS = CONNECTIONS * PER_CONNECTION;
const CROWD = 200 * SCALE;
/** Maximum sockets that are being opened at the same time. */
const TOGETHER = 250;
const TIMEOUT_MS = 60_000 + SCALE * 10_000;

const SCHEMA = `
  create table notes (id int primary key, room int not null);
  alter table notes replica identity full;
  create table members (room int primary key, member text not null);
  create table users (name text primary key, role text not null, seen int not null default 0);
  create table tasks (id int primary key, member text not null);
  create function counts() returns trigger language plpgsql as
    $$ begin update users set seen = seen + 1 where name = new.member; return null; end $$;
  create trigger counts after insert on tasks for each row execute function counts();
  insert into users values ('m', 'editor');
  insert into members select n, 'm' from generate_series(1, ${SUBSCRIPTIONS}) n;
  create table unread (id int);
  create schema channels;
  create view channels."own:{room}" as select id, room from notes;
  create view channel_access."own:{room}" as select room, member as sub from members;
  create view channels."joined:{room}" as select id, room from notes;
  create view channel_access."joined:{room}" as
    select m.room, m.member as sub from members m join users u on u.name = m.member where u.role = 'editor';`;

let here: Stage;
let token: string;
beforeAll(async () => {
  here = await stage(SCHEMA, {
    SNO_ACCESS: 'views',
    SNO_MAX_CONNECTIONS_PER_ADDRESS: '0',
    SNO_MAX_FRAMES_PER_SECOND: '0',
  });
  await here.query('analyze');
  token = await signToken({ sub: 'm' });
});
afterAll(() => here.end());

/**
 * Returns the access queries and checks while `work` ran; prints the time, the service's CPU time
 * and its memory after it.
 */
async function cost(what: string, work: () => Promise<unknown>) {
  const read = async () => ({
    queries: await here.metric('sno_access_query_checks_count'),
    checks: await here.metric('sno_access_query_checks_sum'),
    seconds: await here.metric('sno_access_query_seconds_sum'),
    cpu: await here.metric('process_cpu_seconds_total'),
  });
  const before = await read();
  const startedAt = performance.now();
  await work();
  const ms = Math.round(performance.now() - startedAt);
  const after = await read();
  const [queries, checks] = [after.queries - before.queries, after.checks - before.checks];
  const queryMs = Math.round((after.seconds - before.seconds) * 1_000);
  if (SCALE > 1) {
    const cpuMs = Math.round((after.cpu - before.cpu) * 1_000);
    const megabytes = Math.round((await memory(here.service.pid, 'VmRSS')) / 2 ** 20);
    process.stdout.write(
      `access: ${what}: ${checks} checks, ${queries} queries of ${queryMs} ms, ${ms} ms in all, ${cpuMs} ms of CPU; ${megabytes} MB\n`,
    );
  }
  return { queries, checks };
}

/** As many channels of the pattern as there are subscriptions, over all connections. */
async function subscribeAll(clients: readonly RawClient[], pattern: string): Promise<void> {
  await Promise.all(
    clients.map(async (client, index) => {
      for (let n = 1; n <= PER_CONNECTION; n++)
        client.send({ type: 'subscribe', channel: `${pattern}:${index * PER_CONNECTION + n}` });
      await client.until('all are subscribed', () => client.frames.length === 1 + PER_CONNECTION);
      expect(client.frames.slice(1).every(({ type }) => type === 'subscribed')).toBe(true);
    }),
  );
}

const open = (count: number) => Promise.all(Array.from({ length: count }, () => RawClient.open(here.service, token)));

/** Resolves when each of them has received a row in its first channel. */
async function hearAll(clients: readonly RawClient[], id: number): Promise<void> {
  const heard = ({ frames }: RawClient) => frames.filter(({ type }) => type === 'changes').length;
  const before = clients.map(heard);
  await here.query('insert into notes select $1 * 1000000 + room, room from generate_series(1, $2, $3) room', [
    id,
    SUBSCRIPTIONS,
    PER_CONNECTION,
  ]);
  await Promise.all(
    clients.map((client, index) => client.until('the row', () => heard(client) > (before[index] as number))),
  );
}

test('a row that tells which channel it concerns makes Snö check only the subscriptions of that channel', {
  timeout: TIMEOUT_MS,
}, async () => {
  const clients = await open(CONNECTIONS);
  const joining = await cost(`${SUBSCRIPTIONS} subscriptions`, () => subscribeAll(clients, 'own'));
  expect(joining.checks).toBe(SUBSCRIPTIONS);
  const revoked = await cost('a row of a view of one table', async () => {
    await here.query('delete from members where room = 1');
    await clients[0]?.wait('its end', 0, ({ type, channel }) => type === 'unsubscribed' && channel === 'own:1');
  });
  expect(revoked).toEqual({ queries: 1, checks: 1 });
  await here.query("insert into members values (1, 'm')");
  const nothing = await cost('a table below no view, a row more', () => hearAll(clients.slice(1), 1));
  expect(nothing).toEqual({ queries: 0, checks: 0 });
  for (const client of clients) client.cut();
});

test('if the access view joins, a commit makes Snö check all its subscriptions, in batches', {
  timeout: TIMEOUT_MS,
}, async () => {
  const clients = await open(CONNECTIONS);
  await subscribeAll(clients, 'joined');
  const all = await cost(`${SUBSCRIPTIONS} subscriptions of a view that joins`, async () => {
    await here.query("update users set role = 'editor' where name = 'm'");
    await hearAll(clients, 2);
  });
  expect(all.checks).toBe(SUBSCRIPTIONS);
  expect(all.queries).toBeLessThan(20 + (3 * SUBSCRIPTIONS) / 500);
  for (const client of clients) client.cut();
});

test('a trigger updates counters in a joined table: the first commit causes checks, the next ten cause none, a real change ends access', {
  timeout: TIMEOUT_MS,
}, async () => {
  const clients = await open(1);
  await subscribeAll(clients, 'joined');
  // the service has not seen the row yet, and the WAL lacks the old row
  await here.query("insert into tasks values (0, 'm')");
  await hearAll(clients, 3);
  const busy = await cost('ten commits', async () => {
    for (let id = 1; id <= 10; id++) await here.query(`insert into tasks values (${id}, 'm')`);
    await hearAll(clients, 4);
  });
  expect(busy).toEqual({ queries: 0, checks: 0 });
  await here.query("update users set role = 'guest', seen = 0 where name = 'm'");
  await clients[0]?.wait('its end', 0, ({ type, code }) => type === 'unsubscribed' && code === 'access_revoked');
  await here.query("update users set role = 'editor' where name = 'm'");
  for (const client of clients) client.cut();
});

test('many clients that join at once, each a channel of its own, cause only tens of queries', {
  timeout: TIMEOUT_MS,
}, async () => {
  const clients: RawClient[] = [];
  const connecting = await cost(`${CROWD} TLS connections`, async () => {
    let left = CROWD;
    const arrive = async () => {
      while (left-- > 0) clients.push(await RawClient.open(here.service, token));
    };
    await Promise.all(Array.from({ length: TOGETHER }, arrive));
    await Promise.all(clients.map((client) => client.wait('welcome', 0, ({ type }) => type === 'welcome')));
  });
  expect(clients.length).toBe(CROWD);
  expect(connecting.queries).toBe(0);
  const { queries, checks } = await cost('all of them join', async () => {
    for (const [index, client] of clients.entries()) client.send({ type: 'subscribe', channel: `own:${index + 1}` });
    await Promise.all(clients.map((client) => client.wait('subscribed', 0, ({ type }) => type === 'subscribed')));
  });
  expect(checks).toBe(CROWD);
  expect(queries).toBeLessThan(Math.max(40, CROWD / 20));
  for (const client of clients) client.cut();
});
