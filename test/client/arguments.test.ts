/** Bad arguments of untyped programs: a clear error, and nothing else changes. */
import { expect, test } from 'vitest';
import { connect, type SnoClient } from '../../src/client/index.ts';
import { surroundingsOf } from '../../src/client/options.ts';
import { presence, send } from '../../src/client/presence/index.ts';
import { until } from '../support/wait.ts';
import { CHANNEL, changes, put, scripted, titlesOf } from './scripted-client.ts';

const scene = scripted();
const invalid = (word: string) =>
  expect.objectContaining({ name: 'SnoClientError', code: 'argument_invalid', message: expect.stringContaining(word) });

/** As JavaScript sees them. */
interface Untyped {
  live(...values: unknown[]): { subscribe(...values: unknown[]): unknown };
  channel(...values: unknown[]): { on(...values: unknown[]): unknown };
  on(...values: unknown[]): unknown;
}
const untyped = (client: SnoClient): Untyped => client as never;

const CIRCLE: Record<string, unknown> = {};
CIRCLE['self'] = CIRCLE;

test.each([
  ['the name of a live view', 'undefined', ({ live }: Untyped) => live(undefined)],
  ['the name of a channel', 'null', ({ channel }: Untyped) => channel(null)],
  ['a number for a name', '42', ({ live }: Untyped) => live(42)],
  ['a name longer than a frame', '16384 characters', ({ live }: Untyped) => live('x'.repeat(20_000))],
  ['a position', '`since`', ({ channel }: Untyped) => channel('a', { since: 7 })],
  ['a listener', 'function', ({ channel }: Untyped) => channel('a').on('change', undefined)],
  ['a listener of a live view', 'function', ({ live }: Untyped) => live('a').subscribe()],
  ['a listener of the client', 'function', (client: Untyped) => client.on('status', 'open')],
  ['the name of a presence', 'undefined', (client: Untyped) => presence(client as never, undefined as never)],
  ['the channel of a send', 'null', (client: Untyped) => send(client as never, null as never, 'typing')],
  ['the event of a send', 'undefined', (client: Untyped) => send(client as never, CHANNEL, undefined as never)],
  ['a bigint to send', 'JSON', (client: Untyped) => send(client as never, CHANNEL, 'typing', { id: 7n })],
  ['a circle to send', 'JSON', (client: Untyped) => send(client as never, CHANNEL, 'typing', CIRCLE)],
  ['too much to send', '64000', (client: Untyped) => send(client as never, CHANNEL, 'typing', 'é'.repeat(32_000))],
])('%s is refused, and other channels go on', async (_, word, call) => {
  const { client, view, peer } = await scene.liveView();
  const before = peer.frames.length;
  expect(() => call(untyped(client))).toThrow(invalid(word));
  send(client, CHANNEL, 'after');
  await peer.heard('send');
  expect(peer.frames.slice(before).filter(({ type }) => type === 'send')).toEqual([
    { type: 'send', channel: CHANNEL, event: 'after', data: null },
  ]);
  expect(
    peer.frames.every((frame) => !('channel' in frame) || frame.channel === CHANNEL || frame.channel === 'a'),
  ).toBe(true);
  peer.say(changes('p2', [put('insert', 2, 'two')]));
  await until(() => view.size === 2, 'the commit');
  expect([client.status, titlesOf(view.rows)]).toEqual(['open', ['one', 'two']]);
});

test('a position of null, as localStorage gives it, is no position, and `old` is sent as a boolean', async () => {
  const client = scene.start();
  untyped(client).channel(CHANNEL, { since: null, snapshot: true, old: 1 });
  untyped(client).channel('other', { since: null, old: true });
  const peer = await scene.server.peer(0);
  expect(await peer.heard('subscribe')).toEqual({ type: 'subscribe', channel: CHANNEL, snapshot: true });
  expect(await peer.heard('subscribe', 1)).toEqual({ type: 'subscribe', channel: 'other', old: true });
});

test('a send carries its data as it was at the call', async () => {
  const { client, peer } = await scene.liveView();
  const data = { at: 1 };
  send(client, CHANNEL, 'cursor', data);
  data.at = 2;
  send(client, CHANNEL, 'cursor', data);
  expect([await peer.heard('send'), await peer.heard('send', 1)]).toMatchObject([
    { data: { at: 1 } },
    { data: { at: 2 } },
  ]);
});

test.each([
  ['a backoff', { backoff: { baseMs: Number.NaN } }],
  ['its cap', { backoff: { capMs: -1 } }],
  ['keepMs', { keepMs: '3 s' as never }],
])('%s that is not a number of milliseconds is refused: a timer would end at once', (_, options) => {
  expect(() => connect('wss://never.test', { ...options, lazy: true })).toThrow(invalid('milliseconds'));
});

test('rows may be kept for as long as a timer lasts', () => {
  expect(surroundingsOf({ keepMs: Number.POSITIVE_INFINITY }).keepMs).toBe(2 ** 31 - 1);
});

test('a commit of null is refused as any other value', async () => {
  const { view } = await scene.liveView();
  await expect(view.reached(null as never)).rejects.toMatchObject({ code: 'commit_invalid' });
});
