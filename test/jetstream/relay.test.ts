/** The stream as Snö uses it, on a real server. */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect as connectNats } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Relay } from '../../src/jetstream/connection.ts';
import { type Kind, sealed } from '../../src/jetstream/envelope.ts';
import { isWrongLastSequence } from '../../src/jetstream/fault.ts';
import { StreamFollowing } from '../../src/jetstream/follower.ts';
import { createLogger } from '../../src/logger.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { until } from '../support/wait.ts';

let nats: NatsServer;
const relays: Relay[] = [];

beforeAll(async () => {
  nats = await startNats();
});
afterAll(async () => {
  await Promise.all(relays.map((relay) => relay.close()));
  await nats?.remove();
});

async function connect(stream = 'SNO'): Promise<Relay> {
  const relay = await Relay.connect({
    servers: [nats.url],
    credsFile: undefined,
    caFile: undefined,
    stream,
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

/** A message without steps that leads from one LSN to another. */
function message(kind: Kind, term: string, number: number, from: number, to: number): Buffer {
  const place = (lsn: number) => ({ lsn, index: 0, parts: 0 });
  const head = { kind, isLast: true, piece: 0, term: term.repeat(16), number, state: 1, epoch: 'e-1' };
  return sealed({ ...head, from: place(from), to: place(to) }, Buffer.alloc(0));
}

test('what is published again while a process searches for its place is no hole', async () => {
  const relay = await connect('LOST');
  await relay.ensureStream();
  await relay.publish(message('state', 'a', 1, 10, 10), 0);
  await relay.publish(message('steps', 'a', 2, 10, 20), 1);
  let measured: () => Promise<void> = async () => undefined;
  let reconnected: () => void = () => undefined;
  let holes = 0;
  const nothing = () => undefined;
  const following = new StreamFollowing({
    relay: {
      follow: (...args) => relay.follow(...args),
      message: (sequence) => relay.message(sequence),
      lastMessage: () => relay.lastMessage(),
      ensureStream: () => relay.ensureStream(),
      isConnected: true,
      onChange(listener) {
        reconnected = listener;
        return nothing;
      },
      async bounds() {
        const bounds = await relay.bounds();
        await measured();
        return bounds;
      },
    },
    steps: {
      moveTo: nothing,
      begin: nothing,
      append: nothing,
      marker: nothing,
      define: nothing,
      setKnown: nothing,
      flush: nothing,
    },
    now: () => performance.now(),
    logger: createLogger('silent'),
    onHole: () => holes++,
    onFailed: (error) => {
      throw error;
    },
  });
  await following.start();
  await until(() => following.sequence === 2, 'it has read everything');
  const connection = await connectNats({ servers: nats.url });
  await (await jetstreamManager(connection)).streams.deleteMessage('LOST', 2);
  await connection.close();
  let times = 0;
  measured = async () => {
    if (++times === 2) await relay.publish(message('steps', 'b', 1, 10, 20), 2);
  };
  reconnected();
  await until(() => following.sequence === 3, 'it has read what was published again');
  following.stop();
  expect(holes).toBe(0);
});
