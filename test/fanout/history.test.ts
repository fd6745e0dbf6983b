/**
 * Clients that resume from before the journal, step by step. Metrics count refused requests as
 * `waiting_history`.
 */
import { PassThrough } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import { SnoError } from '../../src/errors.ts';
import type { Grant } from '../../src/fanout/fanout.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { ArrayHistory, GAP } from './history-source.ts';
import { ALLOWED, framesOf, PATTERN, Rig, type RigOptions, room, turn } from './rig.ts';

/** Bytes of a commit of one row that has no padding. */
const ROW_BYTES = 450;

let rig: Rig;
let history: ArrayHistory;
/** Lets reads continue that wait at the gate. */
let open: () => void;

beforeEach(() => start());

function start(options: RigOptions = {}): void {
  history = new ArrayHistory();
  rig = new Rig({ history, ...options });
}

/** Reads wait until `open`. */
function shut(): void {
  history.gate = new Promise((resolve) => {
    open = () => {
      history.gate = undefined;
      resolve();
    };
  });
}

function commit(n: number, ids: readonly number[], bytes = 0): void {
  rig.begin(n);
  for (const id of ids) rig.row(id, n, bytes);
  rig.end();
  rig.hub.flush();
}

class Client {
  readonly stream = new PassThrough({ highWaterMark: 1 << 20 });
  readonly feed: SocketFeed = rig.hub.attach(this.stream, PLAIN);

  resume(id: number, position: string, grant: Grant = ALLOWED): this {
    this.feed.subscribe(room(id), { kind: 'since', position }, grant);
    return this;
  }

  /** What has been written since: numbers of rows, reasons, codes, types of frames. */
  got(): unknown[] {
    type Frame = {
      readonly type: string;
      readonly reason?: string;
      readonly code?: string;
      readonly events?: readonly { readonly n: number }[];
    };
    return framesOf<Frame>(this.stream).flatMap<unknown>(
      ({ type, reason, code, events }) => events?.map(({ n }) => n) ?? reason ?? code ?? type,
    );
  }
}

/** No channel waits any more. */
async function settled(): Promise<void> {
  do for (let count = 0; count < 5; count++) await turn();
  while ((rig.hub.history?.waiting ?? 0) > 0);
}

test('a client that resumes from before the journal gets everything after its position once, then the events as they come', async () => {
  commit(1, [1]);
  const since = rig.builder.head.headText;
  commit(2, [1, 2]);
  commit(3, [2]);
  commit(4, [1]);
  rig.restart();
  commit(5, [1]);
  const client = new Client().resume(1, since);
  commit(6, [1]);
  expect(client.got()).toEqual([]);
  await settled();
  commit(7, [1]);
  expect(client.got()).toEqual(['subscribed', 2, 4, 5, 6, 7]);
  expect(rig.history).toMatchObject({ passes: 1, resumed: 1 });
  expect(rig.journal.entryCount).toBe(3);
});

test('many clients and channels share one pass; one that comes during the pass joins it', async () => {
  const since = rig.builder.head.headText;
  commit(1, [1, 2]);
  commit(2, [1]);
  const later = rig.builder.head.headText;
  commit(3, [2, 3]);
  rig.restart();
  const clients = Array.from({ length: 500 }, (_, index) => new Client().resume(1 + (index % 2), since));
  history.pieceBatches = 1;
  await turn();
  clients.push(new Client().resume(3, later));
  await settled();
  expect(clients[0]?.got()).toEqual(['subscribed', 1, 2]);
  expect(clients[1]?.got()).toEqual(['subscribed', 1, 3]);
  expect(clients.at(-1)?.got()).toEqual(['subscribed', 3]);
  expect(clients.slice(2, 500).every((client) => client.got().length === 3)).toBe(true);
  expect(rig.history.passes).toBe(1);
});

test('a client whose position the pass has gone by waits for the next pass, also if its channel is in this one', async () => {
  const early = rig.builder.head.headText;
  commit(1, [1, 2]);
  const since = rig.builder.head.headText;
  for (const n of [2, 3, 4, 5]) commit(n, [1]);
  const late = rig.builder.head.headText;
  commit(6, [1, 2]);
  rig.restart();
  history.pieceBatches = 1;
  const clients = [new Client().resume(1, since)];
  await turn();
  await turn();
  clients.push(new Client().resume(1, early), new Client().resume(2, late), new Client().resume(2, early));
  await settled();
  expect(clients.map((client) => client.got())).toEqual([
    ['subscribed', 2, 3, 4, 5, 6],
    ['subscribed', 1, 2, 3, 4, 5, 6],
    ['subscribed', 6],
    ['subscribed', 1, 6],
  ]);
  expect(rig.history.passes).toBe(2);
});

test.each([
  ['leaves the channel', ({ feed }: Client) => void feed.unsubscribe('room:1', 'client'), ['client']],
  ['disconnects', ({ feed }: Client) => feed.detach(), []],
])('a client that %s while it waits receives nothing more, and nothing is kept for it', async (_, leave, told) => {
  const since = rig.builder.head.headText;
  for (const n of [1, 2, 3, 4]) commit(n, [1]);
  rig.restart();
  shut();
  const client = new Client().resume(1, since);
  leave(client);
  expect([rig.hub.history?.waiting, rig.journal.knows('room:1')]).toEqual([0, false]);
  open();
  await settled();
  expect(client.got()).toEqual(told);
  expect(history.delivered).toBeLessThan(4);
  expect(rig.journal.bytes).toBe(0);
});

test('a client whose access is revoked while it waits receives nothing of its channel', async () => {
  const since = rig.builder.head.headText;
  commit(1, [1, 2]);
  rig.restart();
  shut();
  const client = new Client().resume(1, since, { stillAllowed: async () => false }).resume(2, since);
  rig.begin(2);
  rig.row(2, 2);
  rig.builder.recheck('channel_access', PATTERN, 'room:1');
  rig.end();
  rig.hub.flush();
  await turn();
  open();
  await settled();
  expect(client.got()).toEqual(['access_revoked', 'subscribed', 1, 2]);
});

test('while its access is being checked, it receives what was committed before, and nothing after', async () => {
  const since = rig.builder.head.headText;
  commit(1, [1]);
  rig.restart();
  shut();
  let allow = (_: boolean) => {};
  const grant: Grant = { stillAllowed: () => new Promise((resolve) => (allow = resolve)) };
  const client = new Client().resume(1, since, grant);
  rig.begin(2);
  rig.row(1, 2);
  rig.builder.recheck('channel_access', PATTERN, 'room:1');
  rig.end();
  rig.hub.flush();
  open();
  await settled();
  expect(client.got()).toEqual(['subscribed', 1]);
  allow(true);
  await settled();
  expect(client.got()).toEqual([2]);
});

test('a redefinition resets clients that wait, and clients whose position lies before it', async () => {
  const since = rig.builder.head.headText;
  commit(1, [1]);
  rig.begin(2);
  rig.builder.redefined(PATTERN, 'changed');
  rig.end();
  const after = rig.builder.head.headText;
  commit(3, [1]);
  rig.restart();
  const [before, since3] = [new Client().resume(1, since), new Client().resume(1, after)];
  await settled();
  expect([before.got(), since3.got()]).toEqual([['channel_changed'], ['subscribed', 3]]);
  rig.restart();
  shut();
  const waiting = new Client().resume(1, after);
  rig.begin(4);
  rig.builder.redefined(PATTERN, 'changed');
  rig.end();
  open();
  await settled();
  expect(waiting.got()).toEqual(['channel_changed']);
});

test('a new history resets clients that wait, and ends the pass', async () => {
  const since = rig.builder.head.headText;
  for (const n of [1, 2, 3, 4]) commit(n, [1]);
  rig.restart();
  shut();
  const client = new Client().resume(1, since);
  rig.restart();
  open();
  await settled();
  expect([client.got(), history.delivered, rig.journal.bytes]).toEqual([['epoch_changed'], 2, 0]);
});

test('a truncate, and messages by pg_notify, come from history too', async () => {
  const since = rig.builder.head.headText;
  commit(1, [1]);
  rig.begin(2);
  rig.builder.truncate(PATTERN);
  rig.end();
  rig.builder.notification(PATTERN, 'room:1', 'wave', '1');
  const middle = rig.builder.head.headText;
  rig.builder.notification(PATTERN, 'room:1', 'wave', '2');
  rig.restart();
  const clients = [new Client().resume(1, since), new Client().resume(1, middle)];
  await settled();
  expect(clients.map((client) => client.got())).toEqual([
    ['subscribed', 1, undefined, 'message', 'message'],
    ['subscribed', 'message'],
  ]);
});

test('a commit whose parts lie in history, in the journal and ahead comes whole', async () => {
  start({ commitBytes: 200, journalBytes: 2_000 });
  const since = rig.builder.head.headText;
  rig.begin(1);
  for (const n of [1, 2, 3, 4]) {
    rig.row(1, n, 200);
    rig.hub.flush();
  }
  const client = new Client().resume(1, since);
  expect(rig.journal.entryCount).toBe(3);
  await settled();
  rig.row(1, 5, 200);
  rig.end();
  rig.hub.flush();
  expect(client.got()).toEqual(['subscribed', 1, 2, 3, 4, 5]);
});

test('beyond the history, the affected clients receive position_too_old', async () => {
  for (const tellsOldest of [false, true]) {
    start();
    history.tellsOldest = tellsOldest;
    const positions: string[] = [];
    for (const n of [1, 2, 3, 4]) {
      positions.push(rig.builder.head.headText);
      commit(n, [1, n + 1]);
    }
    rig.restart();
    history.drop(2);
    const clients = positions.map((position, index) => new Client().resume(index % 2 === 0 ? 1 : 3, position));
    await settled();
    expect(clients.map((client) => client.got())).toEqual([
      ['position_too_old'],
      ['position_too_old'],
      ['subscribed', 3, 4],
      ['subscribed'],
    ]);
    expect(history.reads.length).toBe(tellsOldest ? 2 : 3);
  }
});

test('a history whose newest batches were written again with other sequences is a reset where it does not meet the journal', async () => {
  start({ journalBytes: 4 * ROW_BYTES });
  const since = rig.builder.head.headText;
  for (let n = 1; n <= 10; n++) commit(n, [1 + (n % 2)]);
  expect(rig.journal.entryCount).toBeLessThan(5);
  history.renumber(8);
  const client = new Client().resume(1, since);
  await settled();
  expect([client.got(), rig.hub.history?.waiting]).toEqual([['position_too_old'], 0]);
});

test('what a read did not bring into the log, or what was dropped again, is read once more', async () => {
  start({ journalBytes: 4 * ROW_BYTES });
  const since = rig.builder.head.headText;
  for (let n = 1; n <= 10; n++) commit(n, [1 + (n % 2)]);
  history.renumber(8);
  const client = new Client().resume(1, since);
  for (let turns = 0; history.reads.length < 2 && turns < 1_000; turns++) await turn();
  history.renumber(8, -GAP);
  await settled();
  expect(client.got()).toEqual(['subscribed', 2, 4, 6, 8, 10]);
});

test('while the history cannot be read, the client receives an error; the next attempt is another read', async () => {
  const since = rig.builder.head.headText;
  commit(1, [1, 2]);
  rig.restart();
  history.error = new SnoError('database_unreachable', 'the store is away');
  const clients = [1, 2].map((id) => new Client().resume(id, since));
  await settled();
  expect(clients.map((client) => client.got())).toEqual([['try_again'], ['try_again']]);
  expect(rig.failures).toEqual([['database_unreachable', 'room:1']]);
  history.error = undefined;
  clients[0]?.resume(1, since);
  await settled();
  expect(clients[0]?.got()).toEqual(['subscribed', 1]);
});

test('at the limit of waiting channels the address with most of them receives `overloaded`', async () => {
  start({ waitingHistoryMax: 3 });
  const since = rig.builder.head.headText;
  commit(1, [1, 2, 3, 4, 5]);
  rig.restart();
  shut();
  const client = new Client();
  const at = (address: string): Grant => ({ ...ALLOWED, address });
  for (const id of [1, 2, 3, 4]) client.resume(id, since, at('greedy'));
  expect(client.got()).toEqual(['overloaded']);
  const other = new Client().resume(5, since, at('other'));
  expect(client.got()).toEqual(['overloaded']);
  open();
  await settled();
  expect([client.got().length, other.got()]).toEqual([4, ['subscribed', 1]]);
  expect(rig.history.refused).toBe(2);
});

test('a position that the stream has not reached waits for the stream; it may come from another machine', async () => {
  const client = new Client();
  const ahead = 'e-1-1:0/1008:2147483648';
  client.resume(1, ahead);
  client.resume(2, 'e-1-1:FFFF/0:1');
  await rig.marker();
  expect(client.got()).toEqual([]);
  await rig.marker();
  await rig.marker();
  expect(client.got().sort()).toEqual(['epoch_changed', 'subscribed']);
  commit(7, [1]);
  expect(client.got()).toEqual([7]);
});

test('a pass postpones large channels, so that the others do not wait for memory', async () => {
  start({ journalBytes: 20 * ROW_BYTES });
  const since = rig.builder.head.headText;
  for (let n = 1; n <= 12; n++) commit(n, [n % 3 === 0 ? 1 : 2]);
  commit(13, [3]);
  rig.restart();
  const clients = [3, 1, 2].map((id) => new Client().resume(id, since));
  await settled();
  expect(clients.map((client) => client.got().length)).toEqual([2, 5, 9]);
  expect(rig.history.passes).toBe(2);
});

test('a channel whose older entries alone are more than the limit is position_too_old', async () => {
  start({ journalBytes: 5 * ROW_BYTES });
  const since = rig.builder.head.headText;
  for (let n = 1; n <= 12; n++) commit(n, [1]);
  commit(13, [2]);
  rig.restart();
  const clients = [1, 2].map((id) => new Client().resume(id, since));
  await settled();
  expect(clients.map((client) => client.got())).toEqual([['position_too_old'], ['subscribed', 13]]);
  expect(rig.journal.bytes).toBe(0);
});
