/**
 * permessage-deflate of the real service: with `ws`, with a browser, and with clients that do not
 * offer it, side by side.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.ts';
import type { RawClient } from './raw-client.ts';
import { type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table notes (id int primary key, room int not null, body text not null);
  alter table notes replica identity full;
  insert into notes select i, 1, 'note ' || i || repeat(' and so on', 20) from generate_series(1, 3000) i;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;

let here: Stage;
let clients: readonly RawClient[];

beforeAll(async () => {
  here = await stage(SCHEMA, { SNO_ALLOWED_ORIGINS: '*' });
  clients = [await here.client(), await here.client(), await here.plainClient(), await here.plainClient()];
});
afterAll(() => here.end());

const frames = () => here.metric('sno_compressed_frames_total');

test('clients with and without compression receive the same snapshot and commits of every size', async () => {
  expect(clients.map(({ extensions }) => extensions)).toEqual(['permessage-deflate', 'permessage-deflate', '', '']);
  await Promise.all(clients.map((client) => client.subscribe('room:1', { snapshot: true })));
  const before = await frames();
  const sizes = [10, 1_000, 50_000, 1_000_000, 1_000];
  for (const [index, size] of sizes.entries())
    await here.query('insert into notes values ($1, 1, $2)', [5_000 + index, 'wörter '.repeat(size / 7)]);
  for (const client of clients) await client.until('the last', () => client.events('room:1').length === sizes.length);
  const [first, ...others] = clients.map((client) => ({
    rows: client.of('room:1', 'snapshot').flatMap(({ rows }) => rows ?? []),
    events: client.events('room:1'),
  }));
  expect(first?.rows.length).toBe(3_000);
  for (const other of others) expect(other).toEqual(first);
  // one of the five is too small to be compressed, and one is too large
  expect((await frames()) - before).toBe(3);
  const [saved, whole] = [
    await here.metric('sno_compressed_bytes_total{when="after"}'),
    await here.metric('sno_compressed_bytes_total{when="before"}'),
  ];
  expect(saved).toBeLessThan(whole / 5);
});

test('a browser receives compressed frames and sends compressed frames', async () => {
  const browser = await launchBrowser();
  try {
    const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
    const before = await frames();
    const heard = await page.evaluate(async (url) => {
      const socket = new WebSocket(url);
      const rows: unknown[] = [];
      await new Promise<void>((resolve, reject) => {
        socket.onopen = () => {
          // long enough for any browser to compress it
          socket.send(JSON.stringify({ type: 'hello', pad: 'x'.repeat(5_000) }));
          socket.send(JSON.stringify({ type: 'subscribe', channel: 'room:1', snapshot: true }));
        };
        socket.onmessage = ({ data }) => {
          const frame = JSON.parse(data as string) as { type: string; rows?: unknown[] };
          rows.push(...(frame.rows ?? []));
          if (frame.type === 'subscribed') resolve();
        };
        socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
      });
      return { extensions: socket.extensions, rows: rows.length };
    }, here.service.url);
    expect(heard.extensions).toBe('permessage-deflate; server_no_context_takeover; client_no_context_takeover');
    const { rows } = await here.query<{ count: number }>('select count(*)::int from notes where room = 1');
    expect(heard.rows).toBe(rows[0]?.count);
    expect(await frames()).toBeGreaterThan(before);
  } finally {
    await browser.close();
  }
});
