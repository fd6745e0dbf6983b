/** Machines with different SNO_COMMIT_BYTES: one takes over while the other publishes parts. */
import { expect, test } from 'vitest';
import { RawClient } from '../service/raw-client.ts';
import { stage } from '../service/stage.ts';
import { startNats } from '../support/nats/server.ts';
import { startService } from '../support/service.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;
const ROWS = 60_000;

test('a machine that cuts commits otherwise does not continue half a commit: its subscribers are reset', async () => {
  const nats = await startNats();
  const settings = { SNO_NATS_URL: nats.url, SNO_ACCESS: 'open' };
  const one = await stage(SCHEMA, { ...settings, SNO_COMMIT_BYTES: '128kB' });
  const shared = { ...settings, SNO_SLOT: one.database.name, SNO_PUBLICATION: 'sno', SNO_COMMIT_BYTES: '1MB' };
  const two = await startService(one.database.url, shared);
  try {
    const client = await RawClient.open(two);
    await client.subscribe('room:a');
    await one.query(`insert into notes select g, 'a', repeat('x', 100) from generate_series(1, ${ROWS}) g`);
    await client.wait('a part', 0, ({ events }) => events !== undefined);
    await one.service.kill();
    const isLast = (id: unknown) => id === ROWS;
    await client.wait(
      'the end',
      0,
      ({ type, events }) => type === 'reset' || events?.some(({ key }) => isLast(key?.['id'])) === true,
    );
    const ids = client.frames.flatMap(({ events }) => (events ?? []).map(({ key }) => key?.['id']));
    expect(ids).toEqual(Array.from({ length: ids.length }, (_, index) => index + 1));
    expect(ids.length === ROWS || client.frames.at(-1)?.type === 'reset').toBe(true);
    client.cut();
  } finally {
    await two.remove();
    await one.end();
    await nats.remove();
  }
});
