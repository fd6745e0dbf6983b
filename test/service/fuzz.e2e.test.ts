/**
 * What clients may send, at random, against the service as a process of its own: it goes on, tells nobody what he may not hear, and
 * keeps its size. `npm test` sends little of it, from a seed; `FUZZ=250 npm run vitest -- test/service/fuzz` sends 200,000 streams.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RawSocket } from '../gateway/raw-socket.ts';
import { request, stream } from '../support/client-input.ts';
import { FUZZ_MS, fuzz, tellFuzz } from '../support/fuzz.ts';
import { signToken } from '../support/service.ts';
import { RawClient } from './raw-client.ts';
import { memory, type Stage, stage } from './stage.ts';

/** Connections at a time. */
const TOGETHER = 20;
const HIDDEN = 'nobody-may-read-this';
/** What may come with caches that fill: compiled code, buffers that are kept. */
const GROWTH_BYTES_MAX = 64e6;

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
  create view channel_access."room:{room}" as select room from (values ('probe'), ('1')) open (room);`;

let here: Stage;
let probe: RawClient;
beforeAll(async () => {
  const plain = { SNO_TLS_CERT: '', SNO_TLS_KEY: '', SNO_MAX_CONNECTIONS_PER_ADDRESS: '0', SNO_LOG_LEVEL: 'info' };
  here = await stage(SCHEMA, { SNO_ACCESS: 'views', ...plain });
  const { port, certificate } = here.service;
  probe = await RawClient.open({ url: `ws://127.0.0.1:${port}/v1`, certificate }, await signToken({ sub: 'm' }));
  expect((await probe.subscribe('room:probe')).type).toBe('subscribed');
});
afterAll(() => here.end());

let committed = 0;

/** That the service lives: a commit with rows of a hidden channel and of one that is heard. */
async function probed(): Promise<void> {
  committed += 2;
  const id = committed;
  await here.query('insert into notes values ($1, $2, $3), ($1 + 1, $4, $5)', [id, 'hidden', HIDDEN, 'probe', 'x']);
  await probe.wait('the commit', 0, ({ events }) => events?.[0]?.key?.['id'] === id + 1);
  probe.frames.length = 0;
}

test('bytes over websockets', { timeout: FUZZ_MS }, async () => {
  const { numRuns, seed } = fuzz(40);
  const sizes: number[] = [];
  const target = { port: here.service.port };
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(stream, { minLength: TOGETHER, maxLength: TOGETHER }), async (streams) => {
      const sockets = await Promise.all(
        streams.map(async (chunks) => {
          const raw = await RawSocket.upgraded(target);
          for (const chunk of chunks) await raw.send(chunk);
          return raw;
        }),
      );
      await probed();
      for (const raw of sockets) {
        expect(raw.received.includes(HIDDEN)).toBe(false);
        raw.socket.destroy();
      }
      if (++runs % Math.max(1, Math.floor(numRuns / 10)) === 0) sizes.push(await memory(here.service.pid, 'VmRSS'));
    }),
    { numRuns, seed, endOnFailure: true },
  );
  expect(here.service.isRunning).toBe(true);
  // the first tenth warms it up
  const [first = 0, last = 0] = [sizes[0], sizes.at(-1)];
  tellFuzz('websocket streams to the service', numRuns * TOGETHER, seed, [first, last]);
  expect(last - first).toBeLessThan(GROWTH_BYTES_MAX);
  expect(await here.metric('sno_connections')).toBeGreaterThanOrEqual(1);
});

test('requests over one connection after the other', { timeout: FUZZ_MS }, async () => {
  const { numRuns, seed } = fuzz(40);
  const before = await memory(here.service.pid, 'VmRSS');
  let count = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 50, maxLength: 50 }), async (requests) => {
      const url = `ws://127.0.0.1:${here.service.port}/v1`;
      const client = await RawClient.open({ url, certificate: here.service.certificate });
      for (const each of requests) client.send(each as never);
      count += requests.length;
      await probed();
      expect(JSON.stringify(client.frames)).not.toContain(HIDDEN);
      client.cut();
    }),
    { numRuns, seed, endOnFailure: true },
  );
  const after = await memory(here.service.pid, 'VmRSS');
  tellFuzz('requests to the service', count, seed, [before, after]);
  expect(after - before).toBeLessThan(GROWTH_BYTES_MAX);
});
