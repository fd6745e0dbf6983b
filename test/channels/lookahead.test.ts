/** The lookahead while messages keep arriving. */
import { expect, test } from 'vitest';
import { Lookahead } from '../../src/channels/remote/lookahead.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';

/** The messages of an empty commit. */
function commit(xid: number): readonly Buffer[] {
  const begin = Buffer.alloc(21);
  begin[0] = 0x42; // B
  begin.writeUInt32BE(xid, 17);
  const end = Buffer.alloc(26);
  end[0] = 0x43; // C
  return [begin, end];
}

test('commits are flushed while later ones wait for joined rows, however many follow', async () => {
  const events: string[] = [];
  const bugs: unknown[] = [];
  let read = 0;
  let prepared = () => {};
  const lookahead = new Lookahead({
    answers: new RemoteAnswers(),
    routesOf: () => [],
    isNeeded: () => false,
    ask: () => Promise.reject(new Error('there is nothing to ask')),
    next: {
      message: (buffer, start) => events.push(String.fromCharCode(buffer[start] as number)),
      keepalive: () => undefined,
      flush: () => events.push('flush'),
    },
    joins: {
      isNeeded: true,
      get count() {
        return read;
      },
      reset: () => undefined,
      read: () => void read++,
      note: () => undefined,
      prepare: () =>
        new Promise<void>((resolve) => {
          prepared = resolve;
        }),
      rowsToAsk: () => [],
      passed: () => undefined,
    },
    hold: () => undefined,
    release: () => undefined,
    onBug: (bug) => bugs.push(bug),
  });
  const send = (xid: number) => {
    for (const message of commit(xid)) lookahead.message(message, 0, message.length);
    lookahead.flush();
  };
  send(1);
  for (let xid = 2; xid <= 4; xid++) {
    send(xid);
    prepared();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect([events, bugs]).toEqual([['B', 'C', 'flush', 'B', 'C', 'flush', 'B', 'C', 'flush'], []]);
});
