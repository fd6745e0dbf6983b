/** What happens to a network socket until it is a websocket's. */
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { ConnectionAcceptor } from '../../src/gateway/accept/acceptor.ts';
import { FirstBytes } from '../../src/gateway/accept/first-bytes.ts';
import { forgetHandshake } from '../../src/gateway/accept/handshake.ts';
import { networkSocketOf } from '../../src/gateway/accept/network-socket.ts';
import { Limits } from '../../src/gateway/limits.ts';
import { Proxies } from '../../src/http/address.ts';
import { createLogger } from '../../src/logger.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';

test('all listeners but those of the handshake stay, in their order', () => {
  const heard: string[] = [];
  const hear = (text: string) => () => void heard.push(text);
  const emitter = new EventEmitter();
  emitter.on('secure', hear('secure'));
  emitter.on('newListener', hear('newListener'));
  emitter.on('close', hear('first'));
  emitter.once('close', hear('once'));
  emitter.on('close', hear('last'));
  emitter.once('error', hear('error'));
  heard.length = 0;
  forgetHandshake(emitter);
  expect(emitter.eventNames()).toEqual(['close', 'error']);
  for (const event of ['secure', 'close', 'close', 'error']) emitter.emit(event);
  expect(heard).toEqual(['first', 'once', 'last', 'first', 'last', 'error']);
  expect(emitter.eventNames()).toEqual(['close']);
});

test('a listener that was added twice is called twice', () => {
  let calls = 0;
  const call = () => void calls++;
  const emitter = new EventEmitter().on('drain', call).on('drain', call);
  forgetHandshake(emitter);
  emitter.emit('drain');
  expect(calls).toBe(2);
});

test.each([true, false])('a stream stays in its state: paused %s', async (isPaused) => {
  const stream = new PassThrough();
  const chunks: string[] = [];
  stream.on('data', (chunk) => chunks.push(String(chunk)));
  stream.write('before');
  if (isPaused) stream.pause();
  forgetHandshake(stream);
  stream.write('after');
  await new Promise((resolve) => setImmediate(resolve));
  expect(stream.isPaused()).toBe(isPaused);
  expect(chunks.join(' ')).toBe(isPaused ? 'before' : 'before after');
});

test('a listener that pauses the stream at the first chunk receives no second one', async () => {
  const stream = new PassThrough();
  stream.write('one');
  stream.write('two');
  const chunks: string[] = [];
  stream.on('data', (chunk) => {
    chunks.push(String(chunk));
    stream.pause();
  });
  forgetHandshake(stream);
  await new Promise((resolve) => setImmediate(resolve));
  expect(chunks).toEqual(['one']);
});

describe('on a TLS connection', () => {
  let servers: Server[] = [];
  afterEach(() => {
    for (const server of servers) server.close();
    servers = [];
  });

  const listen = async (server: Server): Promise<number> => {
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };

  /** Opens TLS connections to one server. Returns both ends, and the sockets below the server's. */
  async function connections(count: number) {
    const { cert, key } = await selfSigned();
    const secured: TLSSocket[] = [];
    const secure = createTlsServer({ cert, key }, (socket) => secured.push(socket));
    servers.push(secure);
    const raws = new Map<Socket, unknown>();
    const firstBytes = new FirstBytes((taken) => secure.emit('connection', taken));
    const port = await listen(
      createServer((raw) => {
        raws.set(raw, undefined);
        firstBytes.wait(raw);
      }),
    );
    const clients: TLSSocket[] = [];
    for (let index = 0; index < count; index++) {
      const client = tlsConnect({ port, host: '127.0.0.1', ca: cert });
      clients.push(client);
      await Promise.all([once(client, 'secureConnect'), once(secure, 'secureConnection')]);
    }
    const end = () => {
      for (const client of clients) client.destroy();
    };
    return { clients, secured, raws, end };
  }

  /** Private members of a socket, by the names that Node 20 gives them. */
  const membersOf = (socket: TLSSocket): { readonly options: unknown; readonly timer: unknown } => {
    const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'timeout') as symbol;
    const { _tlsOptions: options, [key]: timer } = socket as unknown as Record<string | symbol, unknown>;
    return { options, timer };
  };

  test('the timer of the handshake and the copy of the options are dropped, and it goes on', async () => {
    const { clients, secured, end } = await connections(2);
    const [one, other] = secured as [TLSSocket, TLSSocket];
    expect(membersOf(one).timer).toBeTruthy();
    for (const socket of secured) {
      for (let index = 0; index < 3; index++) socket.on('close', () => {});
      forgetHandshake(socket);
    }
    expect(membersOf(one).timer).toBeNull();
    expect(membersOf(one).options).toBeTruthy();
    expect(membersOf(other).options).toBe(membersOf(one).options);
    clients[0]?.write('to the server');
    expect(String((await once(one, 'data'))[0])).toBe('to the server');
    one.write('to the client');
    expect(String((await once(clients[0] as TLSSocket, 'data'))[0])).toBe('to the client');
    const closed = once(other, 'close');
    end();
    await closed;
  });

  test('a timer that still runs stays', async () => {
    const { secured, end } = await connections(1);
    const [socket] = secured as [TLSSocket];
    socket.setTimeout(1_000_000);
    forgetHandshake(socket);
    expect(membersOf(socket).timer).toBeTruthy();
    end();
  });

  test('the socket below it is found, also by its ends', async () => {
    const { secured, raws, end } = await connections(2);
    const sockets = [...raws.keys()];
    expect(secured.map((socket) => networkSocketOf(socket, raws))).toEqual(sockets);
    // a Node that does not tell
    const ends = secured.map(({ remoteAddress, remotePort, localAddress, localPort }) => ({
      ...{ remoteAddress, remotePort, localAddress, localPort },
    }));
    expect(ends.map((socket) => networkSocketOf(socket, raws))).toEqual(sockets);
    expect(sockets.map((socket) => networkSocketOf(socket, raws))).toEqual(sockets);
    end();
  });

  /** A connection whose first bytes are waited for, and its client. */
  async function waiting() {
    const taken: Buffer[] = [];
    const firstBytes = new FirstBytes((found) => taken.push(found.read() as Buffer));
    const server = createServer((socket) => firstBytes.wait(socket));
    const client = netConnect(await listen(server), '127.0.0.1');
    const [socket] = (await once(server, 'connection')) as [Socket];
    return { client, socket, taken };
  }

  test('TLS is set up once bytes have arrived, which it then reads', async () => {
    const { client, socket, taken } = await waiting();
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken).toEqual([]);
    client.write('first');
    await until(() => taken.length === 1, 'it was passed on');
    client.write('second');
    await once(socket, 'readable');
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken.map(String)).toEqual(['first']);
    client.destroy();
  });

  test('a client that closes without a byte is closed, and not passed on', async () => {
    const { client, socket, taken } = await waiting();
    client.end();
    await once(socket, 'close');
    expect(taken).toEqual([]);
  });
});

test('eight connections are passed on in one turn, oldest first, and none that is closed', async () => {
  const taken: Socket[] = [];
  const firstBytes = new FirstBytes((socket) => {
    sockets[20]?.destroy();
    taken.push(socket);
  });
  const sockets = Array.from({ length: 30 }, () => new PassThrough() as unknown as Socket);
  for (const socket of sockets) {
    firstBytes.wait(socket);
    socket.write('first');
  }
  let most = 0;
  while (taken.length < 29) {
    const before = taken.length;
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, taken.length - before);
  }
  expect(most).toBe(8);
  expect(taken).toEqual(sockets.filter((_, index) => index !== 20));
});

test.each([true, false])('a connection is passed on; with TLS (%s) only once bytes have arrived', async (isTls) => {
  const logger = createLogger('silent');
  const acceptor = new ConnectionAcceptor({
    host: '127.0.0.1',
    port: 0,
    handshakeMs: 60_000,
    pendingMax: 0,
    connectionsPerAddressMax: 0,
    isTls,
    proxies: new Proxies([]),
    limits: new Limits(createMetrics(), logger, systemClock),
    clock: systemClock,
    logger,
  });
  const taken: Socket[] = [];
  acceptor.open((socket) => void taken.push(socket), 10);
  const client = netConnect((await acceptor.listen()).port, '127.0.0.1');
  await until(() => acceptor.pendingCount === 1, 'it was accepted');
  expect(taken.length).toBe(isTls ? 0 : 1);
  client.write('bytes');
  await until(() => taken.length === 1, 'it was passed on');
  expect(acceptor.confirmUpgrade(taken[0] as Socket, '127.0.0.1')).toBeDefined();
  client.destroy();
  await acceptor.close();
  await until(() => acceptor.pendingCount === 0, 'nothing is left of it');
});
