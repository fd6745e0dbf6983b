/** The image's health check, as Docker runs it, against an admin port. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Admin } from '../../src/admin/admin.ts';
import { Certificate } from '../../src/http/tls.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { freePort } from '../support/free-port.ts';
import { plainEnvironment } from '../support/service.ts';
import { type Certificate as Files, selfSigned } from '../support/tls.ts';

const SCRIPT = fileURLToPath(new URL('../../ops/docker/healthcheck.mjs', import.meta.url));
const TOKEN = 'a.token.of.the.admin';

let files: Files;
let certificate: Certificate;
let unready: string | undefined;
beforeAll(async () => {
  files = await selfSigned();
  const settings = { SNO_TLS_CERT: files.certFile, SNO_TLS_KEY: files.keyFile };
  certificate = (await Certificate.load(settings, pino({ level: 'silent' }))) as Certificate;
});
afterAll(() => files.remove());

async function exitCode(settings: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [SCRIPT, ...args], { env: { ...plainEnvironment(), ...settings } });
  const [code] = (await once(child, 'exit')) as [number];
  return code;
}

test.each([
  ['plain HTTP on loopback', '127.0.0.1', undefined, false],
  ['TLS on all addresses, with a token', '0.0.0.0', TOKEN, true],
  ['plain HTTP on all addresses, behind a proxy', '0.0.0.0', TOKEN, false],
  ['TLS on all addresses of IPv6', '::', TOKEN, true],
] as const)('the image is healthy once Snö is ready: %s', async (_, host, token, isSecure) => {
  const admin = new Admin({
    host,
    port: 0,
    token,
    certificate: isSecure ? certificate : undefined,
    metrics: createMetrics(),
    unready: () => unready,
  });
  const { port } = await admin.start();
  const settings = { SNO_ADMIN_HOST: host, SNO_ADMIN_PORT: String(port) };
  try {
    unready = 'starting';
    expect(await exitCode(settings)).toBe(1);
    expect(await exitCode(settings, '/healthz')).toBe(0);
    unready = undefined;
    expect(await exitCode(settings)).toBe(0);
  } finally {
    await admin.close();
  }
});

test('the image is unhealthy if the admin port is closed, or does not answer', async () => {
  expect(await exitCode({ SNO_ADMIN_PORT: String(await freePort()) })).toBe(1);
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  expect(await exitCode({ SNO_ADMIN_PORT: String((silent.address() as AddressInfo).port) })).toBe(1);
  silent.close();
});
