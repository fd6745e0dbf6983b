/** Settings, incidents, frames and requests of the admin API. */
import { expect, test } from 'vitest';
import { jsonOf, lineOf } from '../../src/admin/api/frames.ts';
import { isForeign, Parameters, readExplainRequest } from '../../src/admin/api/request.ts';
import { effectiveSettings } from '../../src/admin/api/settings.ts';
import { readSettings, settingSources } from '../../src/config/read.ts';
import { createLogger } from '../../src/logger.ts';
import { textOf } from '../../src/memory/payload.ts';
import { INCIDENTS_MAX, Incidents, mergeIncidents } from '../../src/metrics/incidents.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { frameReader } from '../../src/roles/inspect/frames.ts';
import { relayInfo } from '../../src/roles/inspect/relay-info.ts';
import { payloadOf } from '../support/payloads.ts';

test('settings say where they come from, and never show a secret', () => {
  const environment = {
    DATABASE_URL: 'postgres://app:pa55word@db/app',
    SNO_JWT_SECRET: 'a secret of the tests, thirty-two bytes',
    SNO_JWKS_URL: 'https://user:pa55word@keys.example/jwks',
    SNO_NATS_URL: 'nats://user:pa55word@nats:4222',
    SNO_ADMIN_TOKEN: 'a.token.of.the.admin',
    SNO_SLOT: '',
  };
  const flags = { SNO_PORT: '1234' };
  const shown = effectiveSettings(readSettings(environment, flags), settingSources(environment, flags));
  const of = (name: string) => {
    const found = shown.find((each) => each.name === name);
    return [found?.value, found?.source, found?.from];
  };
  expect(of('SNO_DATABASE_URL')).toEqual(['(set)', 'environment', 'DATABASE_URL']);
  expect(of('SNO_JWT_SECRET')).toEqual(['(set)', 'environment', 'SNO_JWT_SECRET']);
  expect(of('SNO_JWKS_URL')).toEqual(['https://keys.example/jwks', 'environment', 'SNO_JWKS_URL']);
  expect(of('SNO_PORT')).toEqual(['1234', 'flag', '--port']);
  expect(of('SNO_SLOT')).toEqual(['sno', 'default', null]);
  expect(of('SNO_COOKIE')).toEqual([null, 'unset', null]);
  expect(JSON.stringify(shown)).not.toMatch(/pa55word|thirty-two bytes|token\.of/);
});

test('equal incidents are counted, and the oldest is dropped first', () => {
  let now = 0;
  const incidents = new Incidents(() => ++now);
  for (let index = 0; index < INCIDENTS_MAX + 5; index++) incidents.record('error', 'log', { cause: `line ${index}` });
  incidents.record('denial', 'access_denied', { cause: 'x'.repeat(2_000), channel: 'room:1' });
  incidents.record('denial', 'access_denied', { cause: 'the last', channel: 'room:2' });
  const [first] = incidents.list;
  expect(first).toMatchObject({ count: 2, cause: 'the last', channel: 'room:2', hint: expect.stringMatching(/./) });
  expect(incidents.list.length).toBe(INCIDENTS_MAX);
  expect(incidents.list.some(({ cause }) => cause === 'line 0')).toBe(false);
  const merged = mergeIncidents([incidents.list, incidents.list]);
  expect(merged[0]).toMatchObject({ count: 4, cause: 'the last' });
  expect(merged.length).toBe(INCIDENTS_MAX);
});

test('lines of the log of level warn and higher are incidents', () => {
  const incidents = new Incidents();
  const logger = createLogger('info', { write: () => undefined }, incidents).child({ worker: 1 });
  logger.info({ code: 'slot_in_use' }, 'waits');
  logger.warn({ code: 'slot_wal_exceeded', hint: 'end it', token: 'secret' }, 'the slot holds much');
  logger.error({ view: 'channels."a"' }, 'a row could not be evaluated');
  expect(incidents.list).toEqual([
    expect.objectContaining({ kind: 'error', level: 'error', code: 'log', channel: 'channels."a"' }),
    expect.objectContaining({ level: 'warn', code: 'slot_wal_exceeded', cause: 'the slot holds much', hint: 'end it' }),
  ]);
});

const CHANGES = {
  type: 'changes',
  channel: 'room:1',
  position: 'e-1-1:0/8:1',
  lsn: '0/8',
  xid: 741,
  committed_at: '2026-11-23T10:00:00.123456Z',
  events: [
    { op: 'insert', key: { id: 1 }, data: { id: 1, secret: 'text' } },
    ...Array.from({ length: 30 }, (_, id) => ({ op: 'delete', key: { id } })),
  ],
};

test('a live frame hides the values of rows unless they are asked for', () => {
  const text = Buffer.from(JSON.stringify(CHANGES));
  const hidden = lineOf('p', text.length, text, false);
  expect(hidden).toMatchObject({ type: 'changes', count: 31, xid: 741, lsn: '0/8' });
  expect(hidden.events?.length).toBe(20);
  expect(hidden.events?.[0]).toEqual({ op: 'insert', columns: ['id', 'secret'] });
  expect(JSON.stringify(hidden)).not.toContain('text');
  const shown = lineOf('p', text.length, text, true);
  expect(shown.events?.[0]).toEqual({ ...CHANGES.events[0], columns: ['id', 'secret'] });
  const message = Buffer.from('{"type":"message","channel":"room:1","position":"p","event":"wave","data":{"hi":1}}');
  expect(lineOf('p', 1, message, false)).toMatchObject({ event: 'wave', events: [{ op: 'message', columns: ['hi'] }] });
  expect(lineOf('p', 1e6, undefined, true)).toMatchObject({ bytes: 1e6, events: null, count: null });
});

test('a live frame whose data nests too deeply is shown without it, and ends nothing', () => {
  const data = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  const text = Buffer.from(`{"type":"message","channel":"room:1","position":"p","event":"wave","data":${data}}`);
  const line = JSON.parse(jsonOf(lineOf('p', text.length, text, true))) as unknown;
  expect(line).toMatchObject({ event: 'wave', count: 1, events: null });
});

test('a live frame shows numbers with their digits', () => {
  const data =
    '{"id":9007199254740993,"small":1234567890123456,"price":-1.00000000000000000001,"text":"9007199254740993 \\" 1"}';
  const text = Buffer.from(
    `{"type":"changes","events":[{"op":"insert","key":{"id":9007199254740993},"data":${data}}]}`,
  );
  expect(lineOf('p', text.length, text, true).events?.[0]).toMatchObject({
    key: { id: '9007199254740993' },
    data: {
      id: '9007199254740993',
      small: 1_234_567_890_123_456,
      price: '-1.00000000000000000001',
      text: '9007199254740993 " 1',
    },
  });
});

test('the journal is read on from the last frame, and what is left out is counted', () => {
  const payload = payloadOf('{}');
  let sequences: number[] = [];
  const log = {
    name: 'room:1',
    pattern: 'room:{id}',
    evicted: -1,
    voided: undefined,
    watch: () => undefined,
    unwatch: () => undefined,
    get length() {
      return sequences.length;
    },
    at: (index: number) =>
      sequences[index] === undefined
        ? undefined
        : { channel: 'room:1', pattern: 'room:{id}', payload, xid: 1, sequence: sequences[index], lsn: 8, index: 1 },
    firstAfter: (sequence: number) => {
      const found = sequences.findIndex((each) => each > sequence);
      return found === -1 ? sequences.length : found;
    },
  };
  const read = frameReader({ peek: () => log }, () => 'e-1-1', 'room:1');
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);
  sequences = range(0, 50);
  expect(read(20)).toMatchObject({ frames: { length: 10 }, skipped: 0 });
  expect(read(20)).toMatchObject({ frames: [], skipped: 0 });
  sequences = range(20, 100);
  expect(read(20)).toMatchObject({ frames: { length: 20 }, skipped: 30 });
  sequences = range(0, 3);
  expect(read(20)).toMatchObject({ frames: { length: 3 }, skipped: 0 });
  expect(textOf(payload).toString()).toBe('{}');
});

test('the stream between machines is shown from its metrics, with the fault that /readyz names', async () => {
  const metrics = createMetrics();
  metrics.observe({ relaySequence: () => 42, relayLag: () => 3, relayCutOff: () => 1 });
  const values = await metrics.values();
  const well = { isConnected: true, fault: null, isCutOff: true, sequence: 42, lagMessages: 3, streamBytes: null };
  expect(relayInfo(values, 'SNO', undefined)).toMatchObject(well);
  expect(
    relayInfo(values, 'SNO', { why: 'nats', text: 'not connected to NATS: refused', fault: 'refused' }),
  ).toMatchObject({
    isConnected: false,
    fault: 'refused',
  });
  expect(
    relayInfo(values, 'SNO', { why: 'stream', text: 'the stream takes no steps: no space', fault: 'no space' }),
  ).toMatchObject({
    isConnected: true,
    fault: 'no space',
  });
});

test.each([
  [{ host: 'localhost:9443' }, false, false],
  [{ host: 'localhost:9443' }, true, true],
  [{ host: 'localhost:9443', 'x-sno-admin': '1' }, true, false],
  [{ host: 'localhost:9443', origin: 'http://localhost:9443', 'sec-fetch-site': 'same-origin' }, false, false],
  [{ host: 'localhost:9443', origin: 'http://localhost:3000', 'x-sno-admin': '1' }, true, true],
  [{ host: 'localhost:9443', origin: 'null' }, false, true],
  [{ host: 'localhost:9443', 'sec-fetch-site': 'same-site' }, false, true],
  [{ host: 'localhost:9443', 'sec-fetch-site': 'cross-site' }, false, true],
  [{ host: 'localhost:9443', 'sec-fetch-site': 'none' }, false, false],
])('a request with %j that needs the header (%s) is foreign: %s', (headers, needsHeader, foreign) => {
  expect(isForeign(headers, needsHeader)).toBe(foreign);
});

test('parameters and bodies that are invalid are refused by name', () => {
  const slice = (query: string) => () => new Parameters(`/api/channels?${query}`).slice;
  expect(slice('offset=10&limit=5&search=%20a%20')()).toEqual({ offset: 10, limit: 5, search: 'a' });
  expect(slice('limit=101')).toThrow(/^limit must be a whole number from 1 to 100$/);
  expect(slice('limit=0')).toThrow(/^limit/);
  expect(slice('offset=-1')).toThrow(/^offset/);
  expect(slice('offset=1&offset=2')).toThrow(/^offset occurs more than once$/);
  expect(slice(`search=${'x'.repeat(201)}`)).toThrow(/^search is longer/);
  expect(() => new Parameters('/api/channel').name).toThrow(/^name is missing/);
  for (const body of [undefined, [], 'x', {}, { channel: 1 }, { channel: 'a', token: 1 }, { channel: 'a', claims: [] }])
    expect(() => readExplainRequest(body)).toThrow();
  expect(() => readExplainRequest({ channel: 'a', token: 't', claims: {} })).toThrow(/exclude each other/);
  expect(readExplainRequest({ channel: 'a', claims: { sub: 'u' }, more: 1 })).toEqual({
    channel: 'a',
    claims: { sub: 'u' },
  });
});
