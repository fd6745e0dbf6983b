/** The stream as Snö uses it, on a real server. */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect as connectNats } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Relay } from '../../src/jetstream/connection.ts';
import { type Kind, sealed } from '../../src/jetstream/envelope.ts';
import { isWrongLastSequence } from '../../src/jetstream/fault.ts';
import { StreamFollowing } from '../../src/jetstream/follower.ts';
import { lastPlace } from '../../src/jetstream/last-place.ts';
import { findPlace } from '../../src/jetstream/search.ts';
import { createLogger } from '../../src/logger.ts';
import { HEADER_BYTES } from '../../src/relay/format.ts';
import { Installation, OWNER_BYTES } from '../../src/relay/installation.ts';
import { NOTHING, Replica } from '../../src/relay/replica.ts';
import { StepWriter } from '../../src/relay/step-writer.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { until } from '../support/wait.ts';

let nats: NatsServer;
const relays: Relay[] = [];

beforeAll(async () => {
  nats = await startNats({ jetstream: { max_file_store: 1 << 28 } });
});
afterAll(async () => {
  await Promise.all(relays.map((relay) => relay.close()));
  await nats?.remove();
});

async function connect(stream = 'SNO', maxBytes = 1 << 24, url = nats.url): Promise<Relay> {
  const relay = await Relay.connect({
    servers: [url],
    credsFile: undefined,
    caFile: undefined,
    stream,
    replicas: 1,
    maxAgeMs: 3_600_000,
    maxBytes,
    logger: createLogger('silent'),
  });
  relays.push(relay);
  return relay;
}

test('of two processes that publish after the same message, one is refused, and the stream keeps the other one', async () => {
  const [one, two] = [await connect(), await connect()];
  await one.ensureStream();
  const first = message('steps', { term: 'a', number: 1, from: 10, to: 20 });
  await one.publish(first, 0);
  const refusal = await two.publish(Buffer.from('late'), 0).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(isWrongLastSequence(refusal)).toBe(true);
  expect(await two.bounds()).toMatchObject({ last: 1, count: 1 });
  expect((await two.lastMessage())?.bytes).toEqual(first);
  await two.publish(Buffer.from('second'), 1);
  expect(await one.bounds()).toMatchObject({ last: 2, count: 2 });
});

test('a stream for which JetStream has no room is an error that says what to do', async () => {
  const relay = await connect('LARGE', 1 << 30);
  await expect(relay.ensureStream()).rejects.toMatchObject({
    code: 'relay_full',
    message: expect.stringContaining('10047'),
    hint: expect.stringContaining('SNO_NATS_MAX_BYTES'),
  });
});

test('a stream whose new settings the servers refuse is used as it is', async () => {
  await (await connect('UNFIT')).ensureStream();
  const relay = await connect('UNFIT', 1 << 30);
  await relay.ensureStream();
  await relay.publish(Buffer.from('first'), 0);
  expect(await relay.bounds()).toMatchObject({ count: 1 });
});

const OURS = '01'.repeat(OWNER_BYTES);
const FOREIGN = '02'.repeat(OWNER_BYTES);

interface MessageParts {
  readonly term: string;
  readonly number: number;
  readonly from: number;
  readonly to: number;
  /** The stream's sequence of the newest state. */
  readonly state?: number;
  /** The sequence of the last entry. */
  readonly count?: number;
  /** The installation that publishes. */
  readonly owner?: string;
  readonly tenure?: number;
}

/** A message whose only step moves the head from one LSN to another. */
function message(
  kind: Kind,
  { term, number, from, to, state = 1, count = 0, owner = OURS, tenure = 0 }: MessageParts,
): Buffer {
  const place = (lsn: number) => ({ lsn, index: 0, parts: 0 });
  const replica = new Replica();
  const position = { lsn: to, index: 0 };
  replica.moveTo({ ...NOTHING, epoch: 'e-1', head: position, frontier: position, sequence: count });
  const steps = new StepWriter(replica);
  steps.head();
  const head = { kind, isLast: true, piece: 0, term: term.repeat(16), number, state, epoch: 'e-1' };
  return sealed(
    { ...head, from: place(from), to: place(to), owner, tenure, cut: 0 },
    steps.take().subarray(HEADER_BYTES),
  );
}

async function remove(stream: string, sequence: number): Promise<void> {
  const connection = await connectNats({ servers: nats.url });
  await (await jetstreamManager(connection)).streams.deleteMessage(stream, sequence);
  await connection.close();
}

interface Followed {
  readonly following: StreamFollowing;
  /** How often the process began to read the stream. */
  reads: number;
  holes: number;
  /** The sequence of each head that was passed on. */
  readonly counts: number[];
}

type FollowedRelay = ConstructorParameters<typeof StreamFollowing>[0]['relay'];

/** Follows the stream as a gateway does. */
function follow(relay: Relay, instead: Partial<FollowedRelay> = {}): Followed {
  const nothing = () => undefined;
  const followed = { reads: 0, holes: 0, counts: [] as number[] };
  const following = new StreamFollowing({
    relay: {
      follow(...args) {
        followed.reads++;
        return relay.follow(...args);
      },
      message: (sequence) => relay.message(sequence),
      lastMessage: () => relay.lastMessage(),
      ensureStream: () => relay.ensureStream(),
      bounds: () => relay.bounds(),
      isConnected: true,
      onChange: () => nothing,
      ...instead,
    },
    stream: 'S',
    installation: new Installation(async () => OURS),
    steps: {
      burstBytes: 0,
      moveTo: ({ sequence }) => followed.counts.push(sequence),
      begin: nothing,
      append: nothing,
      marker: nothing,
      define: nothing,
      setKnown: nothing,
      flush: nothing,
    },
    now: () => performance.now(),
    logger: createLogger('silent'),
    onHole: () => followed.holes++,
    onFailed: (error) => {
      throw error;
    },
  });
  return Object.assign(followed, { following });
}

test('messages that are published again while a process searches for its place are not a hole', async () => {
  const relay = await connect('LOST');
  await relay.ensureStream();
  await relay.publish(message('state', { term: 'a', number: 1, from: 10, to: 10 }), 0);
  await relay.publish(message('steps', { term: 'a', number: 2, from: 10, to: 20 }), 1);
  let measured: () => Promise<void> = async () => undefined;
  let reconnected: () => void = () => undefined;
  const followed = follow(relay, {
    onChange(listener) {
      reconnected = listener;
      return () => undefined;
    },
    async bounds() {
      const bounds = await relay.bounds();
      await measured();
      return bounds;
    },
  });
  const { following } = followed;
  await following.start();
  await until(() => following.sequence === 2, 'it has read everything');
  await remove('LOST', 2);
  let times = 0;
  measured = async () => {
    if (++times === 2) await relay.publish(message('steps', { term: 'b', number: 1, from: 10, to: 20 }), 2);
  };
  reconnected();
  await until(() => following.sequence === 3, 'it has read what was published again');
  following.stop();
  expect(followed.holes).toBe(0);
});

test('a process that meets a hole waits for the next state: it does not join again before the hole', async () => {
  const relay = await connect('HOLE');
  await relay.ensureStream();
  await relay.publish(message('state', { term: 'a', number: 1, from: 10, to: 10 }), 0);
  await relay.publish(message('steps', { term: 'a', number: 2, from: 10, to: 20 }), 1);
  await relay.publish(message('steps', { term: 'a', number: 3, from: 20, to: 30 }), 2);
  await relay.publish(message('steps', { term: 'a', number: 4, from: 30, to: 40 }), 3);
  await remove('HOLE', 3);
  const followed = follow(relay);
  const { following } = followed;
  await following.start();
  await until(() => following.unready?.includes('hole before its message 4') === true, 'it says what is missing');
  await relay.publish(message('steps', { term: 'a', number: 5, from: 40, to: 50 }), 4);
  await until(() => followed.holes > 0, 'the hole is counted');
  expect(following.sequence).toBe(2);
  await relay.publish(message('state', { term: 'a', number: 6, from: 50, to: 50, state: 6 }), 5);
  await relay.publish(message('steps', { term: 'a', number: 7, from: 50, to: 60, state: 6 }), 6);
  await until(() => following.sequence === 7, 'it goes on');
  following.stop();
  expect(followed.holes).toBe(1);
  // From the state, again after the hole was met, and from the next state.
  expect(followed.reads).toBe(3);
});

test('where the sequences of the stream go back, nothing is passed on until the next state', async () => {
  const relay = await connect('BACK');
  await relay.ensureStream();
  await relay.publish(message('state', { term: 'a', number: 1, from: 10, to: 10, count: 100 }), 0);
  await relay.publish(message('steps', { term: 'a', number: 2, from: 10, to: 20, count: 110 }), 1);
  const followed = follow(relay);
  const { following } = followed;
  await following.start();
  await until(() => following.sequence === 2, 'it has read everything');
  await relay.publish(message('steps', { term: 'b', number: 1, from: 20, to: 30, count: 50 }), 2);
  await until(() => followed.holes > 0, 'it asks for a state');
  await relay.publish(message('state', { term: 'b', number: 2, from: 30, to: 30, state: 4, count: 50 }), 3);
  await relay.publish(message('steps', { term: 'b', number: 3, from: 30, to: 40, state: 4, count: 60 }), 4);
  await until(() => following.sequence === 5, 'it goes on');
  following.stop();
  expect(followed.counts).toEqual([100, 110, 50, 60]);
});

test('steps of another installation are not applied, also if its positions are alike', async () => {
  const relay = await connect('SHARED');
  await relay.ensureStream();
  await relay.publish(message('state', { term: 'a', number: 1, from: 10, to: 10, count: 1 }), 0);
  await relay.publish(message('steps', { term: 'a', number: 2, from: 10, to: 20, count: 2 }), 1);
  const followed = follow(relay);
  const { following } = followed;
  await following.start();
  await until(() => following.sequence === 2, 'it has read everything');
  const foreign = { owner: FOREIGN, tenure: 1, state: 3 };
  await relay.publish(message('state', { term: 'b', number: 1, from: 20, to: 20, count: 101, ...foreign }), 2);
  await relay.publish(message('steps', { term: 'b', number: 2, from: 20, to: 90, count: 102, ...foreign }), 3);
  await until(() => following.unready?.includes('another database') === true, 'it says whose stream it is');
  expect(following.sequence).toBe(2);
  // The first installation takes the stream again, and publishes what the slot still has.
  const again = { tenure: 2, state: 5 };
  await relay.publish(message('state', { term: 'c', number: 1, from: 5, to: 5, count: 201, ...again }), 4);
  await relay.publish(message('steps', { term: 'c', number: 2, from: 5, to: 20, count: 202, ...again }), 5);
  await relay.publish(message('steps', { term: 'c', number: 3, from: 20, to: 30, count: 203, ...again }), 6);
  await until(() => following.sequence === 7, 'it goes on');
  following.stop();
  expect(followed.holes).toBe(0);
  expect(followed.counts.filter((count) => count > 100 && count < 200)).toEqual([]);
  expect(followed.counts.at(-1)).toBe(203);
});

test('the search for a place does not look at what another installation has published', async () => {
  const relay = await connect('SEARCHED');
  await relay.ensureStream();
  const place = { lsn: 25, index: 0, parts: 0 };
  await relay.publish(message('state', { term: 'a', number: 1, from: 10, to: 10 }), 0);
  await relay.publish(message('steps', { term: 'a', number: 2, from: 10, to: 90 }), 1);
  const foreign = { owner: FOREIGN, tenure: 1, state: 3 };
  await relay.publish(message('state', { term: 'b', number: 1, from: 20, to: 20, ...foreign }), 2);
  await relay.publish(message('steps', { term: 'b', number: 2, from: 20, to: 90, ...foreign }), 3);
  const again = { tenure: 2, state: 5 };
  await relay.publish(message('state', { term: 'c', number: 1, from: 5, to: 5, ...again }), 4);
  await relay.publish(message('steps', { term: 'c', number: 2, from: 5, to: 20, ...again }), 5);
  await relay.publish(message('steps', { term: 'c', number: 3, from: 20, to: 30, ...again }), 6);
  expect(await findPlace(relay, 'e-1', place)).toBe(7);
});

test('messages of another program in the stream are passed over, wherever they are', async () => {
  const relay = await connect('STRAY');
  await relay.ensureStream();
  await relay.publish(message('state', { term: 'a', number: 1, from: 10, to: 10 }), 0);
  await relay.publish(Buffer.from('a test'), 1);
  await relay.publish(message('steps', { term: 'a', number: 2, from: 10, to: 20 }), 2);
  await relay.publish(Buffer.from('x'.repeat(200)), 3);
  const { following } = follow(relay);
  await following.start();
  await until(() => following.sequence === 3, 'it has read everything of Snö');
  following.stop();
  expect(await lastPlace(relay, OURS)).toMatchObject({ newest: { sequence: 4, number: 2 } });
  expect(await findPlace(relay, 'e-1', { lsn: 15, index: 0, parts: 0 })).toBe(3);
});

test('a subject that is allowed later is subscribed to, and a refusal names the subject of the permission', async () => {
  const permissions = { publish: ['>'], subscribe: ['_INBOX.>'] };
  const users = (subscribe: readonly string[]) => ({
    authorization: { users: [{ user: 'sno', password: 'x', permissions: { ...permissions, subscribe } }] },
  });
  const guarded = await startNats({ config: users(['_INBOX.>']) });
  const [sending, receiving] = await Promise.all(
    [0, 1].map(() => connect('SNO', 1 << 24, guarded.url.replace('//', '//sno:x@'))),
  );
  let received = 0;
  receiving?.onBroadcast(() => received++);
  await until(() => receiving?.fault?.includes('sno.machines.SNO') === true, 'the refusal is known');
  await guarded.reconfigure(users(['_INBOX.>', 'sno.machines.SNO']));
  await until(() => {
    sending?.broadcast(Buffer.from('x'));
    return received > 0;
  }, 'a message arrives');
  await guarded.reconfigure(users(['sno.machines.SNO']));
  const refused = await connect('SNO', 1 << 24, guarded.url.replace('//', '//sno:x@'));
  await expect(refused.bounds()).rejects.toMatchObject({
    code: 'relay_refused',
    message: 'NATS: Permissions Violation for Subscription to "_INBOX.>"',
  });
  await guarded.remove();
});
