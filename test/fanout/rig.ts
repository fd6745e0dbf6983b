/** A hub whose WAL, snapshots, markers and visibility are in the test's hand, step by step. */
import type { Duplex } from 'node:stream';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Grant } from '../../src/fanout/fanout.ts';
import { Hub } from '../../src/fanout/hub.ts';
import type { Outcome, SnapshotSink } from '../../src/fanout/snapshots/recipient.ts';
import type { SnapshotSource } from '../../src/fanout/snapshots/snapshots.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { Markers } from '../../src/markers/markers.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { FrameReader } from '../support/frames.ts';

export const PATTERN = 'room:{id}';
/** Where the history begins. */
const START = 0x1000;

/** Between two commits. */
const COMMIT_LSNS = 16;
const END_XID = 999;

/** Access that nothing takes away. */
export const ALLOWED: Grant = { stillAllowed: async () => true };

export interface Reading {
  readonly sink: SnapshotSink;
  readonly done: (outcome: Outcome) => void;
}

export interface RigOptions {
  /** What the journal holds, in bytes. */
  readonly journalBytes?: number;
  /** Beyond it a commit goes on in parts. */
  readonly commitBytes?: number;
  /** What may wait in all sockets together. */
  readonly outboundTotalBytes?: number;
  readonly visible?: (xid: number, isWanted?: () => boolean) => Promise<void>;
  /** Undefined: the test takes snapshots from `readings`. */
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
  /** Snapshots that were asked for. */
  readonly readings: Reading[] = [];
  /** Markers that were written and have not come out of the stream. */
  readonly emitted: string[] = [];
  readonly #markers: Markers;
  /** How often a connection met the bound of what may wait. */
  outboundFull = 0;
  #lsn = START;

  constructor({
    journalBytes = 1 << 20,
    commitBytes = 1_000_000,
    outboundTotalBytes = Number.POSITIVE_INFINITY,
    visible = async () => undefined,
    snapshots,
  }: RigOptions = {}) {
    this.#markers = new Markers({ emit: async (id) => void this.emitted.push(id), pause: async () => undefined });
    const journal = new MemoryJournal({ bytesMax: journalBytes, ageMaxMs: Number.POSITIVE_INFINITY, now: () => 0 });
    this.hub = new Hub(journal, this.#markers, {
      outboundBytesMax: 1 << 20,
      outboundTotalBytesMax: outboundTotalBytes,
      waitingCommitsMax: 1_000,
      snapshots: snapshots ?? {
        request: (_, sink) => ({ outcome: new Promise((done) => this.readings.push({ sink, done })), leave() {} }),
      },
      visible,
      pause: async () => undefined,
      now: () => 0,
      events: {
        delivered: () => {},
        reset: () => {},
        sent: () => {},
        failed: () => {},
        outboundFull: () => this.outboundFull++,
      },
    });
    this.builder = new CommitBuilder(this.hub, commitBytes);
    this.hub.follow(this.builder);
    this.builder.startEpoch('e-1-1', this.#lsn);
    journal.clear(this.builder.head);
  }

  begin(xid: number): void {
    this.builder.begin(xid, this.#lsn + COMMIT_LSNS / 2, 0);
  }

  /** A change of a room's row, which says `n`. */
  row(id: number, n: number, bytes = 0): void {
    const { bytes: text } = this.builder;
    const start = text.length;
    text.ascii(`{"n":${n},"pad":"${'x'.repeat(bytes)}"}`);
    const name = new ByteWriter(32);
    name.ascii(`room:${id}`);
    this.builder.event(PATTERN, name, start);
  }

  /** The commit is whole, and not sent before a flush. */
  end(): void {
    this.#lsn += COMMIT_LSNS;
    this.builder.commit(this.#lsn);
  }

  /** The markers come out of the stream, in a commit of their own. */
  async marker(): Promise<void> {
    await turn();
    this.begin(END_XID);
    for (const id of this.emitted.splice(0)) this.#markers.receive(id);
    this.end();
    this.hub.flush();
  }
}

/** All that can go on without anybody's help has. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The frames that have been written to a connection since this was last asked. */
export function framesOf<Frame>(stream: Duplex): Frame[] {
  const bytes = (stream.read() as Buffer | null) ?? Buffer.alloc(0);
  return new FrameReader().push(bytes).map((text) => JSON.parse(text) as Frame);
}
