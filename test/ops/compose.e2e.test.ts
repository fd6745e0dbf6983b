/**
 * ops/compose: two Snö, three NATS servers and HAProxy, from the same configuration files that
 * Docker Compose takes. One chain of events: each test goes on from the one before.
 */

import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Subscriber } from '../oracle/subscriber.ts';
import { findProgram } from '../support/debian-program.ts';
import { findNats } from '../support/nats/program.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { type Certificate, selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';
import { type HostName, type Part, Parts } from './parts.ts';

const ADMIN_TOKEN = 'of-the-tests-of-ops-compose';
const NATS = ['nats1', 'nats2', 'nats3'] as const;

let parts: Parts;
let database: TestDatabase;
let certificate: Certificate;
let nats: Part[];
let services: ServiceProcess[];
let haproxy: Part;
let subscribers: Subscriber[];
/** Ids of the rows that were inserted, in commit order. */
const inserted: number[] = [];

beforeAll(async () => {
  parts = await Parts.prepare();
  certificate = await selfSigned([parts.addressOf('haproxy')]);
  database = await freshDatabase();
  await database.query(
    'create table notes (id int primary key); create schema channels; create view channels.notes as select id from notes',
  );
  const natsServer = await findNats();
  nats = await Promise.all(NATS.map((host) => startNats(natsServer, host)));
  services = await Promise.all((['sno1', 'sno2'] as const).map(startSno));
  const pem = await parts.write('tls.pem', `${certificate.cert}\n${await readFile(certificate.keyFile, 'utf8')}`);
  const paths = { '/usr/local/etc/haproxy/tls.pem': pem };
  const file = await parts.write('haproxy.cfg', await parts.configuration('haproxy.cfg', 'haproxy', paths));
  haproxy = parts.run(await findProgram('haproxy'), ['-db', '-f', file]);
  await until(() => isOpen('haproxy', 8443), 'HAProxy listens').catch((error: Error) => {
    throw new Error(`${error.message}: ${haproxy.output()}`);
  });
  const token = await signToken({ sub: 'ada' });
  subscribers = Array.from({ length: 6 }, (_, index) => {
    const options = { token, channels: ['notes'], snapshot: false, framesUntilRejoining: 0, old: false };
    const url = () => `wss://${parts.addressOf('haproxy')}:8443/v1`;
    return new Subscriber({ ...options, url, ca: certificate.cert, perMessageDeflate: index % 2 === 0 });
  });
  await until(() => subscribers.every(({ isLive }) => isLive), 'all clients are subscribed');
});
afterAll(async () => {
  for (const subscriber of subscribers ?? []) subscriber.close();
  await Promise.all((services ?? []).map((service) => service.remove()));
  await parts.end();
  await database.drop();
  await certificate.remove();
});

async function startNats(program: string, host: HostName): Promise<Part> {
  const paths = { $NATS_NAME: host, '/data': parts.path(`${host}-data`) };
  const file = await parts.write(`${host}.conf`, await parts.configuration('nats.conf', host, paths));
  return parts.run(program, ['--config', file]);
}

async function startSno(host: HostName): Promise<ServiceProcess> {
  const settings = {
    ...(await parts.settings('sno.env', host)),
    SNO_ACCESS: 'open',
    SNO_SLOT: database.name,
    // the stream belongs to this database alone
    SNO_NATS_STREAM: database.name,
    SNO_ADMIN_TOKEN: ADMIN_TOKEN,
    SNO_TLS_CERT: '',
    SNO_TLS_KEY: '',
  };
  return startService(database.url, settings, { port: 8443, adminPort: 9443 });
}

const isOpen = (host: HostName, port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, parts.addressOf(host));
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

async function insert(count: number): Promise<void> {
  for (let left = count; left > 0; left--) {
    const id = inserted.length + 1;
    await database.query('insert into notes values ($1)', [id]);
    inserted.push(id);
  }
}

const idsOf = ({ record }: Subscriber) =>
  record.flatMap((note) =>
    note.what === 'frame' && note.frame.type === 'changes'
      ? (note.frame.events ?? []).map(({ key }) => (key as { readonly id: number }).id)
      : [],
  );

/** Every client has every row once, in commit order, and none was reset. */
async function expectAll(): Promise<void> {
  await until(
    () => subscribers.every((subscriber) => idsOf(subscriber).length >= inserted.length),
    'all clients have the last row',
  );
  for (const subscriber of subscribers) {
    expect(idsOf(subscriber)).toEqual(inserted);
    expect(subscriber.record.filter((note) => note.what === 'frame' && note.frame.type === 'reset')).toEqual([]);
  }
}

const connectionsOf = async ({ adminPort }: ServiceProcess, host: HostName): Promise<number> => {
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const answer = await fetch(`http://${parts.addressOf(host)}:${adminPort}/metrics`, { headers });
  return Number(/^sno_connections (\d+)$/m.exec(await answer.text())?.[1]);
};

test('clients connect through HAProxy, which spreads them, and receive what is committed', async () => {
  await insert(5);
  await expectAll();
  const counts = await Promise.all(
    services.map((service, index) => connectionsOf(service, index === 0 ? 'sno1' : 'sno2')),
  );
  expect(counts).toEqual([3, 3]);
});

test('a Snö that drains sends its clients to the other one, and nothing is lost', async () => {
  const [first] = services as [ServiceProcess];
  const exit = first.terminate();
  await insert(20);
  expect(await exit).toBe(0);
  await insert(5);
  await expectAll();
  expect(subscribers.filter(({ sentAway }) => sentAway > 0).length).toBe(3);
  await first.restart();
});

test('a killed NATS server stops nothing', async () => {
  await nats[0]?.end('SIGKILL');
  await insert(20);
  await expectAll();
});
