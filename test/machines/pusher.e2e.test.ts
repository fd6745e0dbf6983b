/**
 * Pusher's HTTP API over two machines that NATS joins: one socket is left out, and all are counted.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { PusherClient, signedPath } from '../support/pusher-client.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create schema channels;
  create view channel_access."room:{id}" as select id from generate_series(1, 9) id;
`;
const APP = { id: '1001', key: 'app-key', secret: 'app-secret' };

let nats: NatsServer;
let one: Stage;
let two: ServiceProcess;
const clients: PusherClient[] = [];

beforeAll(async () => {
  nats = await startNats();
  const settings = {
    SNO_ACCESS: 'views',
    SNO_NATS_URL: nats.url,
    SNO_WORKERS: '2',
    SNO_TLS_CERT: '',
    SNO_TLS_KEY: '',
    SNO_PUSHER_APP_ID: APP.id,
    SNO_PUSHER_KEY: APP.key,
    SNO_PUSHER_SECRET: APP.secret,
  };
  one = await stage(SCHEMA, settings);
  two = await startService(one.database.url, { ...settings, SNO_SLOT: one.database.name, SNO_ROLE: 'gateway' });
});
afterAll(async () => {
  for (const { socket } of clients) socket.terminate();
  await two?.remove();
  await one?.end();
  await nats?.remove();
});

async function joined({ port }: ServiceProcess): Promise<{ readonly client: PusherClient; readonly id: string }> {
  const client = new PusherClient(`ws://127.0.0.1:${port}/app/${APP.key}`);
  clients.push(client);
  const id = await client.established();
  client.subscribe('room:1');
  await client.succeeded('room:1');
  return { client, id };
}

async function publish({ port }: ServiceProcess, event: object): Promise<number> {
  const body = JSON.stringify(event);
  const path = signedPath(APP, 'POST', `/apps/${APP.id}/events`, body);
  return (await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body })).status;
}

async function counted({ port }: ServiceProcess): Promise<readonly [status: number, count: unknown]> {
  const path = signedPath(APP, 'GET', `/apps/${APP.id}/channels`, '', { info: 'subscription_count' });
  const answer = await fetch(`http://127.0.0.1:${port}${path}`);
  const { channels } = (await answer.json()) as { channels?: Record<string, { subscription_count: number }> };
  return [answer.status, channels?.['room:1']?.subscription_count];
}

test('a socket is left out on whichever machine it is; a machine that is gone is not counted, and not forgotten early', async () => {
  const services = [one.service, two, one.service, two, one.service, two] as const;
  const all = await Promise.all(services.map(joined));
  for (const [index, { id }] of all.entries()) {
    // Through either machine, for a socket on either machine.
    const through = services[(index >> 1) % 2] as ServiceProcess;
    expect(await publish(through, { name: 'moved', channel: 'room:1', data: { index }, socket_id: id })).toBe(200);
  }
  expect(await publish(two, { name: 'last', channel: 'room:1', data: {} })).toBe(200);
  for (const { client } of all) await client.wait('last', 'room:1');
  const heard = ({ client }: (typeof all)[number]) =>
    client.frames.filter(({ event }) => event === 'moved').map(({ data }) => data?.['index']);
  expect(all.map(heard)).toEqual(all.map((_, own) => all.map((_, index) => index).filter((index) => index !== own)));

  expect(await counted(one.service)).toEqual([200, 6]);
  expect(await counted(two)).toEqual([200, 6]);
  await two.kill();
  // Its clients may be connected: it may be the network.
  expect(await counted(one.service)).toEqual([503, undefined]);
  expect(await until(async () => (await counted(one.service))[1], 'the machine is known to be gone', 60_000)).toBe(3);
});
