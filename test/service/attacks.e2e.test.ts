/**
 * Attacking clients of all kinds at once: subscribers receive every commit meanwhile, and the
 * service's memory does not grow.
 */
import { deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientFrame, OPCODE, RawSocket, upgradeRequest } from '../gateway/raw-socket.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { memory, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table notes (id int primary key, room int not null, body text not null, sent timestamptz not null default clock_timestamp());
  alter table notes replica identity full;
  create schema channels; create schema if not exists channel_access;
  create view channels."room:{room}" as select id, room, body from notes;
  create view channel_access."room:{room}" as select 1 as room union all select 2;
  create view channels."secret:{room}" as select id, room, body from notes;
  create view channel_access."secret:{room}" as select 1 as room, 'owner' as sub;
`;
const MARK = 'for-the-owner-alone';

let here: Stage;
beforeAll(async () => {
  here = await stage(SCHEMA, { SNO_ACCESS: 'views', SNO_HANDSHAKE_SECONDS: '5', SNO_HELLO_SECONDS: '5' });
});
afterAll(() => here.end());

type Attack = (tls: { port: number; ca: string }) => Promise<RawSocket>;

const flood =
  (bytes: Buffer): Attack =>
  async (target) => {
    const raw = await RawSocket.welcomed(target);
    for (let sent = 0; sent < 200 && raw.closeCode === undefined && (await raw.send(bytes)); sent++);
    return raw;
  };
/** 20 MB of blanks. */
const BOMB = clientFrame(deflateRawSync(Buffer.alloc(20_000_000, ' ')), { reserved: 4 });
const bomb: Attack = async (target) => {
  const raw = await RawSocket.upgraded(target, { 'sec-websocket-extensions': 'permessage-deflate' });
  await raw.send(BOMB);
  return raw;
};
const many = (count: number, frame: Buffer) => Buffer.concat(Array.from({ length: count }, () => frame));

/** A client's send whose data nests this deeply. */
const sendOf = (depth: number) =>
  clientFrame(`{"type":"send","channel":"room:1","event":"x","data":${'['.repeat(depth)}${']'.repeat(depth)}}`);

/** Each attack with its close code; undefined: the connection is cut. */
const ATTACKS: readonly (readonly [string, number | undefined, Attack])[] = [
  [
    'half a TLS handshake',
    undefined,
    async ({ port }) => {
      const raw = await RawSocket.connect({ port });
      raw.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
      return raw;
    },
  ],
  [
    'headers without end',
    undefined,
    async (target) => {
      const raw = await RawSocket.connect(target);
      raw.socket.write('GET /v1 HTTP/1.1\r\nHost: a\r\nX: ');
      return raw;
    },
  ],
  ['no hello', 4408, (target) => RawSocket.upgraded(target)],
  ['pings', 4429, flood(many(5_000, clientFrame('x'.repeat(100), { opcode: OPCODE.ping })))],
  ['requests', 4429, flood(many(5_000, clientFrame('{"type":"ping"}')))],
  [
    'subscriptions that are left at once',
    4429,
    flood(
      many(
        1_000,
        Buffer.concat([
          clientFrame('{"type":"subscribe","channel":"secret:1"}'),
          clientFrame('{"type":"unsubscribe","channel":"secret:1"}'),
        ]),
      ),
    ),
  ],
  [
    'empty fragments',
    4413,
    flood(
      Buffer.concat([
        clientFrame('', { final: false }),
        many(5_000, clientFrame('', { final: false, opcode: OPCODE.continuation })),
      ]),
    ),
  ],
  ['a frame of 2^63 bytes', 4413, flood(clientFrame('', { length: 2n ** 63n }))],
  ['a compressed bomb', 4413, bomb],
  ['a frame that says it is compressed', 4400, flood(clientFrame('x'.repeat(1_000), { reserved: 4 }))],
  ['frames that are not masked', 4400, flood(clientFrame('{"type":"ping"}', { masked: false }))],
  ['data that nests too deeply', 4400, flood(sendOf(20_000))],
  ['data that nests deeply', 4429, flood(many(500, sendOf(6_000)))],
  ['text that is no UTF-8', 4400, flood(clientFrame(Buffer.alloc(1_000, 0xff)))],
];

test('attacks of every kind end as they should, commits arrive meanwhile, and no attacker receives the secret', async () => {
  const probe = await RawClient.open(here.service);
  const owner = await RawClient.open(here.service, await signToken({ sub: 'owner' }));
  expect((await probe.subscribe('room:1')).type).toBe('subscribed');
  expect((await owner.subscribe('secret:1')).type).toBe('subscribed');
  const target = { port: here.service.port, ca: here.service.certificate.cert };
  const before = await memory(here.service.pid, 'VmRSS');
  const latencies: number[] = [];
  let isRunning = true;
  let commits = 0;
  const writing = (async () => {
    while (isRunning) {
      const started = performance.now();
      const id = ++commits;
      await here.query('insert into notes values ($1, 1, $2)', [id, MARK]);
      await probe.until('the commit', () => probe.events('room:1').at(-1)?.key?.['id'] === id);
      latencies.push(performance.now() - started);
    }
  })();
  // some clients subscribe to much and read nothing
  const deaf = await Promise.all(Array.from({ length: 10 }, () => RawSocket.welcomed(target)));
  for (const { socket } of deaf) {
    socket.pause();
    socket.write(clientFrame('{"type":"subscribe","channel":"room:2"}'));
  }
  await here.query("insert into notes select -i, 2, repeat('x', 100000) from generate_series(1, 100) i");
  const ended = await Promise.all(
    ATTACKS.flatMap(([what, code, attack]) =>
      Array.from({ length: 5 }, async () => {
        const raw = await attack(target);
        const got = await raw.ended();
        return { what, expected: code, got, heard: raw.received.includes(MARK) };
      }),
    ),
  );
  // names of the secret channel, or similar ones
  for (const name of [
    'secret:1',
    'secret:%31',
    'secret:01',
    'secret: 1',
    'Secret:1',
    'secret:1\u0000',
    "secret:1' or '1'='1",
    '"secret:1"',
    'secret:1/',
    'room:1/../secret:1',
    'secret:{room}',
    'secret:1,room:1',
    '%73ecret:1',
  ])
    expect(await probe.subscribe(name)).toMatchObject({
      type: 'error',
      code: expect.stringMatching(/^(channel_|access_)/),
    });
  const seen = commits;
  await until(() => commits > seen, 'one more commit');
  isRunning = false;
  await writing;
  for (const { what, expected, got, heard } of ended)
    expect({ what, got, heard }).toEqual({ what, got: expected, heard: false });
  expect(probe.events('room:1').map(({ key }) => key?.['id'])).toEqual(
    Array.from({ length: commits }, (_, index) => index + 1),
  );
  await owner.until('the same commits', () => owner.events('secret:1').length === commits);
  expect(probe.frames.filter(({ channel }) => channel?.startsWith('secret'))).toSatisfy((frames: { type: string }[]) =>
    frames.every(({ type }) => type === 'error'),
  );
  for (const limit of ['handshake_time', 'hello_time', 'frame_rate', 'frame_pieces', 'frame_bytes'])
    expect(await here.metric(`sno_limits_met_total{limit="${limit}"}`)).toBeGreaterThan(0);
  latencies.sort((a, b) => a - b);
  const after = await memory(here.service.pid, 'VmRSS');
  process.stdout.write(
    `attacks: ${ended.length} connections, ${commits} commits, insert to arrival ${[0.5, 0.99, 1].map((part) => Math.round(latencies[Math.min(latencies.length - 1, Math.floor(part * latencies.length))] ?? 0)).join('/')} ms (median/99%/max), RSS ${Math.round(before / 2 ** 20)} -> ${Math.round(after / 2 ** 20)} MB\n`,
  );
  expect(after - before).toBeLessThan(150e6);
  for (const { socket } of deaf) socket.destroy();
});

test('a token in the URL is refused and appears in no log', async () => {
  const jwt = await signToken({ sub: 'owner' });
  const raw = await RawSocket.connect({ port: here.service.port, ca: here.service.certificate.cert });
  await raw.send(upgradeRequest(`/v1?token=${jwt}`));
  await until(() => raw.status === 400, 'it is refused');
  expect(JSON.stringify(here.service.log)).not.toContain(jwt);
  const { password } = new URL(here.database.url);
  if (password.length > 8) expect(JSON.stringify(here.service.log)).not.toContain(password);
});
