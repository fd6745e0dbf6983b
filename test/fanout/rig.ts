/** A hub for tests, which control its WAL, snapshots, markers and visibility step by step. */
import type { Duplex } from 'node:stream';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch } from '../../src/commit/entry.ts';
import type { Grant } from '../../src/fanout/fanout.ts';
import { Hub } from '../../src/fanout/hub.ts';
import type { Outcome, SnapshotSink } from '../../src/fanout/snapshots/recipient.ts';
import type { SnapshotSource } from '../../src/fanout/snapshots/snapshots.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { Markers } from '../../src/markers/markers.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { Patterns } from '../../src/metrics/patterns.ts';
import { FrameReader } from '../support/frames.ts';
import type { ArrayHistory } from './history-source.ts';

export const PATTERN = 'room:{id}';
/** LSN where the history begins. */
const START = 0x1000;

/** Number of LSNs between two commits. */
const COMMIT_LSNS = 16;
const END_XID = 999;

/** A grant that is never revoked. */
export const ALLOWED: Grant = { stillAllowed: async () => true };

export interface Reading {
  readonly sink: SnapshotSink;
  readonly done: (outcome: Outcome) => void;
}

export interface RigOptions {
  /** Maximum bytes of the journal. */
  readonly journalBytes?: number;
  /** Maximum bytes of a whole commit. A larger one is sent in parts. */
  readonly commitBytes?: number;
  /** Maximum bytes that wait in all sockets together. */
  readonly outboundTotalBytes?: number;
  readonly visible?: (xid: number, isWanted?: () => boolean) => Promise<void>;
  /** Has all that was appended. Undefined: clients resume from the journal only. */
  readonly history?: ArrayHistory;
  /** Channels that may wait for it. */
  readonly waitingHistoryMax?: number;
  /** Undefined: the test answers the requests in `readings`. */
  readonly snapshots?: SnapshotSource;
}

export function room(id: number): ResolvedChannel {
  return {
    name: `room:${id}`,
    values: [String(id)],
    valueTypes: ['integer'],
    pattern: { text: PATTERN, columns: ['id'], literals: ['room:', ''] },
    view: undefined,
    access: undefined,
  };
}

export class Rig {
  readonly hub: Hub;
  readonly builder: CommitBuilder;
  readonly journal: MemoryJournal;
  /** Counts of what was done with the history. */
  readonly history = { passes: 0, batches: 0, resumed: 0, refused: 0 };
  /** Errors that were reported, with their channels. */
  readonly failures: (readonly [string, string])[] = [];
  /** The requested snapshots. */
  readonly readings: Reading[] = [];
  /** Markers that were written and that the stream has not delivered yet. */
  readonly emitted: string[] = [];
  readonly #markers: Markers;
  /** How often a connection reached its limit of waiting bytes. */
  outboundFull = 0;
  #lsn = START;

  constructor({
    journalBytes = 1 << 20,
    commitBytes = 1_000_000,
    outboundTotalBytes = Number.POSITIVE_INFINITY,
    visible = async () => undefined,
    snapshots,
    history,
    waitingHistoryMax,
  }: RigOptions = {}) {
    this.#markers = new Markers({ emit: async (id) => void this.emitted.push(id), pause: async () => undefined });
    this.journal = new MemoryJournal({ bytesMax: journalBytes, ageMaxMs: Number.POSITIVE_INFINITY, now: () => 0 });
    this.hub = new Hub(this.journal, this.#markers, {
      outboundBytesMax: 1 << 20,
      outboundTotalBytesMax: outboundTotalBytes,
      waitingCommitsMax: 1_000,
      snapshots: snapshots ?? {
        request: (_, sink) => ({ outcome: new Promise((done) => this.readings.push({ sink, done })), leave() {} }),
      },
      ...(history === undefined ? {} : { history }),
      ...(waitingHistoryMax === undefined ? {} : { waitingHistoryMax }),
      visible,
      pause: async () => undefined,
      now: () => 0,
      patterns: new Patterns(),
      events: {
        delivered: () => {},
        reset: () => {},
        sent: () => {},
        failed: ({ code }, channel) => this.failures.push([code, channel]),
        outboundFull: () => this.outboundFull++,
        history: {
          pass: () => this.history.passes++,
          batches: (count) => {
            this.history.batches += count;
          },
          resumed: () => this.history.resumed++,
          refused: () => this.history.refused++,
        },
      },
    });
    const append = (batch: Batch) => {
      history?.add(batch);
      this.hub.append(batch);
    };
    this.builder = new CommitBuilder({ append, knows: (channel) => this.hub.knows(channel) }, commitBytes);
    this.hub.follow(this.builder.head);
    this.builder.startEpoch('e-1-1', this.#lsn);
    this.journal.clear(this.builder.head.head);
  }

  /** A gateway that has just begun, with an empty journal, takes the place of this one. */
  restart(): void {
    this.journal.clear(this.builder.head.head);
    this.hub.resetAll('epoch_changed');
  }

  begin(xid: number): void {
    this.builder.begin(xid, this.#lsn + COMMIT_LSNS / 2, 0);
  }

  /** Adds a change of a room's row, which contains `n`. */
  row(id: number, n: number, bytes = 0): void {
    const { bytes: text } = this.builder;
    const start = text.length;
    text.ascii(`{"n":${n},"pad":"${'x'.repeat(bytes)}"}`);
    const name = new ByteWriter(32);
    name.ascii(`room:${id}`);
    this.builder.event(PATTERN, name, start);
  }

  /** Ends the commit. It is sent at the next flush. */
  end(): void {
    this.#lsn += COMMIT_LSNS;
    this.builder.commit(this.#lsn);
  }

  /** The stream delivers the emitted markers, in a commit of their own. */
  async marker(): Promise<void> {
    await this.markerBeforeMore();
    this.hub.flush();
  }

  /** The same, but more of the stream follows before the next flush. */
  async markerBeforeMore(): Promise<void> {
    await turn();
    this.begin(END_XID);
    for (const id of this.emitted.splice(0)) this.#markers.receive(id);
    this.end();
  }
}

/** Writes a piece of a snapshot once its sink accepts it. */
export async function give(sink: SnapshotSink, piece: Buffer): Promise<void> {
  for (let ready = sink.ready(); ready !== undefined; ready = sink.ready()) await ready;
  sink.write(piece);
}

/** Lets pending promises and callbacks run. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The frames written to a connection since the last call. */
export function framesOf<Frame>(stream: Duplex): Frame[] {
  const bytes = (stream.read() as Buffer | null) ?? Buffer.alloc(0);
  return new FrameReader().push(bytes).map((text) => JSON.parse(text) as Frame);
}
