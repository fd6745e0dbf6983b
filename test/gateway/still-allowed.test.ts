/** Whether a client may still receive a channel: by the definitions and claims in force. */
import { expect, test } from 'vitest';
import type { Claims } from '../../src/access/access.ts';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { SnoError } from '../../src/errors.ts';
import { Session } from '../../src/gateway/session.ts';

const channel = (version: number) => ({ name: 'room:1', version }) as ResolvedChannel;
const DENIED = new SnoError('access_denied', 'no');

/** A session whose checks wait for `answer`. */
function rig() {
  const asked: { readonly version: number | undefined; readonly sub: unknown }[] = [];
  let answer: (refusal?: SnoError) => void = () => {};
  const channels = { version: 1, known: undefined, resolve: () => channel(channels.version) };
  const waits: (() => void)[] = [];
  const services = {
    channels,
    access: {
      check: ({ version }: ResolvedChannel, { sub }: Claims) => {
        asked.push({ version, sub });
        return new Promise<SnoError | undefined>((resolve) => {
          answer = resolve;
        });
      },
    },
    clock: { random: () => 0.5, after: (_ms: number, call: () => void) => waits.push(call) },
  };
  const session = new Session({ subscribed: () => [] } as never, services as never, {} as never, '127.0.0.1');
  const renew = (sub: string) => session.renew({ claims: { sub }, expiresAt: undefined });
  renew('a');
  return { session, asked, channels, waits, renew, answer: (refusal?: SnoError) => answer(refusal) };
}

/** Lets what has been resolved go on. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test('the definition is resolved again exactly if the definitions have changed', async () => {
  const { session, asked, channels, answer } = rig();
  const first = session.stillAllowed(channel(1));
  answer();
  expect(await first).toBe(true);
  channels.version = 2;
  const second = session.stillAllowed(channel(1));
  answer(DENIED);
  expect(await second).toBe(false);
  expect(asked.map(({ version }) => version)).toEqual([1, 2]);
});

test('new claims are asked about, if they come before the answer about earlier ones', async () => {
  const { session, asked, renew, answer } = rig();
  const allowed = session.stillAllowed(channel(1));
  renew('b');
  answer();
  await settled();
  answer(DENIED);
  expect(await allowed).toBe(false);
  expect(asked.map(({ sub }) => sub)).toEqual(['a', 'b']);
});

test('a database that does not answer is asked again after a while', async () => {
  const { session, asked, waits, answer } = rig();
  const allowed = session.stillAllowed(channel(1));
  answer(new SnoError('try_again', 'busy'));
  await settled();
  expect([asked.length, waits.length]).toEqual([1, 1]);
  waits[0]?.();
  await settled();
  answer();
  expect(await allowed).toBe(true);
  expect(asked.length).toBe(2);
});
