/**
 * Random input from clients to a service in its own process: it goes on, sends no client what that
 * client may not receive, and does not grow. `npm test` sends little of it, from a seed; `FUZZ=250
 * npm run vitest -- test/service/fuzz` sends 200,000 streams.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RawSocket } from '../gateway/raw-socket.ts';
import { request, stream } from '../support/client-input.ts';
import { freePort } from '../support/free-port.ts';
import { FUZZ_MS, fuzz, tellFuzz } from '../support/fuzz.ts';
import { Heap } from '../support/heap.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { memory, type Stage, stage } from './stage.ts';

/** Connections at the same time. */
const TOGETHER = 20;
/** Requests over one connection. */
const REQUESTS = 50;
const HIDDEN = 'nobody-may-read-this';
/** Bytes by which live memory may grow after the warm-up: compiled code. */
const GROWTH_BYTES_MAX = 8e6;

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
  create view channel_access."room:{room}" as select room from (values ('probe'), ('1')) open (room);`;

let here: Stage;
let probe: RawClient;
let heap: Heap;
beforeAll(async () => {
  const plain = { SNO_TLS_CERT: '', SNO_TLS_KEY: '', SNO_MAX_CONNECTIONS_PER_ADDRESS: '0', SNO_LOG_LEVEL: 'info' };
  const inspector = await freePort();
  here = await stage(SCHEMA, {
    SNO_ACCESS: 'views',
    NODE_OPTIONS: `--inspect=127.0.0.1:${inspector}`,
    ...plain,
  });
  heap = await Heap.inspect(inspector);
  const { port, certificate } = here.service;
  probe = await RawClient.open({ url: `ws://127.0.0.1:${port}/v1`, certificate }, await signToken({ sub: 'm' }));
  expect((await probe.subscribe('room:probe')).type).toBe('subscribed');
});
afterAll(() => {
  heap.close();
  return here.end();
});

let committed = 0;

/**
 * Checks that the service lives: commits rows of a hidden channel and of a channel with a
 * subscriber.
 */
async function probed(): Promise<void> {
  committed += 2;
  const id = committed;
  await here.query('insert into notes values ($1, $2, $3), ($1 + 1, $4, $5)', [id, 'hidden', HIDDEN, 'probe', 'x']);
  await probe.wait('the commit', 0, ({ events }) => events?.[0]?.key?.['id'] === id + 1);
  probe.frames.length = 0;
}

/**
 * MB of what is alive in the service beyond its journal once its clients have gone, and of its
 * resident size.
 */
class Sizes {
  readonly #alive: number[] = [];
  readonly #resident: number[] = [];

  async take(): Promise<void> {
    await until(async () => (await here.metric('sno_connections')) === 1, 'all but the probe have gone');
    // the journal's size is no leak
    const journal = await here.metric('sno_journal_bytes');
    this.#alive.push((await heap.aliveBytes()) - journal);
    this.#resident.push(await memory(here.service.pid, 'VmRSS'));
  }

  get text(): string {
    const text = (sizes: readonly number[]) => sizes.map((bytes) => Math.round(bytes / 2 ** 20)).join(' ');
    return `alive ${text(this.#alive)} MB, resident ${text(this.#resident)} MB`;
  }

  /** Growth of live bytes since the first measurement. */
  get growth(): number {
    return (this.#alive.at(-1) ?? 0) - (this.#alive[0] ?? 0);
  }
}

/** Runs `send` many times; measures memory after each tenth, or after each half in a small run. */
async function flood<T>(what: string, arbitrary: fc.Arbitrary<T>, inputs: number, send: (each: T) => Promise<void>) {
  const { numRuns, seed } = fuzz(40);
  const sizes = new Sizes();
  let runs = 0;
  const property = fc.asyncProperty(arbitrary, async (each) => {
    await send(each);
    if (++runs % Math.floor(numRuns / (numRuns > 100 ? 10 : 2)) === 0) await sizes.take();
  });
  await fc.assert(property, { numRuns, seed, endOnFailure: true });
  tellFuzz(what, numRuns * inputs, seed, sizes.text);
  expect(here.service.isRunning).toBe(true);
  expect(sizes.growth, sizes.text).toBeLessThan(GROWTH_BYTES_MAX);
}

test('random bytes over websockets', { timeout: FUZZ_MS }, async () => {
  const target = { port: here.service.port };
  const streams = fc.array(stream, { minLength: TOGETHER, maxLength: TOGETHER });
  await flood('websocket streams to the service', streams, TOGETHER, async (each) => {
    const sockets = await RawSocket.sending(target, each);
    await probed();
    for (const raw of sockets) {
      expect(raw.received.includes(HIDDEN)).toBe(false);
      raw.socket.destroy();
    }
  });
});

test('random requests over one connection after the other', { timeout: FUZZ_MS }, async () => {
  const { port, certificate } = here.service;
  const requests = fc.array(request, { minLength: REQUESTS, maxLength: REQUESTS });
  await flood('requests to the service', requests, REQUESTS, async (each) => {
    const client = await RawClient.open({ url: `ws://127.0.0.1:${port}/v1`, certificate });
    for (const frame of each) client.send(frame as never);
    await probed();
    expect(JSON.stringify(client.frames)).not.toContain(HIDDEN);
    client.cut();
  });
});
