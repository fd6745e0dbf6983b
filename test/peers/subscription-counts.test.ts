/** Subscriptions are counted over several processes, or not at all. */
import { expect, test } from 'vitest';
import type { SnoError } from '../../src/errors.ts';
import { PeerSwitch } from '../../src/peers/peer-switch.ts';
import { Peers } from '../../src/peers/peers.ts';
import { SubscriptionCounts } from '../../src/peers/subscription-counts.ts';
import { ManualClock } from '../gateway/fixture.ts';

/** Processes with these subscriptions, by the names that their clients know. */
function processes(...names: readonly (readonly string[])[]) {
  const peerSwitch = new PeerSwitch();
  const clock = new ManualClock();
  const messages: Buffer[] = [];
  peerSwitch.attach((message) => messages.push(message));
  const ids = names.map((_, index) => `p${index}`);
  const all = names.map(
    (own, index) =>
      new SubscriptionCounts({
        local: {
          subscriptionNames: (channel) => own.filter((name) => channel === undefined || name.endsWith(channel)),
        },
        peers: new Peers(peerSwitch, ids[index]),
        others: async () => ids.filter((id) => id !== ids[index]),
        clock,
      }),
  );
  return { all, clock, ids, messages };
}

const ask = async (counts: SubscriptionCounts, prefixes: readonly string[], channel?: string) => {
  const answer = await counts.ask({ prefixes, ...(channel === undefined ? {} : { channel }) });
  return answer instanceof Map ? Object.fromEntries(answer) : (answer as SnoError).code;
};

test('the subscriptions of all processes are added up by name, of one channel or by prefix', async () => {
  const { all } = processes(['room:1', 'private-room:1', 'room:1'], ['room:1', 'room:2'], []);
  for (const one of all) {
    expect(await ask(one, [''])).toEqual({ 'room:1': 3, 'private-room:1': 1, 'room:2': 1 });
    expect(await ask(one, ['private-', 'x'])).toEqual({ 'private-room:1': 1 });
    expect(await ask(one, ['room:1'], 'room:1')).toEqual({ 'room:1': 3 });
  }
});

test('long answers arrive in parts that each carrier takes', async () => {
  const names = Array.from({ length: 5_000 }, (_, index) => `room:${'x'.repeat(200)}${index}`);
  const { all, messages } = processes([], names);
  expect(Object.keys((await ask(all[0] as SubscriptionCounts, [''])) as object)).toHaveLength(5_000);
  expect(messages.length).toBeGreaterThan(4);
  expect(Math.max(...messages.map(({ length }) => length))).toBeLessThan(500_000);
});

test('without the answer of each process there is no sum; a late answer counts for no other question', async () => {
  const { all, clock, ids } = processes(['a'], ['a']);
  const [first] = all as [SubscriptionCounts];
  ids.push('frozen');
  const answer = ask(first, ['']);
  await new Promise(setImmediate);
  clock.advance(1_999);
  expect(await Promise.race([answer, Promise.resolve('waits')])).toBe('waits');
  clock.advance(1);
  expect(await answer).toBe('try_again');
  ids.pop();
  expect(await ask(first, [''])).toEqual({ a: 2 });
});
