/** docs/protocol.md is complete, and its examples are valid frames. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SnoError } from '../src/errors.ts';
import { readClientFrame } from '../src/gateway/sno/client-frame.ts';
import { parsePosition } from '../src/position.ts';
import {
  CLOSE,
  type ClientFrame,
  HEARTBEAT_SECONDS,
  HELLO_SECONDS,
  PROTOCOL_VERSION,
  type ResetReason,
  type ServerFrame,
  type UnsubscribedCode,
} from '../src/protocol.ts';

const read = (page: string) => readFileSync(new URL(`../docs/${page}`, import.meta.url), 'utf8');
const text = read('protocol.md');

// The types make these lists exhaustive: a new code does not compile until it is listed, and fails
// the test until it is documented.
const CLIENT_FRAMES: Record<ClientFrame['type'], true> = {
  hello: true,
  subscribe: true,
  unsubscribe: true,
  token: true,
  ping: true,
  send: true,
};
const SERVER_FRAMES: Record<ServerFrame['type'], true> = {
  welcome: true,
  snapshot: true,
  subscribed: true,
  changes: true,
  message: true,
  presence: true,
  heartbeat: true,
  reset: true,
  unsubscribed: true,
  error: true,
};
const RESETS: Record<ResetReason, true> = {
  position_too_old: true,
  epoch_changed: true,
  channel_changed: true,
  lagging: true,
  slot_lost: true,
};
const UNSUBSCRIBED: Record<UnsubscribedCode, true> = {
  access_revoked: true,
  token_expired: true,
  channel_dropped: true,
  client: true,
};

/**
 * JSON objects in this page and in the one about presence: in code spans and in indented blocks,
 * over several lines too.
 */
const examples = [
  ...(text + read('presence.md')).matchAll(/^ {4}(\{"type"[^\n]*(?:\n {5}[^\n]*)*)|`(\{"type"[^`]*\})`/gm),
].map(
  ([, block, span]) => JSON.parse((block ?? span) as string) as { readonly type: string; readonly position?: string },
);
const typesOf = (frames: object) => Object.keys(frames).sort();

test('has the protocol version of the code', () => {
  expect(text).toContain(`Version ${PROTOCOL_VERSION}.`);
  expect(text).toContain(`\`hello\` as its first frame, within ${HELLO_SECONDS} seconds`);
  expect(text).toContain(`"heartbeat_s":${HEARTBEAT_SECONDS}`);
});

describe('examples', () => {
  test('show every frame', () => {
    const shown = new Set(examples.map(({ type }) => type));
    expect([...shown].sort()).toEqual([...new Set([...typesOf(CLIENT_FRAMES), ...typesOf(SERVER_FRAMES)])].sort());
  });

  test.each(examples.filter(({ type }) => type in CLIENT_FRAMES))('the server reads %j', (example) => {
    expect(readClientFrame(Buffer.from(JSON.stringify(example)))).not.toBeInstanceOf(SnoError);
  });

  test('have valid positions', () => {
    const positions = examples.flatMap(({ position }) =>
      position === undefined || position === '...' ? [] : [position],
    );
    expect(positions.length).toBeGreaterThan(1);
    for (const position of positions) expect(parsePosition(position)).toBeDefined();
  });
});

test.each([...typesOf(RESETS), ...typesOf(UNSUBSCRIBED), ...Object.values(CLOSE).map(String)])(
  'explains %s',
  (word) => {
    expect(text).toMatch(new RegExp(`\`${word}\`|^\\| ${word} \\|`, 'm'));
  },
);
