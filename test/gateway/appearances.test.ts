/** One client's presence: when the presence view is queried again, and by whose token. */
import { expect, test } from 'vitest';
import type { Claims } from '../../src/access/access.ts';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { systemClock } from '../../src/clock.ts';
import type { AccessCheckWindow } from '../../src/fanout/fanout.ts';
import { Appearances } from '../../src/gateway/appearances.ts';

test('another token is asked about once queries see the commits that may concern its user', async () => {
  const shown: string[] = [];
  const asked: unknown[] = [];
  const windows: string[] = [];
  let see = () => {};
  const earlierRevocations = new Promise<void>((resolve) => {
    see = resolve;
  });
  const session = { address: 'a', claims: { sub: 'ada' } as Claims };
  const feed = { post: () => true, takesMore: true, drained: () => Promise.resolve() };
  const appearances = new Appearances(session, feed, {
    rights: {
      checkSend: () => Promise.reject(new Error('no send')),
      checkWatch: () => undefined,
      findMember: (_channel, claims) => {
        asked.push(claims['sub']);
        return Promise.resolve({ id: String(claims['sub']), info: '{}' });
      },
    },
    channels: {
      version: 1,
      known: undefined,
      patternOf: () => undefined,
      meant: () => undefined,
      resolve: (name) => ({ name }) as ResolvedChannel,
    },
    fanout: {
      openAccessCheck: (channel, schemas = []): AccessCheckWindow => {
        windows.push(`${channel.name} ${schemas.join()}`);
        return { earlierRevocations, newRevocations: undefined, close: () => windows.push('closed') };
      },
    },
    presence: {
      enter: (channel, { id }) => {
        shown.push(`+${id}`);
        return { channel, id };
      },
      leave: ({ id }, isAtOnce) => shown.push(`${isAtOnce === true ? '-' : '~'}${id}`),
      watch: () => undefined,
      unwatch: () => undefined,
    },
    clock: systemClock,
  });
  appearances.begin('private-room:1', 'room:1', true, { id: 'ada', info: '{}' });
  session.claims = { sub: 'bob' };
  appearances.recheckAll();
  await new Promise((resolve) => setImmediate(resolve));
  expect({ asked, windows }).toEqual({ asked: [], windows: ['room:1 channel_presence', 'closed'] });
  see();
  await new Promise((resolve) => setImmediate(resolve));
  expect({ asked, shown }).toEqual({ asked: ['bob'], shown: ['+ada', '+bob', '-ada'] });
});
