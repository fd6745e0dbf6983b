/** The stream as Snö uses it, on a real server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Relay } from '../../src/jetstream/connection.ts';
import { isWrongLastSequence } from '../../src/jetstream/fault.ts';
import { createLogger } from '../../src/logger.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';

let nats: NatsServer;
const relays: Relay[] = [];

beforeAll(async () => {
  nats = await startNats();
});
afterAll(async () => {
  await Promise.all(relays.map((relay) => relay.close()));
  await nats?.remove();
});

async function connect(): Promise<Relay> {
  const relay = await Relay.connect({
    servers: [nats.url],
    credsFile: undefined,
    caFile: undefined,
    stream: 'SNO',
    replicas: 1,
    maxAgeMs: 3_600_000,
    maxBytes: 1 << 24,
    logger: createLogger('silent'),
  });
  relays.push(relay);
  return relay;
}

test('of two processes that publish after the same message, one is refused, and the stream keeps the other one', async () => {
  const [one, two] = [await connect(), await connect()];
  await one.ensureStream();
  await one.publish(Buffer.from('first'), 0);
  const refusal = await two.publish(Buffer.from('late'), 0).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(isWrongLastSequence(refusal)).toBe(true);
  expect(await two.bounds()).toMatchObject({ last: 1, count: 1 });
  expect((await two.lastMessage())?.bytes.toString()).toBe('first');
  await two.publish(Buffer.from('second'), 1);
  expect(await one.bounds()).toMatchObject({ last: 2, count: 2 });
});
