/** Presence and sends over two machines that NATS joins: one of them is killed. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RawClient } from '../service/raw-client.ts';
import { enter, hasSeenLeave, ROOM, ROOM_SETTINGS, shows } from '../service/room.ts';
import { type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { type ServiceProcess, startService } from '../support/service.ts';

let nats: NatsServer;
let one: Stage;
let two: ServiceProcess;
const clients: RawClient[] = [];
beforeAll(async () => {
  nats = await startNats();
  const settings = { ...ROOM_SETTINGS, SNO_NATS_URL: nats.url };
  one = await stage(ROOM, settings);
  two = await startService(one.database.url, { ...settings, SNO_SLOT: one.database.name, SNO_ROLE: 'gateway' });
});
afterAll(async () => {
  for (const client of clients) client.cut();
  await two?.remove();
  await one?.end();
  await nats?.remove();
});

async function member(service: ServiceProcess, user: string): Promise<RawClient> {
  const client = await enter(service, user);
  clients.push(client);
  return client;
}

test('both machines show the same members and pass sends on; one that is killed loses its members, but none that comes back', async () => {
  const ada = await member(one.service, 'ada');
  const far = [await member(two, 'bob'), await member(two, 'cy')];
  for (const client of [ada, ...far]) await shows(client, 'ada', 'bob', 'cy');
  far[0]?.send({ type: 'send', channel: 'room:1', event: 'wave', data: 1 });
  expect(await ada.wait('wave', 0, ({ event }) => event === 'wave')).toMatchObject({ from: 'bob', data: 1 });
  ada.send({ type: 'send', channel: 'room:1', event: 'back' });
  for (const client of far) await client.wait('back', 0, ({ event }) => event === 'back');

  await two.kill();
  await member(one.service, 'cy');
  await shows(ada, 'ada', 'cy');
  expect(hasSeenLeave(ada, 'cy')).toBe(false);
  expect(hasSeenLeave(ada, 'bob')).toBe(true);

  // It comes back as another process, with no members.
  await two.restart();
  const bob = await member(two, 'bob');
  for (const client of [ada, bob]) await shows(client, 'ada', 'bob', 'cy');
});
