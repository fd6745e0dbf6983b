/**
 * Two processes take turns on one slot: a resume never skips commits that only the other process
 * read.
 */
import { afterEach, expect, test } from 'vitest';
import { freshDatabase } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { StartGate } from '../wal/start-gate.ts';
import { RawClient } from './raw-client.ts';

const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Subscribes to the channel on a service, and resumes if a position is given. */
async function follow(service: ServiceProcess, since?: string) {
  const client = await RawClient.open(service);
  ends.push(() => client.cut());
  return { client, answer: await client.subscribe('room:a', since === undefined ? {} : { since }) };
}

test('resets a client whose position lies before what another process confirmed', async () => {
  const database = await freshDatabase();
  ends.push(() => database.drop());
  await database.query(`create table notes (id int primary key, room text not null);
      alter table notes replica identity full;
      create schema channels;
      create view channels."room:{room}" as select id, room from notes`);
  const gate = new StartGate(database.url);
  await gate.open();
  ends.push(() => gate.close());
  const settings = { SNO_ACCESS: 'open', SNO_SLOT: database.name };
  const first = await startService(gate.through(database.url), settings);
  ends.push(() => first.remove());
  const { client } = await follow(first);
  await database.query("insert into notes values (1, 'a')");
  await client.until('the commit', () => client.events('room:a').length === 1);
  const since = client.frames.find(({ type }) => type === 'changes')?.position as string;
  await first.kill();

  gate.beforeNextStart(async () => {
    const second = await startService(database.url, { ...settings, SNO_REPLAY_SECONDS: '0' });
    ends.push(() => second.remove());
    const { client: other } = await follow(second, since);
    await database.query("insert into notes values (2, 'a')");
    await other.until('the commit', () => other.events('room:a').length === 1);
    await second.terminate();
  });
  await first.restart();
  const msg = expect.stringContaining('changed while it was being opened');
  await first.logged({ level: 'warn', code: 'slot_lost', msg });
  const { client: again, answer } = await follow(first, since);
  expect(answer).toMatchObject({ type: 'reset', reason: 'position_too_old' });
  expect(await again.subscribe('room:a', { snapshot: true })).toMatchObject({ type: 'subscribed' });
  const rows = again.frames.flatMap(({ rows }) => rows ?? []).map(({ key }) => key['id']);
  expect(rows.sort()).toEqual([1, 2]);
  await database.query("insert into notes values (3, 'a')");
  await until(() => again.events('room:a').length === 1, 'the next commit has come');
});
