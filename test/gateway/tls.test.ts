/**
 * TLS as clients meet it: versions, ciphers, resumed sessions, and certificates that change while
 * clients come and go.
 */
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect as netConnect } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';
import { type Client, type Fixture, startGateway } from './fixture.ts';
import { RawSocket } from './raw-socket.ts';

let fixture: Fixture;
afterEach(() => fixture.stop());

type Version = 'TLSv1.2' | 'TLSv1.3';
const only = (version: Version): ConnectionOptions => ({ minVersion: version, maxVersion: version });

function dial(options: ConnectionOptions): TLSSocket {
  return tlsConnect({ port: fixture.port, host: '127.0.0.1', ca: fixture.certificate.cert, ...options });
}

async function shake(options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = dial(options);
  socket.on('error', () => {});
  // if the handshake fails, the socket stays unauthorized
  await once(socket, 'secureConnect').catch(() => {});
  return socket;
}

/** A session that can be resumed: with TLS 1.3 it arrives after the handshake. */
async function sessionOf(options: ConnectionOptions): Promise<Buffer> {
  const socket = dial(options);
  const [session] = await once(socket, 'session');
  socket.destroy();
  return session as Buffer;
}

async function isResumed(options: ConnectionOptions, session: Buffer): Promise<boolean> {
  const socket = await shake({ ...options, session });
  const isReused = socket.isSessionReused();
  socket.destroy();
  return isReused;
}

test.each([
  ['TLSv1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256', true],
  ['TLSv1.2', 'ECDHE-ECDSA-CHACHA20-POLY1305', true],
  ['TLSv1.3', 'TLS_AES_256_GCM_SHA384', true],
  // no forward secrecy, no authenticated encryption, or both
  ['TLSv1.2', 'AES128-GCM-SHA256', false],
  ['TLSv1.2', 'ECDHE-ECDSA-AES128-SHA256', false],
  ['TLSv1.2', 'ECDHE-ECDSA-AES256-SHA', false],
] as const)('%s with %s is accepted: %s', async (version, ciphers, isTaken) => {
  fixture = await startGateway();
  const socket = await shake({ ...only(version), ciphers });
  expect(socket.authorized).toBe(isTaken);
  expect(socket.getCipher()?.standardName ?? '').toMatch(isTaken ? /GCM|CHACHA20/ : /^$/);
  socket.destroy();
  if (!isTaken)
    await until(async () => /^sno_tls_failures_total 1$/m.test(await fixture.metrics.text()), 'it was counted');
});

test('TLS older than 1.2 is refused', async () => {
  fixture = await startGateway();
  const socket = dial({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
  const [error] = await once(socket, 'error');
  expect(String(error)).toMatch(/alert|protocol/i);
});

test('every server name is served, however many there are', async () => {
  fixture = await startGateway();
  for (let count = 0; count < 40; count++) {
    const servername = count % 2 === 0 ? `host-${count}.example` : 'x'.repeat(200 + count);
    const socket = await shake({ servername, checkServerIdentity: () => undefined });
    expect(socket.authorized).toBe(true);
    socket.destroy();
  }
});

test.each([
  // as a load balancer that checks the port: no handshake has failed
  ['before', Buffer.alloc(0), 0],
  ['in the middle of', Buffer.from([0x16, 0x03, 0x01, 0x01, 0x00, 0x01]), 1],
])('a client that closes its side %s the handshake is released', async (_when, sent, failures) => {
  fixture = await startGateway();
  const half = await RawSocket.connect({ port: fixture.port });
  half.socket.end(sent);
  await half.ended();
  await until(async () => /^sno_pending_connections 0$/m.test(await fixture.metrics.text()), 'nothing is left of it');
  expect(Number(/^sno_tls_failures_total (\d+)$/m.exec(await fixture.metrics.text())?.[1])).toBe(failures);
});

test('a ClientHello of several records, in pieces of any size, begins a handshake', async () => {
  fixture = await startGateway();
  const ALPNProtocols = [...Array.from({ length: 250 }, (_, index) => `${index}`.padEnd(100, '-')), 'http/1.1'];
  for (const bytes of [1, 1_000, 20_000]) {
    const [near, far] = [new PassThrough(), netConnect(fixture.port, '127.0.0.1').setNoDelay(true)];
    const pass = async (data: Buffer) => {
      near.pause();
      for (let at = 0; at < data.length; at += bytes)
        await new Promise<unknown>((resolve) => far.write(data.subarray(at, at + bytes), resolve));
      near.resume();
    };
    near.on('data', (data: Buffer) => void pass(data));
    const socket = await shake({ socket: Duplex.from({ readable: far, writable: near }), ALPNProtocols });
    expect([socket.authorized, socket.alpnProtocol]).toEqual([true, 'http/1.1']);
    far.destroy();
  }
});

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('sessions of %s', (version) => {
  test('are resumed, even with a new certificate', async () => {
    fixture = await startGateway();
    const before = await sessionOf(only(version));
    expect(await isResumed(only(version), before)).toBe(true);
    const ca = await fixture.certificate.renew();
    await until(async () => (await shake({ ca })).authorized, 'the new certificate is served');
    expect(await isResumed({ ...only(version), ca }, before)).toBe(true);
    const after = await sessionOf({ ...only(version), ca });
    expect(await isResumed({ ...only(version), ca }, after)).toBe(true);
  });
});

describe('a new certificate', () => {
  test('drops no connection under load, refuses no client, and loses no event', async () => {
    fixture = await startGateway();
    const steady = await Promise.all(Array.from({ length: 20 }, () => fixture.welcomed()));
    const join = async (client: Client) => {
      client.send({ type: 'subscribe', channel: 'room:1' });
      await client.receive('subscribed');
    };
    await Promise.all(steady.map(join));
    let published = 0;
    let isRunning = true;
    let passing = 0;
    const publishing = (async () => {
      for (; isRunning; published++) {
        fixture.publish('room:1', published);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const comingAndGoing = (async () => {
      for (; isRunning; passing++) {
        // accepts either certificate: two with the same name cannot both be trusted
        const client = await fixture.welcomed({ rejectUnauthorized: false });
        await join(client);
        client.socket.terminate();
      }
    })();
    for (let renewal = 1; renewal <= 3; renewal++) {
      const ca = await fixture.certificate.renew();
      await until(
        () => fixture.log.filter((line) => line.includes('the certificate was reloaded')).length === renewal,
        'it was reloaded',
      );
      const seen = passing;
      await until(() => passing > seen + 2, 'clients come and go');
      expect((await shake({ ca })).authorized).toBe(true);
    }
    isRunning = false;
    await Promise.all([publishing, comingAndGoing]);
    for (const client of steady) {
      await until(() => client.frames.length === published + 2, 'every event');
      const data = client.frames.flatMap((frame) => (frame.type === 'message' ? [frame.data] : []));
      expect(data).toEqual(Array.from({ length: published }, (_, index) => index));
      expect(client.closeCode).toBeUndefined();
    }
    expect(await fixture.metrics.text()).toMatch(/^sno_tls_failures_total 0$/m);
  }, 60_000);

  test('that is broken, half-written or of another key is logged with its hint, and the old one stays', async () => {
    fixture = await startGateway();
    const { certFile, keyFile, cert } = fixture.certificate;
    const key = await readFile(keyFile, 'utf8');
    const other = await selfSigned();
    const complaints = () => fixture.log.filter((line) => line.includes('the old one stays'));
    const bad = ['this is no certificate', cert.slice(0, cert.length / 2), '', other.cert];
    for (const [index, content] of bad.entries()) {
      await writeFile(certFile, content);
      await until(() => complaints().length > index, 'it was logged');
      expect(JSON.parse(complaints().at(-1) as string)).toMatchObject({
        level: 'error',
        code: 'tls_invalid',
        error: expect.stringContaining(certFile),
        hint: expect.stringContaining('SNO_TLS_CERT'),
      });
      expect((await shake()).authorized).toBe(true);
    }
    await other.remove();
    await writeFile(certFile, cert);
    await until(() => fixture.log.some((line) => line.includes('the certificate was reloaded')), 'a good one is taken');
    expect(fixture.log.join('')).not.toContain(key.split('\n')[1] as string);
  });
});

test('a certificate and a key that do not match prevent the start', async () => {
  fixture = await startGateway();
  const other = await selfSigned();
  const settings = { SNO_TLS_CERT: other.certFile, SNO_TLS_KEY: fixture.certificate.keyFile };
  await expect(startGateway({ settings })).rejects.toMatchObject({ code: 'tls_invalid' });
  await other.remove();
});
