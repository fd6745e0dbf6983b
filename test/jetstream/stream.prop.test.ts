/**
 * What ingest publishes arrives at every follower exactly once and in order, whatever happens to
 * messages, to the stream, to ingest and to the follower's connection. The stream is an array that
 * keeps JetStream's rules for sequences; publisher, follower and search are the real ones.
 */
import { JetStreamApiError } from '@nats-io/jetstream';
import fc from 'fast-check';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch } from '../../src/commit/entry.ts';
import { type FollowedSteps, StreamFollowing } from '../../src/jetstream/follower.ts';
import { StreamHistory } from '../../src/jetstream/history.ts';
import { lastPlace } from '../../src/jetstream/last-place.ts';
import { StreamPublisher } from '../../src/jetstream/publisher.ts';
import type { StreamBounds } from '../../src/jetstream/stored-stream.ts';
import type { ReceivedMessage, StoredMessage } from '../../src/jetstream/stream-message.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { textOf } from '../../src/memory/payload.ts';
import { parsePosition } from '../../src/position.ts';
import { Installation, OWNER_BYTES } from '../../src/relay/installation.ts';
import { FUZZ_MS, fuzz } from '../support/fuzz.ts';

const EPOCH = 'e-1-1';
const COMMIT_BYTES = 300;
const logger = pino({ level: 'silent' });
const DEFINITIONS = { served: [], refused: [], gone: [] } as never;

/** What JetStream does with a message. */
type Fate = 'stored' | 'lost' | 'stored without an answer';

class ArrayStream {
  messages: Buffer[] = [];
  created = 1;
  /** Sequence of the first message that was not dropped. */
  first = 1;
  readonly fates: Fate[] = [];
  isConnected = true;
  payloadBytesMax = 700;
  readonly #readers = new Set<{ next: number; received: (message: ReceivedMessage) => void; broken: () => void }>();

  onChange = () => () => undefined;
  ensureStream = async () => undefined;

  async publish(bytes: Buffer, lastSequence: number): Promise<void> {
    await Promise.resolve();
    if (lastSequence !== this.messages.length)
      throw new JetStreamApiError({ code: 400, err_code: 10_071, description: 'wrong last sequence' });
    const fate = this.fates.shift() ?? 'stored';
    if (fate !== 'lost') this.messages.push(bytes);
    this.#deliver();
    if (fate !== 'stored') throw new Error('timeout');
  }

  async bounds(): Promise<StreamBounds> {
    const last = this.messages.length;
    const count = last - this.first + 1;
    return {
      first: this.first,
      last,
      count,
      bytes: 0,
      firstAt: 0,
      createdAt: String(this.created),
      cluster: undefined,
    };
  }

  async message(sequence: number): Promise<StoredMessage | undefined> {
    const bytes = sequence < this.first ? undefined : this.messages[sequence - 1];
    return bytes === undefined ? undefined : { sequence, bytes, storedAt: 0 };
  }

  async lastMessage(): Promise<StoredMessage | undefined> {
    return this.message(this.messages.length);
  }

  async follow(from: number, received: (message: ReceivedMessage) => void, broken: () => void): Promise<() => void> {
    const reader = { next: from, received, broken };
    this.#readers.add(reader);
    void Promise.resolve().then(() => this.#deliver());
    return () => this.#readers.delete(reader);
  }

  /** Connections of readers break. */
  breakReaders(): void {
    for (const reader of [...this.#readers]) {
      this.#readers.delete(reader);
      reader.broken();
    }
  }

  /** The newest messages are lost, though they were confirmed. */
  loseTail(count: number): void {
    this.messages.splice(Math.max(this.first, this.messages.length - count));
    this.breakReaders();
  }

  makeAnew(): void {
    this.messages = [];
    this.first = 1;
    this.created++;
    this.breakReaders();
  }

  #deliver(): void {
    for (const reader of this.#readers)
      for (; reader.next <= this.messages.length; reader.next++)
        reader.received({
          sequence: reader.next,
          bytes: Buffer.from(this.messages[reader.next - 1] as Buffer),
          pending: this.messages.length - reader.next,
        });
  }
}

const OWNER = '01'.repeat(OWNER_BYTES);
const installation = new Installation(async () => OWNER);

/** The WAL: commits, each with the sizes of its rows. Commit `n` ends at LSN 16 (n + 1). */
type Commit = readonly number[];
const begins = (index: number) => 16 * (index + 1) - 8;
const ends = (index: number) => 16 * (index + 1);

/** Reads the WAL and publishes it, over as many terms as needed. */
class Ingest {
  readonly #stream: ArrayStream;
  readonly #wal: readonly Commit[];
  #publisher: StreamPublisher | undefined;
  #builder: CommitBuilder | undefined;
  #read = 0;
  terms = 0;

  constructor(stream: ArrayStream, wal: readonly Commit[]) {
    this.#stream = stream;
    this.#wal = wal;
  }

  get publisher(): StreamPublisher | undefined {
    return this.#publisher;
  }

  /** Begins a term where the stream ends, or where the slot is if the stream is empty. */
  async begin(): Promise<void> {
    this.end();
    const { newest, ownership, continued } = await lastPlace(this.#stream, OWNER);
    let publisher: StreamPublisher | undefined;
    const builder = new CommitBuilder(
      { append: (batch) => publisher?.append(batch), knows: () => undefined },
      COMMIT_BYTES,
    );
    const sequence = Math.max(++this.terms * 2 ** 30, (continued?.head.sequence ?? 0) + 2 ** 28);
    builder.head.countFrom(sequence);
    if (continued !== undefined) builder.head.continueFrom({ ...continued.head, sequence });
    publisher = new StreamPublisher({
      relay: this.#stream,
      stream: 'S',
      ownership,
      cut: 1,
      head: builder.head,
      state: () => ({ definitions: DEFINITIONS, isKnown: true }),
      last: newest,
      recent: [],
      joinableAt: continued?.state ?? 0,
      stateEveryBytes: 2_000,
      stateEveryMs: 60_000,
      now: () => performance.now(),
      logger,
      isStreaming: () => true,
      hold: () => undefined,
      release: () => undefined,
      onPublished: () => undefined,
      onOver: () => {
        this.#publisher = undefined;
      },
    });
    this.#publisher = publisher;
    this.#builder = builder;
    const from = continued?.head.head.lsn ?? 0;
    this.#read = this.#wal.findIndex((_, index) => ends(index) > from);
    if (this.#read < 0) this.#read = this.#wal.length;
    if (continued === undefined) {
      builder.startEpoch(EPOCH, 0);
      publisher.begin({ reason: 'epoch_changed' } as never);
    } else {
      builder.resumeEpoch();
      publisher.define(DEFINITIONS);
    }
  }

  end(): void {
    this.#publisher?.stop();
    this.#publisher = undefined;
  }

  /** Reads up to `rows` rows: a commit may remain open. False: everything has been read. */
  read(commits: number): boolean {
    const [publisher, builder] = [this.#publisher, this.#builder];
    if (publisher === undefined || builder === undefined) return true;
    for (let count = 0; count < commits && this.#read < this.#wal.length; count++, this.#read++)
      commit(builder, this.#read, this.#wal[this.#read] as Commit);
    publisher.flush();
    return this.#read < this.#wal.length;
  }

  /** Reads the rows of the next commit, without its end. */
  readOpen(): void {
    const [publisher, builder] = [this.#publisher, this.#builder];
    const next = this.#wal[this.#read];
    if (publisher === undefined || builder === undefined || next === undefined) return;
    write(builder, this.#read, next);
    publisher.flush();
    // The term ends here: the commit is read again by the next one.
    this.end();
  }
}

function commit(builder: CommitBuilder, index: number, rows: Commit): void {
  if (write(builder, index, rows)) builder.commit(ends(index));
}

function write(builder: CommitBuilder, index: number, rows: Commit): boolean {
  if (!builder.begin(index + 1, begins(index), 0)) return false;
  for (const [row, bytes] of rows.entries()) {
    const start = builder.bytes.length;
    builder.bytes.ascii(`{"row":"${index}.${row}","pad":"${'x'.repeat(bytes)}"}`);
    const channel = new ByteWriter(8);
    channel.ascii(`a:${row % 2}`);
    builder.event('a:{id}', channel, start);
  }
  return true;
}

/** The rows that a follower gets, by channel, and its resets. */
class Rows implements FollowedSteps {
  readonly rows: Record<string, string[]> = { 'a:0': [], 'a:1': [] };
  readonly burstBytes = 1_000;
  resets = 0;
  sequence = 0;
  lsn = 0;

  begin(): void {
    this.resets++;
    for (const rows of Object.values(this.rows)) rows.length = 0;
  }

  append(batch: Batch): void {
    expect(batch.firstSequence).toBeGreaterThan(this.sequence);
    for (const { channel, payload, sequence } of batch.entries) {
      this.sequence = sequence;
      this.rows[channel]?.push(...rowsOf(textOf(payload).toString()));
    }
  }

  moveTo({ head }: { readonly head: { readonly lsn: number } }): void {
    expect(head.lsn).toBeGreaterThanOrEqual(this.lsn);
    this.lsn = head.lsn;
  }

  marker(): void {}

  define(): void {}

  setKnown(): void {}

  flush(): void {}
}

const rowsOf = (text: string) => [...text.matchAll(/"row":"([\d.]+)"/g)].map((match) => match[1] as string);

function expected(wal: readonly Commit[], from = 0): Record<string, string[]> {
  const rows: Record<string, string[]> = { 'a:0': [], 'a:1': [] };
  for (const [index, each] of wal.entries())
    if (ends(index) > from) for (const row of each.keys()) rows[`a:${row % 2}`]?.push(`${index}.${row}`);
  return rows;
}

type Event =
  | { readonly kind: 'read'; readonly commits: number }
  | { readonly kind: 'fates'; readonly fates: readonly Fate[] }
  | { readonly kind: 'lose tail'; readonly count: number }
  | { readonly kind: 'break' | 'make anew' | 'new term' | 'read open' | 'time' };

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('read' as const), commits: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fates' as const),
      fates: fc.array(fc.constantFrom<Fate>('stored', 'lost', 'stored without an answer'), {
        minLength: 1,
        maxLength: 4,
      }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('lose tail' as const), count: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'break' as const,
        'make anew' as const,
        'new term' as const,
        'read open' as const,
        'time' as const,
      ),
    }),
  },
);

beforeEach(
  () =>
    void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] }),
);
afterEach(() => void vi.useRealTimers());

test(
  'every follower receives every row once and in order, and no follower that was connected is reset',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.nat(250), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 }),
        fc.array(event, { maxLength: 30 }),
        async (wal, events) => {
          const stream = new ArrayStream();
          const ingest = new Ingest(stream, wal);
          const failures: unknown[] = [];
          const followers: { readonly steps: Rows; readonly following: StreamFollowing }[] = [];
          const join = () => {
            const steps = new Rows();
            const onFailed = (error: unknown) => failures.push(error);
            const now = () => performance.now();
            const following = new StreamFollowing({
              relay: stream,
              stream: 'S',
              installation,
              steps,
              now,
              logger,
              onHole: () => undefined,
              onFailed,
            });
            void following.start();
            followers.push({ steps, following });
          };
          const settle = async (ms: number) => {
            await vi.advanceTimersByTimeAsync(ms);
            if (ingest.publisher === undefined) await ingest.begin();
            await vi.advanceTimersByTimeAsync(0);
          };
          try {
            await ingest.begin();
            join();
            // A follower does not get the rows that were published before it joined.
            while (followers[0]?.steps.resets === 0) await settle(1_000);
            for (const each of events) {
              if (each.kind === 'read') ingest.read(each.commits);
              else if (each.kind === 'fates') stream.fates.push(...each.fates);
              else if (each.kind === 'break') stream.breakReaders();
              else if (each.kind === 'make anew') stream.makeAnew();
              else if (each.kind === 'lose tail') stream.loseTail(each.count);
              else if (each.kind === 'new term') ingest.end();
              else if (each.kind === 'read open') ingest.readOpen();
              else await settle(3_000);
              await settle(0);
            }
            join();
            stream.fates.length = 0;
            for (let tries = 0; tries < 60; tries++) {
              const isRead = !ingest.read(100);
              await settle(3_000);
              if (isRead && followers.every(({ steps }) => steps.lsn >= ends(wal.length - 1))) break;
            }
            const [first, last] = followers as [(typeof followers)[0], (typeof followers)[0]];
            expect(failures).toEqual([]);
            expect(first.steps.rows).toEqual(expected(wal));
            expect(first.steps.resets).toBe(1);
            expect(last.steps.lsn).toBeGreaterThanOrEqual(ends(wal.length - 1));
            await expectHistory(stream, wal);
          } finally {
            ingest.end();
            for (const { following } of followers) following.stop();
          }
        },
      ),
      fuzz(150),
    );
  },
  FUZZ_MS,
);

/** What follows the first commit is in the stream, once and in order. */
async function expectHistory(stream: ArrayStream, wal: readonly Commit[]): Promise<void> {
  const after = parsePosition(`${'e-1-1'}:0/${ends(0).toString(16).toUpperCase()}:1`);
  if (after === undefined) throw new Error('it is a position');
  const rows: Record<string, string[]> = { 'a:0': [], 'a:1': [] };
  const lsn = { 'a:0': 0, 'a:1': 0 } as Record<string, number>;
  for await (const batches of new StreamHistory(async () => stream, installation).read(EPOCH, after))
    for (const { entries } of batches)
      for (const { channel, payload, lsn: at } of entries)
        if (at > ends(0)) {
          expect(at).toBeGreaterThanOrEqual(lsn[channel] ?? 0);
          lsn[channel] = at;
          rows[channel]?.push(...rowsOf(textOf(payload).toString()));
        }
  expect(rows).toEqual(expected(wal, ends(0)));
}
