/** Presence and sends over workers: the same on all of them, also when one is killed. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../support/wait.ts';
import { workersOf } from '../support/workers.ts';
import type { RawClient } from './raw-client.ts';
import { enter, hasSeenLeave, ROOM, ROOM_SETTINGS, shows } from './room.ts';
import { readMetric, type Stage, stage } from './stage.ts';

const USERS = ['ada', 'bob', 'cy', 'dan', 'eve', 'fay'];

let here: Stage;
const clients = new Map<string, RawClient>();
beforeAll(async () => {
  here = await stage(ROOM, { ...ROOM_SETTINGS, SNO_WORKERS: '2' });
});
afterAll(async () => {
  for (const client of clients.values()) client.cut();
  await here?.end();
});

test('clients of all workers see all members, and receive what the others send', async () => {
  for (const user of USERS) clients.set(user, await enter(here.service, user));
  for (const client of clients.values()) await shows(client, ...USERS);
  expect(await readMetric(here.service, 'sno_presence_members')).toBe(USERS.length);
  const ada = clients.get('ada') as RawClient;
  ada.send({ type: 'send', channel: 'room:1', event: 'wave', data: [1] });
  for (const [user, client] of clients)
    if (user !== 'ada')
      expect(await client.wait('wave', 0, ({ event }) => event === 'wave')).toMatchObject({ from: 'ada' });
  expect(ada.frames.some(({ event }) => event === 'wave')).toBe(false);
});

test('a worker is killed: members that come back were never gone, the others leave', async () => {
  const [killed = 0] = await workersOf(here.service.pid);
  const open = new Set(USERS);
  for (const [user, client] of clients) void client.closed.then(() => open.delete(user));
  process.kill(killed, 'SIGKILL');
  await until(() => open.size < USERS.length && open.size > 0, 'the clients of one worker are closed');
  await until(async () => (await workersOf(here.service.pid)).every((pid) => pid !== killed), 'the worker has ended');
  const gone = USERS.filter((user) => !open.has(user));
  const [back = ''] = gone;
  const watching = clients.get([...open][0] as string) as RawClient;
  clients.set(back, await enter(here.service, back));
  await shows(watching, ...open, back);
  await shows(clients.get(back) as RawClient, ...open, back);
  expect(hasSeenLeave(watching, back)).toBe(false);
});
