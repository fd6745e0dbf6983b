/** What Pusher clients receive of a commit, a message and a snapshot; names and signatures. */
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Entry } from '../../src/commit/entry.ts';
import { EncodedForms } from '../../src/fanout/encoded-forms.ts';
import { PusherApp } from '../../src/gateway/pusher/app.ts';
import { readPusherFrame } from '../../src/gateway/pusher/client-frame.ts';
import type { PlainForm } from '../../src/gateway/pusher/deflated.ts';
import { PusherEncodings } from '../../src/gateway/pusher/encoding.ts';
import { nameOf, type Prefix, parseName } from '../../src/gateway/pusher/names.ts';
import { FrameReader } from '../support/frames.ts';
import { payloadOf } from '../support/payloads.ts';

const compressed: number[] = [];
const all = new PusherEncodings({
  bytesMin: 500,
  forms: new EncodedForms(2 ** 20),
  deflated: (before) => compressed.push(before),
});
const encoding = (prefix: Prefix, isSpelled = false) => all.of({ prefix, isSpelled }, false) as PlainForm;
const entryOf = (text: string, channel = 'room:7') =>
  ({ channel, pattern: 'room:{id}', payload: payloadOf(text), xid: 1, sequence: 1, lsn: 8, index: 1 }) as Entry;
const framesIn = (bytes: Buffer) =>
  new FrameReader().push(bytes).map((text) => JSON.parse(text) as { event: string; channel: string; data?: string });
const changes = (events: string) =>
  `{"type":"changes","channel":"room:7","position":"e:1:1","lsn":"0/1","xid":1,"committed_at":"t","events":[${events}]}`;
const message = (event: string, data: string) =>
  `{"type":"message","channel":"room:7","position":"e:1:1","event":${JSON.stringify(event)},"data":${data}}`;
const rows = (list: string, part: number, last: boolean) =>
  payloadOf(`{"type":"snapshot","channel":"room:7","rows":[${list}],"part":${part},"last":${last}}`);

describe('a commit', () => {
  test('each event is a frame of its own, with key and data as JSON text; numbers keep their digits', () => {
    const made = encoding('private-').entry(
      entryOf(
        changes(
          '{"op":"insert","key":{"id":1},"data":{"id":12345678901234567890,"t":"a\\"b\\\\","j":[{"x":"}"}]}},{"op":"update","key":{"id":1},"data":{"doc":{\n"a":\t1}},"unchanged":["t"]},{"op":"delete","key":{"id":1}},{"op":"truncate"}',
        ),
      ),
    );
    const frames = framesIn(made);
    expect(frames.map(({ event }) => event)).toEqual(['insert', 'update', 'delete', 'truncate']);
    expect(frames.every(({ channel }) => channel === 'private-room:7')).toBe(true);
    expect(frames[0]?.data).toBe('{"key":{"id":1},"data":{"id":12345678901234567890,"t":"a\\"b\\\\","j":[{"x":"}"}]}}');
    expect(frames.slice(1).map(({ data }) => JSON.parse(data as string))).toEqual([
      { key: { id: 1 }, data: { doc: { a: 1 } }, unchanged: ['t'] },
      { key: { id: 1 } },
      {},
    ]);
  });

  test('its bytes are made once for all clients that know the channel by the same name', () => {
    const entry = entryOf(changes('{"op":"truncate"}'));
    expect(encoding('').entry(entry)).toBe(encoding('').entry(entry));
    expect(framesIn(encoding('').entry(entry))[0]?.channel).toBe('room:7');
    expect(framesIn(encoding('cache-').entry(entry))[0]?.channel).toBe('cache-room:7');
    expect(framesIn(encoding('cache-', true).entry(entry))[0]?.channel).toBe('cache-room;7');
  });

  test('any rows arrive as they are, in frames of any size', () => {
    const row = fc.record({ key: fc.dictionary(fc.string(), fc.integer()), data: fc.jsonValue() });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 8 }), fc.nat(70_000), fc.nat(3), (list, bytes, indent) => {
        const events = list.map(({ key, data }) => ({ op: 'insert', key, data: { data, filler: 'x'.repeat(bytes) } }));
        const text = events.map((event) => JSON.stringify(event)).join(',');
        // White space within a json column stays as the app wrote it.
        const spaced = indent === 0 ? text : text.replaceAll('"filler":', `"filler":${'\r\n\t'.slice(0, indent)}`);
        const frames = framesIn(encoding('').entry(entryOf(changes(spaced))));
        expect(frames.map(({ data }) => ({ op: 'insert', ...JSON.parse(data as string) }))).toEqual(
          JSON.parse(JSON.stringify(events)),
        );
      }),
      { numRuns: 60 },
    );
  });
});

describe('for clients that accept compressed frames', () => {
  const deflated = all.of({ prefix: 'private-', isSpelled: false }, true);
  const rowOf = (id: number, bytes: number) => `{"op":"insert","key":{"id":${id}},"data":{"t":"${'x'.repeat(bytes)}"}}`;
  const read = (bytes: Buffer) => {
    const reader = new FrameReader();
    return { texts: reader.push(bytes), compressed: reader.compressed };
  };

  test.each([
    ['small ones stay as they are', [10, 20], 0],
    ['each large one is compressed by itself', [10, 600, 2_000, 20], 2],
    ['a commit that would keep other clients waiting is not compressed', [600, 70_000], 0],
    ['many small ones stay as they are', Array.from({ length: 20 }, () => 100), 0],
  ])('%s', (_, sizes, count) => {
    const entry = entryOf(changes(sizes.map((bytes, id) => rowOf(id, bytes)).join(',')));
    const made = deflated.entry(entry);
    expect(read(made)).toEqual({ texts: read(encoding('private-').entry(entry)).texts, compressed: count });
    expect(deflated.entry(entry)).toBe(made);
  });

  test('pieces of snapshots are compressed with what comes before them; a sent message too', async () => {
    const list = Array.from({ length: 50 }, (_, id) => `{"key":{"id":${id}},"data":{"t":"${'x'.repeat(50)}"}}`);
    for (const part of [1, 2]) {
      const piece = rows(list.join(','), part, part === 2);
      const made = await deflated.snapshot(piece, 'room:7');
      const plain = read(encoding('private-').snapshot(piece, 'room:7')).texts;
      expect(read(made)).toEqual({ texts: plain, compressed: 1 });
      expect(plain).toHaveLength(3 - part);
    }
    const sent = payloadOf(message('client-a', `"${'x'.repeat(1_000)}"`));
    expect(read(deflated.unstored('message', sent)).compressed).toBe(1);
    expect(compressed.length).toBeGreaterThan(4);
  });
});

describe('a message', () => {
  test.each([
    ['"42"', '42'],
    ['42', 42],
    ['"true"', 'true'],
    ['"12345678901234567890"', '12345678901234567890'],
    ['"{\\"a\\":1}"', '{"a":1}'],
    ['null', null],
    ['{"a":"\\u0000é"}', { a: '\u0000é' }],
  ])('with the data %s has its own event name, and keeps its type', (data, expected) => {
    const [frame] = framesIn(encoding('presence-').entry(entryOf(message('App\\Events\\"Moved"', data))));
    expect(frame).toMatchObject({ event: 'App\\Events\\"Moved"', channel: 'presence-room:7' });
    expect(JSON.parse(frame?.data as string)).toEqual(expected);
  });

  test("with an event name of the protocol's own is not sent", () => {
    for (const event of ['pusher:error', 'pusher_internal:subscription_succeeded'])
      expect(encoding('').entry(entryOf(message(event, '{}')))).toHaveLength(0);
  });
});

describe('a snapshot', () => {
  test('begins with subscription_succeeded; each piece is a `snapshot` event', () => {
    const first = framesIn(
      encoding('private-cache-').snapshot(rows('{"key":{"id":1},"data":{"id":1}}', 1, false), 'room:7'),
    );
    expect(first.map(({ event }) => event)).toEqual(['pusher_internal:subscription_succeeded', 'snapshot']);
    expect(JSON.parse(first[1]?.data as string)).toEqual({
      rows: [{ key: { id: 1 }, data: { id: 1 } }],
      part: 1,
      last: false,
    });
    const second = framesIn(encoding('private-cache-').snapshot(rows('', 2, true), 'room:7'));
    expect(second).toEqual([
      { event: 'snapshot', channel: 'private-cache-room:7', data: '{"rows":[],"part":2,"last":true}' },
    ]);
  });

  test('without rows is a cache miss', () => {
    expect(framesIn(encoding('cache-').snapshot(rows('', 1, true), 'room:7'))).toEqual([
      { event: 'pusher_internal:subscription_succeeded', channel: 'cache-room:7', data: '{}' },
      { event: 'pusher:cache_miss', channel: 'cache-room:7' },
    ]);
  });
});

describe('names', () => {
  test.each([
    ['room:7', '', 'room:7'],
    ['private-room:7', 'private-', 'room:7'],
    ['private-cache-room:7', 'private-cache-', 'room:7'],
    ['cache-room:7', 'cache-', 'room:7'],
    ['presence-cache-a', 'presence-cache-', 'a'],
    ['presence-a', 'presence-', 'a'],
    ['private-private-a', 'private-', 'private-a'],
    ['private-room;7', 'private-', 'room:7'],
    ['a,b;c=C3=A9=7E', '', 'a/b:c%C3%A9~'],
    ["#server-to-user-o'neil@x", '#', 'server-to-user-o%27neil%40x'],
  ])('%s is the channel behind the prefix', (name, prefix, channel) => {
    const parsed = parseName(name);
    expect(parsed).toMatchObject({ name, prefix, channel });
    expect(parsed && nameOf(parsed.prefix, parsed.channel, parsed.isSpelled)).toBe(name);
  });

  test.each([
    '',
    'private-',
    'cache-',
    '#',
    '#bad',
    '#server-to-user-',
    'private-encrypted-a',
    'private-\ud800',
    'a:b;c',
    'a;b~',
  ])('%j is not the name of a channel', (name) => expect(parseName(name)).toBeUndefined());
});

test("a signature counts only for its text, and only in the app's name", () => {
  const app = new PusherApp('1', 'key', 'secret');
  const right = `key:${createHmac('sha256', 'secret').update('1.2:private-a').digest('hex')}`;
  expect(app.authOf('1.2:private-a')).toBe(right);
  expect(app.allows(right, '1.2:private-a')).toBe(true);
  expect(app.allows(right, '1.2:private-b')).toBe(false);
  expect(app.allows(right.replace('key', 'other'), '1.2:private-a')).toBe(false);
  for (const auth of ['', 'key:', 'key:0', `${right}0`, right.slice(0, -1), `key:${'g'.repeat(64)}`])
    expect(app.allows(auth, '1.2:private-a')).toBe(false);
});

test.each([
  ['{', 'the frame is not a JSON object'],
  ['[]', 'the frame is not a JSON object'],
  ['{"event":1}', 'event must be a string'],
  ['{"event":"hello"}', 'the event is unknown'],
  ['{"event":"pusher:subscribe"}', 'pusher:subscribe: channel must be a string'],
  [
    '{"event":"pusher:subscribe","data":{"channel":"a","auth":1}}',
    'pusher:subscribe: auth and channel_data must be strings',
  ],
  ['{"event":"pusher:unsubscribe","data":{}}', 'pusher:unsubscribe: channel must be a string'],
  ['{"event":"pusher:signin","data":{}}', 'pusher:signin: auth and user_data must be strings'],
])('the frame %s is invalid: %s', (text, problem) => {
  expect(readPusherFrame(Buffer.from(text))).toBe(problem);
});

test('the data of a frame may be JSON text', () => {
  expect(readPusherFrame(Buffer.from('{"event":"pusher:subscribe","data":"{\\"channel\\":\\"a\\"}"}'))).toEqual({
    kind: 'subscribe',
    channel: 'a',
    auth: undefined,
    channelData: undefined,
  });
});

describe('members', () => {
  const [ada, odd] = [
    '{"id":"ada","info":{"name":"Ada \\"A\\"","n":12345678901234567890}}',
    '{"id":"ö \\"x\\\\ ]}","info":{"list":[{"a":"}"}]}}',
  ];
  const told = (part: string) => {
    const frames = framesIn(
      encoding('presence-').unstored('presence', payloadOf(`{"type":"presence","channel":"room:7",${part}}`)),
    );
    for (const { channel } of frames) expect(channel).toBe('presence-room:7');
    return frames.map(({ event, data }) => [event.replace('pusher_internal:', ''), data]);
  };

  test('come with the subscription, as a hash', () => {
    const [[event, data] = []] = told(`"members":[${ada},${odd}]`);
    expect(event).toBe('subscription_succeeded');
    expect(JSON.parse(data ?? '')).toEqual({
      presence: {
        count: 2,
        ids: ['ada', 'ö "x\\ ]}'],
        hash: { ada: { name: 'Ada "A"', n: expect.any(Number) }, 'ö "x\\ ]}': { list: [{ a: '}' }] } },
      },
    });
    expect(told('"members":[]')).toEqual([['subscription_succeeded', '{"presence":{"count":0,"ids":[],"hash":{}}}']]);
  });

  test('are added and removed, with the digits of the view', () => {
    expect(told(`"joined":[${ada},${odd}]`)).toEqual([
      ['member_added', '{"user_id":"ada","user_info":{"name":"Ada \\"A\\"","n":12345678901234567890}}'],
      ['member_added', '{"user_id":"ö \\"x\\\\ ]}","user_info":{"list":[{"a":"}"}]}}'],
    ]);
    expect(told(`"left":[${ada}]`)).toEqual([['member_removed', '{"user_id":"ada"}']]);
  });

  test('may nest as deeply as their view has room', () => {
    const deep = `{"id":"a","info":{"x":${'['.repeat(8_000)}${']'.repeat(8_000)}}}`;
    for (const part of ['members', 'joined', 'left']) expect(told(`"${part}":[${deep}]`)).toHaveLength(1);
  });
});

describe('the data of a client event', () => {
  const read = (data: string) => {
    const frame = readPusherFrame(Buffer.from(`{"event":"client-a","channel":"private-b"${data}}`));
    return typeof frame === 'object' && 'data' in frame ? String(frame.data) : frame;
  };

  test.each([
    ['keeps all digits', ',"data":{"n":12345678901234567890}', '{"n":12345678901234567890}'],
    ['counts as JSON if it is text that is JSON', ',"data":"{\\"at\\":\\"ü\\"}"', '{"at":"ü"}'],
    ['is the number that a text looks like, as in what a server publishes', ',"data":"42"', '42'],
    ['stays text if that is not JSON', ',"data":"hello"', '"hello"'],
    ['stays text if that is no text at all', ',"data":""', '""'],
    ['is null where the client sends none', '', 'null'],
    ['is the last one of several, as in JSON.parse', ',"data":1,"data":2', '2'],
  ])('%s', (_, data, expected) => {
    expect(read(data)).toBe(expected);
  });

  test('is refused if it is nested too deeply', () => {
    const depth = 6_500;
    expect(read(`,"data":${'['.repeat(depth)}${']'.repeat(depth)}`)).toBe('client-a: data is nested too deeply');
  });

  test('has no invalid UTF-8, which would end the connections of other clients', () => {
    const frame = Buffer.from('{"event":"client-a","channel":"private-b","data":"?"}');
    frame[frame.indexOf('?')] = 0xff;
    expect(readPusherFrame(frame)).toMatchObject({ data: Buffer.from('"\ufffd"') });
  });
});
