/** The NATS servers that tests start: what they keep, and what a test can do to them. */
import { readFile } from 'node:fs/promises';
import { type JetStreamClient, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, credsAuthenticator, type NatsConnection, nanos } from '@nats-io/transport-node';
import { afterEach, expect, test } from 'vitest';
import { StoredStream } from '../../src/jetstream/stored-stream.ts';
import { StreamWatch } from '../../src/jetstream/stream-watch.ts';
import { createLogger } from '../../src/logger.ts';
import { startNatsCluster } from '../support/nats/cluster.ts';
import { createOperator } from '../support/nats/operator.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function open(servers: string, options: Parameters<typeof connect>[0] = {}): Promise<NatsConnection> {
  const connection = await connect({ servers: servers.split(','), reconnectTimeWait: 50, ...options });
  ends.push(() => connection.close());
  return connection;
}

async function makeStream(connection: NatsConnection, replicas = 1): Promise<JetStreamClient> {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'S', subjects: ['s'], num_replicas: replicas, max_age: nanos(3_600_000) });
  return jetstream(connection);
}

const published = (stream: JetStreamClient, payload: string) =>
  until(async () => (await stream.publish('s', payload, { timeout: 2_000 })).seq, 'the message is acknowledged');

async function lastSequence(server: NatsServer): Promise<number> {
  const connection = await open(server.url);
  // A cluster that has lost its leader answers once it has another one.
  const info = async () => (await jetstreamManager(connection)).streams.info('S');
  const { state } = await until(info, 'the stream is told');
  await connection.close();
  return state.last_seq;
}

test('a server keeps its messages over kill -9, and loses the newest with a restored store', {
  timeout: 60_000,
}, async () => {
  const server = await startNats();
  ends.push(() => server.remove());
  const stream = await makeStream(await open(server.url));
  await published(stream, 'one');
  await server.stop();
  const copy = await server.copyStore();
  await server.start();
  await server.healthy();
  expect(await published(stream, 'two')).toBe(2);
  await server.kill();
  await server.start();
  await server.healthy();
  expect(await lastSequence(server)).toBe(2);
  server.freeze();
  await server.kill();
  await server.restoreStore(copy);
  await server.start();
  await server.healthy();
  expect(await lastSequence(server)).toBe(1);
});

test('a server takes a new max_payload, and shuts out a user whose credentials are revoked', {
  timeout: 60_000,
}, async () => {
  const operator = await createOperator();
  const certificate = await selfSigned();
  ends.push(
    () => operator.remove(),
    () => certificate.remove(),
  );
  const tls = { cert_file: certificate.certFile, key_file: certificate.keyFile };
  const server = await startNats({ config: { tls, ...operator.config() } });
  ends.push(() => server.remove());
  const authenticator = credsAuthenticator(await readFile(await operator.issue('sno')));
  const options = { authenticator, tls: { ca: certificate.cert }, maxReconnectAttempts: 0 };
  const connection = await open(server.url, options);
  await published(await makeStream(connection), 'one');
  await server.reconfigure({ tls, ...operator.config(), max_payload: 65_536 });
  expect((await open(server.url, options)).info?.max_payload).toBe(65_536);
  operator.revoke('sno');
  await server.reconfigure({ tls, ...operator.config() });
  await connection.closed();
  const refusal = async () => open(server.url, options).then(() => undefined, String);
  const isNamed = async () => /revoked|authorization|authentication/i.test((await refusal()) ?? '');
  await until(isNamed, 'a new connection is refused by name');
});

test('a cluster whose leader is killed has another one, with every message', { timeout: 60_000 }, async () => {
  const cluster = await startNatsCluster();
  ends.push(() => cluster.remove());
  const connection = await open(cluster.url);
  const stream = await makeStream(connection, 3);
  await published(stream, 'one');
  const options = { stream: 'S', replicas: 3, maxAgeMs: 3_600_000, maxBytes: -1, logger: createLogger('silent') };
  const stored = new StoredStream(options, await jetstreamManager(connection), 's');
  const watch = new StreamWatch({ isConnected: true, bounds: () => stored.bounds() });
  const leader = await cluster.leaderOf('S');
  await until(async () => {
    await watch.measure();
    return watch.bounds?.cluster?.leader === leader.name;
  }, 'the leader is told');
  expect(watch.leaderChanges).toBe(0);
  await leader.kill();
  const next = await cluster.leaderOf('S');
  await until(async () => {
    await watch.measure();
    return watch.leaderChanges > 0;
  }, 'the change is counted');
  expect(next.name).not.toBe(leader.name);
  expect(await lastSequence(next)).toBeGreaterThanOrEqual(1);
  await cluster.start();
});
