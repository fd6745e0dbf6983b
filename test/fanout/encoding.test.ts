/**
 * A second protocol: lines of JSON text over a plain stream. Only this file has its encoding. The
 * fan-out, the journal and the snapshots do not know it, and serve it beside Snö's own two
 * encodings.
 */
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { EncodedForms } from '../../src/fanout/encoded-forms.ts';
import type { Encoding } from '../../src/fanout/encoding.ts';
import type { From } from '../../src/fanout/fanout.ts';
import { CopiedRow } from '../../src/fanout/snapshots/copied-row.ts';
import { RowPayloads } from '../../src/fanout/snapshots/row-payloads.ts';
import type { RowSink } from '../../src/fanout/snapshots/snapshot.ts';
import { Snapshots } from '../../src/fanout/snapshots/snapshots.ts';
import { Deflated, PLAIN } from '../../src/gateway/sno/encodings.ts';
import { Visibility } from '../../src/markers/visibility.ts';
import { type Payload, textOf } from '../../src/memory/payload.ts';
import { until } from '../support/wait.ts';
import { ALLOWED, framesOf, PATTERN, Rig, room } from './rig.ts';

const NEWLINE = Buffer.from('\n');
const FORMS_BYTES = 100_000;

/** Sends no heartbeats: its connections have other signs of life. */
class Lines implements Encoding {
  /** Number of entries and of pieces of snapshots that it encoded. */
  encoded = 0;
  readonly #forms: EncodedForms;

  constructor(forms: EncodedForms) {
    this.#forms = forms;
  }

  entry(entry: Parameters<Encoding['entry']>[0]): Buffer {
    const kept = this.#forms.of(entry, this);
    if (kept !== undefined) return kept;
    const line = this.#line(entry.payload);
    this.#forms.keep(entry, this, line);
    return line;
  }

  snapshot(payload: Payload): Buffer {
    return this.#line(payload);
  }

  unstored(_type: string, payload: Payload): Buffer {
    return this.#line(payload);
  }

  control(frame: Parameters<Encoding['control']>[0]): Buffer {
    return Buffer.from(frame.type === 'heartbeat' ? '' : `${JSON.stringify(frame)}\n`);
  }

  #line(payload: Payload): Buffer {
    this.encoded++;
    return Buffer.concat([textOf(payload), NEWLINE]);
  }
}

interface Message {
  readonly type: string;
  readonly last?: boolean;
  readonly rows?: readonly { readonly data: { readonly n: number } }[];
  readonly events?: readonly { readonly n: number }[];
}

/** A row in COPY's binary format. */
function copied(key: string, data: string): Buffer {
  const lengthOf = (text: string) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    return length;
  };
  return Buffer.concat([Buffer.of(0, 2), lengthOf(key), Buffer.from(key), lengthOf(data), Buffer.from(data)]);
}

/** Rows that fill one payload, a row beyond its size, and another row. */
const ROWS = [
  Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1'),
  ...[100_000, 120_000, 300_000, 10].map((bytes, n) =>
    copied(`{"id":${n}}`, `{"n":${n},"pad":"${'x'.repeat(bytes)}"}`),
  ),
];

async function send(channel: string, sink: RowSink): Promise<void> {
  if (!sink.begin(new Visibility('10:10:'))) return;
  const payloads = new RowPayloads();
  const row = new CopiedRow(false);
  payloads.begin(channel);
  for (const chunk of ROWS) {
    const full = row.read(chunk, 0, chunk.length) ? payloads.add(row) : undefined;
    if (full !== undefined) await sink.piece(full);
  }
  await sink.piece(payloads.last());
}

class World {
  readonly forms = new EncodedForms(FORMS_BYTES);
  readonly lines = new Lines(this.forms);
  /** Number of frames that were compressed. */
  deflated = 0;
  readonly rig: Rig;
  readonly clients: { readonly stream: PassThrough; readonly messages: Message[]; readonly read: () => Message[] }[] =
    [];
  reads = 0;
  #xid = 100;

  constructor() {
    this.rig = new Rig({
      snapshots: new Snapshots({
        read: ({ name }, sink) => {
          this.reads++;
          return { done: Promise.resolve().then(() => send(name, sink)), cancel() {} };
        },
        runningMax: 1,
        waitingMax: 10,
        windowBytesMax: 1 << 21,
        ageMaxMs: 60_000,
        now: () => 0,
        onRead() {},
        onRefused() {},
        atTurnEnd: (call) => call(),
      }),
    });
    const deflated = new Deflated({ bytesMin: 300, forms: this.forms, deflated: () => this.deflated++ });
    const encodings = [PLAIN, deflated, this.lines];
    // Two clients of each encoding, in turn.
    this.#feeds = [...encodings, ...encodings].map((encoding) => {
      const stream = new PassThrough({ highWaterMark: 1 << 22 });
      const messages: Message[] = [];
      const read = () => {
        const found = encoding === this.lines ? linesOf(stream) : framesOf<Message>(stream);
        messages.push(...found);
        return messages;
      };
      this.clients.push({ stream, messages, read });
      return this.rig.hub.attach(stream, encoding);
    });
  }

  readonly #feeds: readonly ReturnType<Rig['hub']['attach']>[];

  subscribe(id: number, from: From): void {
    for (const feed of this.#feeds) feed.subscribe(room(id), from, ALLOWED);
  }

  unsubscribe(id: number): void {
    for (const feed of this.#feeds) feed.unsubscribe(`room:${id}`, 'client');
  }

  commit(rows: readonly (readonly [id: number, n: number, bytes: number])[]): void {
    this.rig.begin(this.#xid++);
    for (const row of rows) this.rig.row(...row);
    this.rig.end();
    this.rig.hub.flush();
  }

  /**
   * Types of the messages that the first client received, with numbers of rows. All others must
   * have received the same.
   */
  got(): unknown[] {
    const [first = [], ...others] = this.clients.map(({ read }) => read());
    for (const other of others) expect(other).toEqual(first);
    return first.flatMap(({ type, events, rows }): unknown[] => [
      type,
      ...(events ?? []).map(({ n }) => n),
      ...(rows ?? []).map(({ data }) => data.n),
    ]);
  }
}

function linesOf(stream: PassThrough): Message[] {
  const text = String(stream.read() ?? '');
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Message);
}

test('another protocol receives live events, catch-up, snapshots and resets, like clients of Snö', async () => {
  const world = new World();
  const { rig, lines } = world;

  // Live: one channel, two channels in one commit, and an entry too large to be joined.
  world.subscribe(1, { kind: 'now' });
  world.subscribe(2, { kind: 'now' });
  const start = rig.builder.head.headText;
  world.commit([[1, 1, 10]]);
  world.commit([
    [1, 2, 400],
    [2, 3, 10],
  ]);
  world.commit([[1, 4, 20_000]]);
  const live = ['changes', 1, 'changes', 2, 'changes', 3, 'changes', 4];
  expect(world.got()).toEqual(['subscribed', 'subscribed', ...live]);
  expect([lines.encoded, world.deflated]).toEqual([4, 2]);

  // Catch-up, from the forms that were kept.
  for (const id of [1, 2]) world.unsubscribe(id);
  world.subscribe(1, { kind: 'since', position: start });
  const past = ['unsubscribed', 'unsubscribed', 'subscribed', 'changes', 1, 'changes', 2, 'changes', 4];
  expect(world.got().slice(2 + live.length)).toEqual(past);
  expect([lines.encoded, world.deflated]).toEqual([4, 2]);

  // One read of the database for all. It does not see the commit with row 3.
  world.subscribe(2, { kind: 'snapshot' });
  const isWhole = (messages: readonly Message[]) => messages.some(({ last }) => last === true);
  await until(() => world.clients.every(({ read }) => isWhole(read())), 'all have the snapshot');
  await rig.marker();
  world.commit([[2, 5, 10]]);
  const snapshot = ['snapshot', 0, 1, 'snapshot', 2, 'snapshot', 3, 'changes', 3, 'subscribed', 'changes', 5];
  expect(world.got().slice(2 + live.length + past.length)).toEqual(snapshot);
  expect([world.reads, lines.encoded, world.deflated]).toEqual([1, 4 + 3 + 1, 2 + 2]);

  // A heartbeat is sent if the protocol has one.
  rig.hub.heartbeat();
  const beats = world.clients.map(({ messages, read }) => {
    const before = messages.length;
    return read()
      .splice(before)
      .map(({ type }) => type);
  });
  expect(beats).toEqual([['heartbeat'], ['heartbeat'], [], ['heartbeat'], ['heartbeat'], []]);

  rig.begin(999);
  rig.builder.redefined(PATTERN, 'changed');
  rig.end();
  rig.hub.flush();
  expect(world.got().slice(-2)).toEqual(['reset', 'reset']);
});
