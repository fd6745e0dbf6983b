/** Presence views and send views in the catalog: what Snö serves, and what it refuses by name. */
import { expect, test } from 'vitest';
import { readCatalog } from '../../src/channels/catalog/reader.ts';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { createClient } from '../../src/postgres/connect.ts';
import { ensureSetup } from '../../src/setup/apply.ts';
import { freshDatabase } from '../support/postgres.ts';

const VIEWS = `
  create table items (room int, sub text, name text, primary key (room, sub)); alter table items replica identity full;
  create schema channels; create schema channel_access; create schema channel_presence; create schema channel_send;
  create view channels."room:{room}" as select room, sub, name from items;
  create view channel_access."room:{room}" as select room, sub from items;
  create view channel_presence."room:{room}" as select room, sub, name from items;
  create view channel_send."room:{room}" as select room, sub from items;
  create view channel_access."only:{room}" as select room, sub from items;
  create view channel_send."only:{room}" as select room, sub from items;
  create view channel_access."bad:{room}" as select room, sub from items;
  create view channel_presence."bad:{room}" as select room, name from items;
  create view channel_send."bad:{room}" as select sub from items;
  create view channel_presence."alone:{sub}" as select sub, name from items;
  create materialized view channel_send."kept:{room}" as select room, sub from items;
`;

test('a malformed presence view or send view is refused by its name, and its channel is served without it', async () => {
  await loadParser();
  const database = await freshDatabase();
  const client = createClient(database.url, 'test');
  await client.connect();
  try {
    await database.query(VIEWS);
    await ensureSetup(client, { publication: 'sno', identities: true });
    const registry = new ChannelRegistry('sno');
    registry.load(await readCatalog(client, 'sno'));
    const refused = registry.refusals().map(({ schema, pattern, error }) => [`${schema}:${pattern}`, error.message]);
    expect(Object.fromEntries(refused)).toEqual({
      'channel_presence:bad:{room}': expect.stringMatching(/^channel_presence\."bad:\{room\}" has no column sub/),
      'channel_send:bad:{room}': expect.stringMatching(/^channel_send\."bad:\{room\}" .*room/),
      'channel_presence:alone:{sub}': expect.stringMatching(/\{sub\} is a placeholder, but sub must name the member/),
      'channel_send:kept:{room}': expect.stringMatching(/^channel_send\."kept:\{room\}" is not a view/),
    });
    const found = (name: string) => {
      const channel = registry.resolve(name);
      return 'access' in channel
        ? [channel.view, channel.access, channel.presence, channel.send].map((one) => one !== undefined)
        : channel.code;
    };
    expect(found('room:1')).toEqual([true, true, true, true]);
    expect(found('only:1')).toEqual([false, true, false, true]);
    expect(found('bad:1')).toEqual([false, true, false, false]);
    expect(found('alone:x')).toBe('channel_unavailable');
  } finally {
    await client.end();
    await database.drop();
  }
});
