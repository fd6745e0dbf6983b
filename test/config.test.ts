import { describe, expect, test } from 'vitest';
import { databaseUrl, printable, slotWalBytes } from '../src/config/derived.ts';
import { readSettings, readValues } from '../src/config/read.ts';
import type { Setting } from '../src/config/setting.ts';
import { flagOf, SETTING_NAMES, SETTINGS, type SettingName } from '../src/config/settings.ts';
import { SnoError } from '../src/errors.ts';

function refusal(read: () => unknown): SnoError {
  try {
    read();
  } catch (error) {
    if (error instanceof SnoError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('defaults', () => {
  test('apply without any variable', () => {
    expect(readSettings({})).toEqual({
      SNO_SLOT: 'sno',
      SNO_SLOT_WAL_BYTES: 8 * 1024 ** 3,
      SNO_SLOT_WAL_POLICY: 'give_up',
      SNO_UNDECODABLE_SECONDS: 30,
      SNO_STATSD_TAGS: 'datadog',
      SNO_STATSD_SECONDS: 10,
      SNO_OTLP_SIGNALS: 'all',
      SNO_OTLP_SECONDS: 30,
      SNO_PUBLICATION: 'sno',
      SNO_HOST: '127.0.0.1',
      SNO_PORT: 8443,
      SNO_TLS: 'auto',
      SNO_ADMIN_PORT: 9443,
      SNO_ADMIN_HOST: '127.0.0.1',
      SNO_JWT_EXP: 'optional',
      SNO_JWKS_KEEP_SECONDS: 86_400,
      SNO_ACCESS: 'views',
      SNO_TCP_USER_TIMEOUT_SECONDS: 30,
      SNO_ACCESS_QUERIES: 4,
      SNO_ACCESS_BATCH: 500,
      SNO_ACCESS_WAITING: 100_000,
      SNO_ACCESS_TIMEOUT_SECONDS: 5,
      SNO_REPLAY_BYTES: 64 * 1024 ** 2,
      SNO_REPLAY_SECONDS: 300,
      SNO_REPLAY_WAL_BYTES: 256 * 1024 ** 2,
      SNO_JOIN_CACHE_BYTES: 64 * 1024 ** 2,
      SNO_JOIN_ROWS: 100_000,
      SNO_COMMIT_BYTES: 8 * 1024 ** 2,
      SNO_OUTBOUND_BYTES: 1024 ** 2,
      SNO_OUTBOUND_TOTAL_BYTES: 256 * 1024 ** 2,
      SNO_WAL_BUFFER_BYTES: 16 * 1024 ** 2,
      SNO_SNAPSHOTS: 4,
      SNO_SNAPSHOT_BYTES: 8 * 2 ** 20,
      SNO_COMPRESS_BYTES: 512,
      SNO_SNAPSHOT_SECONDS: 300,
      SNO_SPOOL_BYTES: 0,
      SNO_MAX_CONNECTIONS: 100_000,
      SNO_MAX_CONNECTIONS_PER_ADDRESS: 1_000,
      SNO_MAX_PENDING_CONNECTIONS: 10_000,
      SNO_HANDSHAKE_SECONDS: 10,
      SNO_HELLO_SECONDS: 5,
      SNO_MAX_HEADER_BYTES: 16_384,
      SNO_MAX_CHANNEL_BYTES: 1_024,
      SNO_MAX_TOKEN_BYTES: 16_384,
      SNO_MAX_WAITING_SNAPSHOTS: 10_000,
      SNO_MAX_SUBSCRIPTIONS: 500,
      SNO_MAX_FRAME_BYTES: 65_536,
      SNO_MAX_FRAMES_PER_SECOND: 200,
      SNO_MAX_SENDS_PER_SECOND: 10,
      SNO_PRESENCE_GRACE_SECONDS: 5,
      SNO_MAX_FRAGMENTS: 128,
      SNO_MAX_FRAME_PIECES: 1_024,
      SNO_MAX_WAITING_COMMITS: 1_000,
      SNO_DRAIN_SECONDS: 5,
      SNO_LOG_LEVEL: 'info',
      SNO_WORKERS: 0,
      SNO_NATS_STREAM: 'SNO',
      SNO_NATS_REPLICAS: 1,
      SNO_NATS_MAX_AGE_SECONDS: 3_600,
      SNO_NATS_MAX_BYTES: 4 * 1024 ** 3,
      SNO_NATS_SYNC_SECONDS: 120,
      SNO_RELAY_SILENCE_SECONDS: 15,
      SNO_ROLE: 'all',
    });
  });

  test('apply if a variable is empty', () => {
    expect(readSettings({ SNO_PORT: '', SNO_JWT_SECRET: '' }).SNO_PORT).toBe(8443);
  });

  test.each(SETTING_NAMES)('%s: the default, if there is one, is valid', (name) => {
    const { form, fallback }: Setting = SETTINGS[name];
    if (fallback !== undefined) expect(form.schema.safeParse(fallback).success).toBe(true);
  });
});

describe('good values', () => {
  const GOOD: readonly (readonly [SettingName, string, unknown])[] = [
    ['SNO_DATABASE_URL', 'postgres://u:p@h:5432/d', 'postgres://u:p@h:5432/d'],
    ['SNO_DATABASE_URL', 'postgresql:///d?host=/run/postgresql', 'postgresql:///d?host=/run/postgresql'],
    ['SNO_HOST', '::1', '::1'],
    ['SNO_HOST', 'localhost', 'localhost'],
    ['SNO_PORT', '0', 0],
    ['SNO_PORT', '65535', 65_535],
    ['SNO_REPLAY_BYTES', '512kB', 512 * 1024],
    ['SNO_REPLAY_BYTES', '1GB', 1024 ** 3],
    ['SNO_REPLAY_BYTES', '2 TB', 2 * 1024 ** 4],
    ['SNO_REPLAY_BYTES', '10B', 10],
    ['SNO_REPLAY_BYTES', '0', 0],
    ['SNO_ALLOWED_ORIGINS', 'https://a.example, http://localhost:3000', ['https://a.example', 'http://localhost:3000']],
    ['SNO_ALLOWED_ORIGINS', 'capacitor://localhost', ['capacitor://localhost']],
    ['SNO_ALLOWED_ORIGINS', '*', ['*']],
    [
      'SNO_ALLOWED_ORIGINS',
      'https://*.a.example,http://*.localhost:3000,null,file://',
      ['https://*.a.example', 'http://*.localhost:3000', 'null', 'file://'],
    ],
    ['SNO_ALLOWED_ORIGINS', 'ionic://,tauri://localhost,app://.', ['ionic://', 'tauri://localhost', 'app://.']],
    ['SNO_JWT_SECRET', 'ö'.repeat(16), 'ö'.repeat(16)],
    ['SNO_JWKS_URL', 'https://id.example/jwks', 'https://id.example/jwks'],
    ['SNO_TRUSTED_PROXIES', '10.0.0.0/8, 2001:db8::1', ['10.0.0.0/8', '2001:db8::1']],
    ['SNO_ADMIN_TOKEN', 'YWRtaW4gdG9rZW4gb2YgdGVzdHM=', 'YWRtaW4gdG9rZW4gb2YgdGVzdHM='],
    ['SNO_NATS_URL', 'nats://a:4222, tls://u:p@b', ['nats://a:4222', 'tls://u:p@b']],
    ['SNO_SLOT', 'snö'.replace('ö', 'o_2'), 'sno_2'],
  ];
  test.each(GOOD)('%s=%s', (name, text, value) => {
    expect(readSettings({ [name]: text })[name]).toEqual(value);
  });
});

describe('bad values', () => {
  const BAD: readonly (readonly [string, string])[] = [
    ['SNO_DATABASE_URL', 'mysql://h/d'],
    ['SNO_DATABASE_URL', 'not a url'],
    ['DATABASE_URL', 'mysql://h/d'],
    ['SNO_SLOT', 'Sno'],
    ['SNO_SLOT', 'a'.repeat(64)],
    ['SNO_SLOT_WAL_BYTES', '8 gigabytes'],
    ['SNO_SLOT_WAL_POLICY', 'drop'],
    ['SNO_UNDECODABLE_SECONDS', 'never'],
    ['SNO_PUBLICATION', 'a"b'],
    ['SNO_RULES', ' '],
    ['SNO_HOST', 'https://example.com'],
    ['SNO_HOST', 'localhost:8443'],
    ['SNO_PORT', '65536'],
    ['SNO_PORT', '-1'],
    ['SNO_PORT', '1e3'],
    ['SNO_PORT', 'tcp://10.0.0.1:8443'],
    ['SNO_TLS', 'on'],
    ['SNO_TLS_CERT', ' '],
    ['SNO_TLS_KEY', ' '],
    ['SNO_ADMIN_PORT', 'no'],
    ['SNO_ALLOWED_ORIGINS', 'example.com'],
    ['SNO_ALLOWED_ORIGINS', 'https://example.com/'],
    ['SNO_ALLOWED_ORIGINS', 'https://EXAMPLE.com'],
    ['SNO_ALLOWED_ORIGINS', 'https://a.example,,https://b.example'],
    ['SNO_ALLOWED_ORIGINS', 'https://example.com:443'],
    ['SNO_ALLOWED_ORIGINS', 'wss://example.com'],
    ['SNO_ALLOWED_ORIGINS', 'file:///index.html'],
    ['SNO_ALLOWED_ORIGINS', 'NULL'],
    ['SNO_ALLOWED_ORIGINS', 'https://*'],
    ['SNO_ALLOWED_ORIGINS', 'https://*.com'],
    ['SNO_ALLOWED_ORIGINS', 'https://*.com.'],
    ['SNO_ALLOWED_ORIGINS', 'https://*.0.0.1'],
    ['SNO_ALLOWED_ORIGINS', 'https://*.[::1]'],
    ['SNO_ALLOWED_ORIGINS', 'https://a*.example.com'],
    ['SNO_ALLOWED_ORIGINS', 'https://app.*.com'],
    ['SNO_ALLOWED_ORIGINS', 'https://*.*.example.com'],
    ['SNO_ALLOWED_ORIGINS', 'https://*.example.com:*'],
    ['SNO_ALLOWED_ORIGINS', 'https://*.example.com/'],
    ['SNO_ALLOWED_ORIGINS', 'https://*.EXAMPLE.com'],
    ['SNO_ALLOWED_ORIGINS', '*://app.example.com'],
    ['SNO_ALLOWED_ORIGINS', '*.example.com'],
    ['SNO_ALLOWED_ORIGINS', 'capacitor://*.example.com'],
    ['SNO_JWT_SECRET', 'too short'],
    ['SNO_JWT_PUBLIC_KEY', ' '],
    ['SNO_JWKS_URL', 'file:///jwks'],
    ['SNO_JWT_ISSUER', ' '],
    ['SNO_JWT_AUDIENCE', ' '],
    ['SNO_JWT_EXP', 'yes'],
    ['SNO_ACCESS', 'closed'],
    ['SNO_ACCESS_QUERIES', '0'],
    ['SNO_ACCESS_BATCH', '0'],
    ['SNO_JWKS_KEEP_SECONDS', '59'],
    ['SNO_TCP_USER_TIMEOUT_SECONDS', 'x'],
    ['SNO_ACCESS_WAITING', '0'],
    ['SNO_ACCESS_TIMEOUT_SECONDS', '0'],
    ['SNO_REPLAY_BYTES', '64 megabytes'],
    ['SNO_REPLAY_BYTES', '-1'],
    ['SNO_REPLAY_BYTES', '999999999999TB'],
    ['SNO_REPLAY_SECONDS', '5m'],
    ['SNO_REPLAY_WAL_BYTES', '1.5GB'],
    ['SNO_JOIN_CACHE_BYTES', '64 apples'],
    ['SNO_JOIN_ROWS', '0'],
    ['SNO_COMMIT_BYTES', '0'],
    ['SNO_OUTBOUND_BYTES', '0'],
    ['SNO_OUTBOUND_TOTAL_BYTES', '0'],
    ['SNO_WAL_BUFFER_BYTES', 'x'],
    ['SNO_SNAPSHOTS', '0'],
    ['SNO_SNAPSHOT_BYTES', '0'],
    ['SNO_COOKIE', 'two words'],
    ['SNO_PUSHER_APP_ID', 'a b'],
    ['SNO_PUSHER_KEY', 'a/b'],
    ['SNO_PUSHER_SECRET', ' '],
    ['SNO_COMPRESS_BYTES', '-1'],
    ['SNO_SNAPSHOT_SECONDS', '0'],
    ['SNO_SPOOL_BYTES', '-1'],
    ['SNO_SPOOL_DIR', ' '],
    ['SNO_MAX_CONNECTIONS', '10000001'],
    ['SNO_MAX_CONNECTIONS_PER_ADDRESS', 'many'],
    ['SNO_ADMIN_HOST', 'https://admin.example'],
    ['SNO_ADMIN_TOKEN', 'too short'],
    ['SNO_ADMIN_TOKEN', 'no spaces in it, please'],
    ['SNO_TRUSTED_PROXIES', 'proxy.example'],
    ['SNO_TRUSTED_PROXIES', '10.0.0.0/33'],
    ['SNO_TRUSTED_PROXIES', '10.0.0.1,'],
    ['SNO_TRUSTED_PROXIES', 'fe80::/129'],
    ['SNO_MAX_PENDING_CONNECTIONS', '-1'],
    ['SNO_HANDSHAKE_SECONDS', '0'],
    ['SNO_HELLO_SECONDS', '5s'],
    ['SNO_MAX_HEADER_BYTES', '100'],
    ['SNO_MAX_CHANNEL_BYTES', '0'],
    ['SNO_MAX_TOKEN_BYTES', '0'],
    ['SNO_MAX_WAITING_SNAPSHOTS', 'x'],
    ['SNO_MAX_SUBSCRIPTIONS', '1000001'],
    ['SNO_MAX_FRAME_BYTES', '0'],
    ['SNO_MAX_FRAMES_PER_SECOND', '-5'],
    ['SNO_MAX_SENDS_PER_SECOND', '-1'],
    ['SNO_PRESENCE_GRACE_SECONDS', '601'],
    ['SNO_MAX_FRAGMENTS', '0'],
    ['SNO_MAX_FRAME_PIECES', '1MB'],
    ['SNO_MAX_WAITING_COMMITS', '0'],
    ['SNO_DRAIN_SECONDS', '601'],
    ['SNO_LOG_LEVEL', 'loud'],
    ['SNO_WORKERS', '257'],
    ['SNO_NATS_URL', 'https://nats'],
    ['SNO_NATS_URL', 'nats://a:4222,b:4222'],
    ['SNO_NATS_STREAM', 'a.b'],
    ['SNO_NATS_REPLICAS', '6'],
    ['SNO_RELAY_SILENCE_SECONDS', '0'],
    ['SNO_ROLE', 'reader'],
    ['SNO_ROLE', 'ingest'],
    ['SNO_NATS_CREDS', '/creds'],
    ['SNO_NATS_CA', '/ca.pem'],
    ['SNO_NATS_MAX_AGE_SECONDS', '1'],
    ['SNO_NATS_MAX_BYTES', '1kB'],
    ['SNO_NATS_SYNC_SECONDS', '-1'],
    ['SNO_STATSD_URL', 'tcp://127.0.0.1:8125'],
    ['SNO_STATSD_URL', '127.0.0.1:8125'],
    ['SNO_STATSD_TAGS', 'env'],
    ['SNO_STATSD_SECONDS', '0'],
    ['SNO_OTLP_URL', 'grpc://127.0.0.1:4317'],
    ['SNO_OTLP_HEADERS', 'authorization'],
    ['SNO_OTLP_HEADERS', 'authorization=Bearer%2'],
    ['SNO_OTLP_HEADERS', 'authorization=%ff'],
    ['SNO_OTLP_HEADERS', 'tenant=1,'],
    ['SNO_OTLP_SIGNALS', 'logs'],
    ['SNO_OTLP_SECONDS', '0'],
    ['SNO_PROT', '1'],
    ['SNO_', 'x'],
  ];
  test.each(BAD)('%s=%s is refused by an error that names the setting', (name, value) => {
    const error = refusal(() => readSettings({ [name]: value }));
    expect(error.code).toBe('setting_invalid');
    expect(error.message).toMatch(new RegExp(`^${name}: `));
  });

  test.each([
    ['https://app.*.com', 'a wildcard may replace only the first label of a host'],
    ['https://*.com', 'that would allow every site under .com'],
    ['https://Example.com/app', 'browsers send it as https://example.com'],
    ['https://*.Example.com', 'browsers send it as https://*.example.com'],
    ['wss://example.com', 'use the origin of the page: https://example.com'],
  ])('refuses the origin %s with the reason', (origin, reason) => {
    const { message } = refusal(() => readSettings({ SNO_ALLOWED_ORIGINS: `https://a.example,${origin}` }));
    expect(message).toContain(`${JSON.stringify(origin)}: ${reason}`);
  });

  test('the table has an invalid value for every setting', () => {
    expect(SETTING_NAMES.filter((name) => !BAD.some(([bad]) => bad === name))).toEqual([]);
  });

  test('reports all invalid settings at once, in order', () => {
    const { message } = refusal(() => readSettings({ SNO_PORT: 'x', SNO_SLOT: 'Y', SNO_LOGLEVEL: 'info' }));
    expect(message).toBe(
      [
        'SNO_LOGLEVEL: unknown setting; did you mean SNO_LOG_LEVEL?',
        'SNO_SLOT: must be 1 to 63 characters of a-z, 0-9 and _, as Postgres allows in the name of a slot, got "Y"',
        'SNO_PORT: must be a whole number from 0 to 65535, got "x"',
      ].join('\n'),
    );
  });

  test('prints no secret', () => {
    const { message } = refusal(() =>
      readSettings({ SNO_DATABASE_URL: 'mysql://u:hunter2@h/d', SNO_JWT_SECRET: 'hunter2' }),
    );
    expect(message).not.toContain('hunter2');
    const good = readSettings({ SNO_DATABASE_URL: 'postgres://u:hunter2@h/d', SNO_JWT_SECRET: 'hunter2'.repeat(5) });
    expect(JSON.stringify(printable(good))).not.toContain('hunter2');
    expect(printable(good)['SNO_DATABASE_URL']).toBe('(set)');
  });
});

describe('contradictions', () => {
  const CONTRADICTIONS: readonly (readonly [string, Record<string, string>])[] = [
    ['SNO_TLS_CERT, SNO_TLS_KEY', { SNO_TLS_CERT: 'a.pem' }],
    ['SNO_TLS_CERT, SNO_TLS_KEY', { SNO_TLS_KEY: 'a.pem' }],
    ['SNO_TLS', { SNO_TLS_CERT: 'a.pem', SNO_TLS_KEY: 'b.pem', SNO_TLS: 'off' }],
    ['SNO_HOST', { SNO_HOST: '0.0.0.0' }],
    ['SNO_HOST', { SNO_HOST: '::' }],
    ['SNO_HOST', { SNO_HOST: 'sno.example.com' }],
    ['SNO_COOKIE', { SNO_COOKIE: 'session', SNO_ALLOWED_ORIGINS: 'https://app.example,*' }],
    ['SNO_COOKIE', { SNO_COOKIE: 'session', SNO_ALLOWED_ORIGINS: 'null' }],
    ['SNO_PUSHER_APP_ID, SNO_PUSHER_KEY, SNO_PUSHER_SECRET', { SNO_PUSHER_KEY: 'a' }],
    ['SNO_PUSHER_APP_ID, SNO_PUSHER_KEY, SNO_PUSHER_SECRET', { SNO_PUSHER_APP_ID: '1', SNO_PUSHER_SECRET: 'b' }],
    ['SNO_ADMIN_HOST', { SNO_ADMIN_HOST: '0.0.0.0', SNO_TLS: 'off' }],
    ['SNO_ADMIN_HOST', { SNO_ADMIN_HOST: '::', SNO_ADMIN_TOKEN: 'a.token.of.the.admin' }],
  ];
  test.each(CONTRADICTIONS)('%s: %o', (named, environment) => {
    expect(refusal(() => readSettings(environment)).message).toMatch(new RegExp(`^${named}: `));
    expect(() => readValues(environment)).not.toThrow();
  });

  test.each([
    { SNO_HOST: '0.0.0.0', SNO_TLS: 'off' },
    { SNO_HOST: '0.0.0.0', SNO_TLS_CERT: 'a.pem', SNO_TLS_KEY: 'b.pem' },
    { SNO_HOST: '127.0.0.2' },
    { SNO_HOST: '::1' },
    { SNO_ADMIN_HOST: '127.0.0.2' },
    { SNO_ADMIN_HOST: '0.0.0.0', SNO_ADMIN_TOKEN: 'a.token.of.the.admin', SNO_TLS: 'off' },
    { SNO_ADMIN_HOST: '::', SNO_ADMIN_TOKEN: 'a.token.of.the.admin', SNO_TLS_CERT: 'a.pem', SNO_TLS_KEY: 'b.pem' },
  ])('accepts %o', (environment) => {
    expect(() => readSettings(environment)).not.toThrow();
  });
});

describe('flags', () => {
  test('are named after the settings', () => {
    expect(flagOf('SNO_MAX_FRAME_BYTES')).toBe('max-frame-bytes');
    expect(new Set(SETTING_NAMES.map(flagOf)).size).toBe(SETTING_NAMES.length);
  });

  test('override the environment, even an invalid value', () => {
    expect(readSettings({ SNO_PORT: 'x' }, { SNO_PORT: '1' }).SNO_PORT).toBe(1);
  });

  test('are named in the error', () => {
    const error = refusal(() => readSettings({ SNO_PORT: '1' }, { SNO_PORT: 'x' }));
    expect(error.message).toMatch(/^SNO_PORT \(--port\): /);
  });
});

describe('the database', () => {
  test('is DATABASE_URL if SNO_DATABASE_URL is not set', () => {
    expect(databaseUrl(readSettings({ DATABASE_URL: 'postgres://a/b' }))).toBe('postgres://a/b');
    expect(databaseUrl(readSettings({ DATABASE_URL: 'postgres://a/b', SNO_DATABASE_URL: 'postgres://c/d' }))).toBe(
      'postgres://c/d',
    );
  });

  test('is asked for by name if it is needed and not set', () => {
    expect(refusal(() => databaseUrl(readSettings({}))).message).toMatch(/^SNO_DATABASE_URL: /);
  });
});

test.each([
  ['8GB', '256MB', 8 * 1024 ** 3],
  ['1MB', '256MB', 512 * 1024 ** 2],
  ['0', '256MB', 0],
])('with SNO_SLOT_WAL_BYTES %s and %s for replay, a slot may hold %d bytes of WAL', (bound, replay, bytes) => {
  expect(slotWalBytes(readSettings({ SNO_SLOT_WAL_BYTES: bound, SNO_REPLAY_WAL_BYTES: replay }))).toBe(bytes);
});
