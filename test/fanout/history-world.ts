/**
 * A gateway with a history older than its journal, its clients, and the model: a journal that has
 * never dropped anything.
 */
import type { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'vitest';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch, Entry, Mark } from '../../src/commit/entry.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { Hub } from '../../src/fanout/hub.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { Markers } from '../../src/markers/markers.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { textOf } from '../../src/memory/payload.ts';
import { Patterns } from '../../src/metrics/patterns.ts';
import { comparePositions, formatPosition, type Position } from '../../src/position.ts';
import { type HeadState, Replica } from '../../src/relay/replica.ts';
import { ArrayHistory } from './history-source.ts';
import { ALLOWED } from './rig.ts';
import { SlowSocket } from './slow-socket.ts';

export const EPOCH = 'e-1-1';
export const CHANNELS = ['a:0', 'a:1', 'a:2', 'b:0', 'b:1'];
export const RING_MS = 100;
/** A commit goes on in parts beyond it. */
const COMMIT_BYTES = 400;

interface Message {
  readonly type: string;
  readonly channel?: string;
  readonly position?: string;
  readonly reason?: string;
}

function resolved(name: string): ResolvedChannel {
  const text = `${name[0]}:{id}`;
  return {
    name,
    values: [],
    valueTypes: [],
    pattern: { text, columns: ['id'], literals: ['', ''] },
    view: undefined,
    access: undefined,
  };
}

/** What the stream carries. */
interface Item {
  readonly state: HeadState;
  readonly batch?: Batch;
  readonly marker?: string;
}

/** One client's attempt to resume one channel. */
interface Attempt {
  readonly channel: string;
  readonly since: Position;
  /** How often the gateway had begun by then. */
  readonly begins: number;
  /** The gateway had not come so far: it may have had another definition. */
  readonly isAhead: boolean;
}

interface Client {
  readonly socket: SlowSocket<Message>;
  readonly feed: SocketFeed;
  readonly attempts: readonly Attempt[];
  /** Channels that the test has left. */
  readonly left: Set<string>;
}

interface Bounds {
  /** Bytes of the ring, and of the older entries. */
  readonly journalBytes: number;
  readonly outboundBytes: number;
  readonly isSlow: boolean;
}

/** How the history delivers, and of how many channels an open commit keeps track. */
interface Source {
  readonly pieceBatches: number;
  readonly extra: number;
  readonly tellsOldest: boolean;
  readonly openChannels: number;
}

export class World {
  readonly items: Item[] = [];
  readonly history = new ArrayHistory();
  /** Has everything since the beginning. */
  readonly full = new MemoryJournal({
    bytesMax: Number.POSITIVE_INFINITY,
    ageMaxMs: Number.POSITIVE_INFINITY,
    now: () => 0,
  });
  readonly voids: Mark[] = [];
  readonly builder: CommitBuilder;
  readonly journal: MemoryJournal;
  readonly hub: Hub;
  readonly clients: Client[] = [];
  readonly #markers: Markers;
  readonly #replica = new Replica();
  readonly #bounds: Bounds;
  readonly #openChannels: number;
  /** How often the gateway has begun. */
  begins = 0;
  #next = 0;
  #now = 0;
  #lsn = 1_000;
  #xid = 0;
  #isOpen = false;
  /** Markers that the stream delivers after the open commit. */
  readonly #written: string[] = [];
  #number = 0;

  constructor(bounds: Bounds, { openChannels, ...source }: Source) {
    Object.assign(this.history, source);
    this.#openChannels = openChannels;
    this.#bounds = bounds;
    this.builder = new CommitBuilder(
      { append: (batch) => this.#append(batch), knows: () => undefined },
      COMMIT_BYTES,
      openChannels,
    );
    this.builder.startEpoch(EPOCH, this.#lsn);
    this.full.clear(this.builder.head.head);
    for (const name of CHANNELS) this.full.retain(name, resolved(name).pattern.text, -1);
    this.journal = new MemoryJournal({ bytesMax: bounds.journalBytes, ageMaxMs: RING_MS, now: () => this.#now });
    const emit = async (marker: string) => {
      if (this.#isOpen) this.#written.push(marker);
      else this.items.push({ state: this.#state(), marker });
    };
    this.#markers = new Markers({ emit, pause: async () => undefined });
    this.hub = new Hub(this.journal, this.#markers, {
      outboundBytesMax: bounds.outboundBytes,
      waitingCommitsMax: 1_000,
      visible: async () => undefined,
      snapshots: { request: () => expect.fail('no snapshots here') },
      history: this.history,
      pause: async () => undefined,
      now: () => this.#now,
      patterns: new Patterns(),
      events: { delivered() {}, reset() {}, sent() {}, failed() {}, outboundFull() {} },
    });
    this.hub.follow(this.#replica);
    this.begin();
  }

  row(channel: string, padding: number): void {
    if (!this.#isOpen) this.builder.begin(++this.#xid, this.#lsn + 8, 0);
    this.#isOpen = true;
    const { bytes } = this.builder;
    const start = bytes.length;
    bytes.ascii(`{"n":${++this.#number},"pad":"${'x'.repeat(padding)}"}`);
    const name = new ByteWriter(16);
    name.ascii(channel);
    this.builder.event(resolved(channel).pattern.text, name, start);
  }

  end(how: Ending): void {
    if (!this.#isOpen) this.builder.begin(++this.#xid, this.#lsn + 8, 0);
    if (how.kind === 'truncate') this.builder.truncate(how.pattern);
    else if (how.kind === 'recheck') this.builder.recheck('channel_access', how.pattern);
    else if (how.kind === 'changed') this.builder.redefined(how.pattern, 'changed');
    else if (how.kind === 'incomplete') {
      const name = new ByteWriter(16);
      name.ascii(`${how.pattern[0]}:1`);
      this.builder.incomplete(how.pattern, name);
    }
    this.#isOpen = false;
    this.#lsn += 16;
    this.builder.commit(this.#lsn);
    this.items.push({ state: this.#state() });
    for (const marker of this.#written.splice(0)) this.items.push({ state: this.#state(), marker });
  }

  /** Another process continues the history. Sequences have a gap there. */
  takeOver(): void {
    if (!this.#isOpen) this.builder.head.continueFrom(this.#state());
  }

  notify(channel: string): void {
    this.builder.notification(resolved(channel).pattern.text, channel, 'wave', `${++this.#number}`);
  }

  /** The gateway begins here, with an empty journal, if no commit is open. */
  begin(): void {
    const state = this.#state();
    if (state.openXid !== 0) return;
    this.begins++;
    this.#next = this.items.length;
    this.#replica.moveTo(state);
    this.journal.clear(state.head);
    this.hub.resetAll('epoch_changed');
  }

  /** The gateway follows the stream. */
  follow(count: number): void {
    for (const item of this.items.slice(this.#next, this.#next + count)) {
      this.#next++;
      this.#replica.moveTo(item.state);
      if (item.marker !== undefined) this.#markers.receive(item.marker);
      if (item.batch !== undefined) {
        this.#replica.take(item.batch);
        this.hub.append(item.batch);
      }
    }
    this.hub.flush();
  }

  /** Time passes. Access checks that have begun are answered before. */
  async wait(ms: number): Promise<void> {
    await turn();
    this.drain();
    this.#now += ms;
    this.journal.evict(this.#now);
  }

  /** A client connects and resumes. `back` chooses among the positions of each channel. */
  resume(channels: readonly string[], back: number): void {
    const socket = new SlowSocket<Message>(500);
    const feed = this.hub.attach(socket as Duplex, PLAIN);
    const attempts: Attempt[] = [];
    this.clients.push({ socket, feed, attempts, left: new Set() });
    for (const channel of channels) {
      const positions = this.#positions(channel);
      const since = positions[Math.max(0, positions.length - 1 - back)] as Position;
      const isAhead = comparePositions(since, this.hub.frontier) > 0;
      attempts.push({ channel, since, begins: this.begins, isAhead });
      const position = formatPosition(EPOCH, since.lsn, since.index);
      feed.subscribe(resolved(channel), { kind: 'since', position }, ALLOWED);
    }
  }

  /** Sockets take everything, unless they are slow. */
  drain(): void {
    if (this.#bounds.isSlow) return;
    for (const { socket } of this.clients) while (socket.writableLength > 0) socket.accept(1_000);
  }

  leave(index: number, isGone: boolean): void {
    const client = this.clients[index];
    if (client === undefined) return;
    for (const { channel } of client.attempts) {
      client.left.add(channel);
      if (!isGone) client.feed.unsubscribe(channel, 'client');
    }
    if (isGone) client.feed.detach();
  }

  accept(index: number, count: number): void {
    this.clients[index]?.socket.accept(count);
  }

  /** Everything arrives, and every socket takes all of it. */
  async finish(): Promise<void> {
    if (this.#isOpen) this.end({ kind: 'plain' });
    for (let quiet = 0; quiet < 20; quiet++) {
      if (this.#next < this.items.length) quiet = 0;
      this.follow(this.items.length);
      for (const { socket } of this.clients) {
        while (socket.writableLength > 0) socket.accept(1_000);
      }
      if ((this.hub.history?.waiting ?? 0) > 0) quiet = 0;
      await turn();
    }
  }

  /** What a client must receive after a position, and the marks that make it void. */
  expected(channel: string, since: Position): { readonly texts: readonly string[]; readonly voids: readonly Mark[] } {
    const log = this.full.retain(channel, resolved(channel).pattern.text, -1);
    const entries = Array.from({ length: log.length }, (_, index) => log.at(index) as Entry);
    const isVoid = (mark: Mark) =>
      mark.pattern === log.pattern &&
      (mark.channel ?? channel) === channel &&
      comparePositions(mark, since) > 0 &&
      (mark.kind !== 'cut' || entries.some(({ lsn, sequence }) => lsn === mark.lsn && sequence < mark.sequence));
    const voids = this.voids.filter(isVoid);
    const before = voids[0]?.sequence ?? Number.POSITIVE_INFINITY;
    const after = entries.filter((entry) => comparePositions(entry, since) > 0 && entry.sequence < before);
    return { texts: after.map(({ payload }) => textOf(payload).toString()), voids };
  }

  /** Whether a commit after the position forgot channels of the pattern. */
  isCut(channel: string, since: Position): boolean {
    const pattern = resolved(channel).pattern.text;
    return this.voids.some(
      (mark) => mark.kind === 'cut' && mark.pattern === pattern && comparePositions(mark, since) > 0,
    );
  }

  #append(batch: Batch): void {
    this.full.append(batch);
    this.history.add(batch);
    for (const mark of batch.marks) if (mark.kind === 'changed' || mark.kind === 'cut') this.voids.push(mark);
    this.items.push({ state: this.#state(), batch });
  }

  #state(): HeadState {
    const { epoch, head, frontier, wholeSequence, openXid, openParts, sequence, forgotten } = this.builder.head;
    return { epoch, head, frontier, wholeSequence, openXid, openParts, sequence, forgotten: [...forgotten] };
  }

  /** Positions that a client may have been given: of its frames, and heads. */
  #positions(channel: string): Position[] {
    const positions: Position[] = [{ lsn: 1_000, index: 2 ** 31 }];
    for (const item of this.items) {
      // A client resumes from the middle of a commit at most if the commit will have an end.
      const isPart = (item.batch?.part ?? 0) > 0;
      if (!isPart || this.#openChannels > CHANNELS.length)
        for (const entry of item.batch?.entries ?? []) if (entry.channel === channel) positions.push(entry);
      positions.push(item.state.head);
    }
    return positions.sort(comparePositions);
  }
}

export type Ending =
  | { readonly kind: 'plain' }
  | { readonly kind: 'truncate' | 'recheck' | 'changed' | 'incomplete'; readonly pattern: string };
