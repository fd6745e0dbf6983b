/** A machine that is cut off from the stream while another one goes on. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sno } from '../cli/run.ts';
import { RawClient } from '../service/raw-client.ts';
import { type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { type SilentProxy, startSilentProxy } from '../support/silent-proxy.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room from notes;
`;

let nats: NatsServer;
let proxy: SilentProxy;
let one: Stage;
let two: ServiceProcess;
let ids = 0;

beforeAll(async () => {
  nats = await startNats();
  proxy = await startSilentProxy(nats.port);
  const settings = { SNO_ACCESS: 'open', SNO_RELAY_SILENCE_SECONDS: '5' };
  one = await stage(SCHEMA, { ...settings, SNO_NATS_URL: nats.url });
  const far = { SNO_NATS_URL: `nats://127.0.0.1:${proxy.port}`, SNO_ROLE: 'gateway', SNO_WORKERS: '1' };
  two = await startService(one.database.url, { ...settings, ...far, SNO_SLOT: one.database.name });
});
afterAll(async () => {
  await two?.remove();
  await one?.end();
  await proxy?.close();
  await nats?.remove();
});

async function insert(): Promise<number> {
  const id = ++ids;
  await one.query(`insert into notes values (${id}, 'a')`);
  return id;
}

const has = (client: RawClient, id: number) =>
  client.wait(`row ${id}`, 0, ({ events }) => events?.some(({ key }) => key?.['id'] === id) === true);

const readiness = async () => {
  const answer = await fetch(`http://127.0.0.1:${two.adminPort}/readyz`);
  return { code: answer.status, ...((await answer.json()) as { readonly reason?: string }) };
};

test('it closes its clients with 1013 and refuses others; the other machine goes on; its clients resume exactly', async () => {
  const [near, far] = [await one.client('room:a'), await RawClient.open(two)];
  expect(await far.subscribe('room:a')).toMatchObject({ type: 'subscribed' });
  const first = await insert();
  await has(far, first);
  const since = far.frames.at(-1)?.position as string;
  proxy.silence();
  await insert();
  await has(near, ids);
  expect(await far.closed).toBe(1013);
  expect(await readiness()).toMatchObject({ code: 503, reason: expect.stringMatching(/NATS|cut off/) as string });
  await expect(RawClient.open(two)).rejects.toThrow('503');
  proxy.speak();
  await until(async () => (await readiness()).code === 200, 'it serves again');
  const again = await RawClient.open(two);
  expect(await again.subscribe('room:a', { since })).toMatchObject({ type: 'subscribed', recovered: true });
  await insert();
  await has(again, ids);
  expect(again.frames.flatMap(({ events }) => (events ?? []).map(({ key }) => key?.['id']))).toEqual([ids - 1, ids]);
  again.cut();
});

test('while NATS is down for all, clients stay connected to both machines', async () => {
  const [near, far] = [await one.client('room:a'), await RawClient.open(two)];
  expect(await far.subscribe('room:a')).toMatchObject({ type: 'subscribed' });
  await nats.kill();
  await insert();
  // Longer than SNO_RELAY_SILENCE_SECONDS: the silence is told by the machine itself.
  const silence = 'sno_relay_silence_seconds';
  await until(async () => {
    const text = await (await fetch(`http://127.0.0.1:${two.adminPort}/metrics`)).text();
    return Number(new RegExp(`^${silence} (.*)$`, 'm').exec(text)?.[1]) > 8;
  }, 'the machine has heard nothing for 8 s');
  await nats.start();
  await Promise.all([has(near, ids), has(far, ids)]);
  far.cut();
});

test('sno doctor shows which machine reads the WAL, the stream, and who reads it', async () => {
  const { code, stdout } = await sno(['doctor'], {
    SNO_DATABASE_URL: one.database.url,
    SNO_SLOT: one.database.name,
    SNO_NATS_URL: nats.url,
  });
  expect(stdout).toMatch(/ok\s+slot \S+ is read by "sno replication"/);
  expect(stdout).toMatch(/ok\s+connected to NATS 2\./);
  expect(stdout).toMatch(/ok\s+the stream SNO keeps \d+ messages/);
  expect(stdout).toMatch(/warn\s+one server keeps the stream/);
  expect(stdout).toMatch(/ok\s+the newest message is \d+ s old/);
  expect(stdout.match(/sno_\S+ reads the stream, \d+ messages behind/g)?.length).toBeGreaterThanOrEqual(2);
  expect(code).toBe(0);
});
