/**
 * Snö gives up a commit that Postgres cannot decode, and the service goes on, also if it starts
 * there.
 */
import { expect, test } from 'vitest';
import { freshDatabase } from '../support/postgres.ts';
import { startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { readMetric } from './stage.ts';

test('resets its subscribers with slot_lost and goes on; a process that starts at that commit serves too', async () => {
  const database = await freshDatabase();
  await database.query(`create table notes (id int primary key);
    create table filtered (id int primary key);
    create schema channels;
    create view channels."note:{id}" as select id from notes`);
  const settings = { SNO_ACCESS: 'open', SNO_SLOT: database.name, SNO_UNDECODABLE_SECONDS: '1' };
  const service = await startService(database.url, settings);
  await database.query('alter publication sno add table filtered where (10 / id > 0)');
  const client = await RawClient.open(service);
  await client.subscribe('note:1');
  const { position } = await client.subscribe('note:2');
  await database.query('insert into filtered values (0)');
  await client.wait('the reset', 0, ({ type, reason }) => type === 'reset' && reason === 'slot_lost');
  expect(await readMetric(service, 'sno_undecodable_total')).toBeGreaterThanOrEqual(3);
  expect(await readMetric(service, 'sno_slot_lost_total')).toBe(1);
  await service.logged({ level: 'error', code: 'slot_lost', msg: expect.stringContaining('could not read on') });
  expect((await client.subscribe('note:1', { snapshot: true })).type).toBe('subscribed');
  await database.query('insert into notes values (1)');
  await until(() => client.events('note:1').length > 0, 'a commit after it has come');
  client.cut();
  await service.kill();

  await database.query('delete from filtered');
  await database.query('insert into filtered values (0)');
  await database.query('insert into notes values (2)');
  await service.restart();
  const again = await RawClient.open(service);
  expect(await again.subscribe('note:2', { since: position as string })).toMatchObject({ type: 'reset' });
  expect((await again.subscribe('note:2', { snapshot: true })).type).toBe('subscribed');
  expect(again.frames.flatMap(({ rows }) => rows ?? []).map(({ key }) => key)).toEqual([{ id: 2 }]);
  again.cut();
  await service.remove();
  await database.drop();
});
