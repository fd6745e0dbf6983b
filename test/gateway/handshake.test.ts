/** Listeners of a network socket, when it becomes a websocket's. */
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { forgetHandshake } from '../../src/gateway/accept/handshake.ts';

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
