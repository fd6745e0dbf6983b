/** Secrets do not get into logs and messages, in whichever way a library puts them there. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { describeError } from '../src/cli/report.ts';
import { secretValues } from '../src/config/derived.ts';
import { readSettings } from '../src/config/read.ts';
import { SnoError } from '../src/errors.ts';
import { createLogger, LogThrottle } from '../src/logger.ts';
import { createClient } from '../src/postgres/connect.ts';
import { hideSecrets, redacted } from '../src/redaction.ts';

const PASSWORD = 'pa55/w0rd@"\\ü';
const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl';
const SEED = `SU${'A2BC'.repeat(14)}`;

function logged(log: (logger: ReturnType<typeof createLogger>) => void): string {
  const lines: string[] = [];
  log(createLogger('debug', { write: (line) => void lines.push(line) }));
  for (const line of lines) JSON.parse(line);
  return lines.join('');
}

describe('a line of the log', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

  test.each([
    ['a password in a URL', 'postgres://app:hunter2@db:5432/app', 'hunter2'],
    ['a password that is not encoded', 'postgres://app:hun/te@r2@db/app', 'te@r2'],
    ['a token in the URL of a NATS server', 'nats://s3cr3ttoken@nats:4222', 's3cr3ttoken'],
    ['the password of a NATS server', 'tls://app:hunter2@nats:4222', 'hunter2'],
    ['a connection string', "host=db password=hunter2 sslpassword = 'hunt er3' user=app", /hunter2|er3/],
    ['a query', 'wss://host/v1?access_token=hunter2&x=1', 'hunter2'],
    ['a JSON Web Token', `the token ${TOKEN} was refused`, 'eyJzdWIi'],
    ['a header', 'Authorization: Bearer 0123456789abcdef', '0123456789abcdef'],
    ['a seed of NATS', `-----BEGIN USER NKEY SEED-----\n${SEED}\n------END USER NKEY SEED------`, SEED],
    ['a seed alone', `invalid seed ${SEED}`, SEED],
    ['a private key', pem, pem.split('\n')[1] as string],
  ])('hides %s, in a message, a field, an error and its cause', (_, text, secret) => {
    const error = Object.assign(new Error(text, { cause: new Error(text) }), { input: text, options: { text } });
    const log = logged((logger) => {
      logger.warn(text);
      logger.warn({ detail: text, nested: { detail: [text] } }, 'a field');
      logger.error({ err: error }, 'an error');
      logger.child({ text }).info('a child');
      logger.error(error);
    });
    expect(log).toContain('[hidden]');
    expect(log).not.toMatch(secret);
    expect(describeError(error)).not.toMatch(secret);
    expect(describeError(new SnoError('database_unreachable', text, { hint: text }))).not.toMatch(secret);
  });

  test.each(['password', 'token', 'authorization', 'client_secret', 'cookie'])('hides a field named %s', (name) => {
    expect(logged((logger) => logger.warn({ a: { [name]: 'hunter2 "x' } }, 'x'))).not.toContain('hunter2');
  });

  test('hides the secrets of the settings wherever they stand, also encoded and within JSON', () => {
    const settings = readSettings({
      SNO_DATABASE_URL: `postgres://app:${encodeURIComponent(PASSWORD)}@db/app`,
      SNO_JWT_SECRET: `secret of thirty-two bytes, at least`,
      SNO_ADMIN_TOKEN: 'token-of-the-operator',
    });
    hideSecrets(secretValues(settings));
    const log = logged((logger) => {
      logger.warn(`${PASSWORD}; ${encodeURIComponent(PASSWORD)}; secret of thirty-two bytes, at least`);
      logger.warn({ x: PASSWORD, y: ['token-of-the-operator'] }, 'x');
    });
    expect(log).not.toMatch(/pa55|w0rd|thirty-two|of-the-operator/);
  });

  test('keeps everything that is not a secret', () => {
    const text =
      'the token has expired: see https://db.example:8443/docs?token_kind=jwt. Send `Authorization: Bearer` with it; password authentication failed for user "app"';
    expect(redacted(text)).toBe(text);
    const key = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();
    expect(redacted(key)).toBe(key);
    const line = logged((logger) => logger.info({ code: 'token_invalid', channel: 'room:1', hint: text }, 'x'));
    expect(JSON.parse(line)).toMatchObject({ code: 'token_invalid', channel: 'room:1', hint: text, msg: 'x' });
  });

  test('takes time that does not grow with the square of its length', () => {
    for (const piece of ['a.', 'a://', 'eyJ-', '"password', 'postgres://a:', '-----BEGIN PRIVATE KEY-----'])
      redacted(piece.repeat(50_000));
  });
});

test('a throttled kind of line is written once in 10 seconds', () => {
  let now = 0;
  const throttle = new LogThrottle(() => now);
  const written: string[] = [];
  for (const [at, kind] of [
    [0, 'a'],
    [9_999, 'a'],
    [9_999, 'b'],
    [10_000, 'a'],
    [19_998, 'b'],
  ] as const) {
    now = at;
    throttle.log(kind, () => written.push(`${kind} ${at}`));
  }
  expect(written).toEqual(['a 0', 'b 9999', 'a 10000']);
});

test('an error of the real client of Postgres names no password', async () => {
  const client = createClient('postgres://app:hunter2hunter2@127.0.0.1:1/app', 'test');
  const error = await client.connect().catch((failed: Error) => failed);
  // node-postgres puts the client, with its password, into errors of its pool.
  const ofPool = Object.assign(new Error('of a pool'), { client });
  const log = logged((logger) => {
    logger.error({ err: error, client: String(error) }, 'x');
    logger.error({ err: ofPool, client }, 'x');
  });
  expect(log).toMatch(/ECONNREFUSED|refused/);
  expect(log).not.toContain('hunter2hunter2');
});
