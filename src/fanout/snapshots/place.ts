/**
 * One of SNO_SNAPSHOTS places for reads of the database. It reads one snapshot, or a batch of
 * several snapshots of one view. Snapshots that a batch did not read are read again, in the same
 * place:
 *
 * - If the batch ended early, the rest is the next batch.
 * - If a channel caused an error, the rest is read in halves. So each channel that can be read is
 *   read, and only the clients of the other one receive the error.
 * - A channel that is too large for a batch gives up the place, and waits for one of its own.
 *
 * Rows wait in memory for access checks and full sockets. So the place reads on only when
 * everything that it has read is written, or its recipients have ended as `later`.
 */
import { queryFault } from '../../access/query-fault.ts';
import type { ResolvedChannel } from '../../channels/served/served.ts';
import type { SnoError } from '../../errors.ts';
import type { Visibility } from '../../markers/visibility.ts';
import type { Payload } from '../../memory/payload.ts';
import type { BatchPace } from './batch-pace.ts';
import type { Batch, BatchSink } from './batch-read.ts';
import type { SharedSnapshot } from './shared-snapshot.ts';
import { type RowSink, type SnapshotRead, snapshotError } from './snapshot.ts';

/** The functions that read the database. */
export interface Reads {
  readonly read: (channel: ResolvedChannel, sink: RowSink) => SnapshotRead;
  /** Reads several channels by the query `many`. Undefined: each channel is read on its own. */
  readonly readMany?: <Sink extends BatchSink>(many: string, sinks: readonly Sink[]) => Batch<Sink>;
  readonly now: () => number;
  /** Counts a read of the database. */
  readonly onRead: () => void;
}

export interface PlaceEvents {
  readonly pace: BatchPace;
  /** The rows of the snapshot's channel are being read. */
  reading(snapshot: SharedSnapshot): void;
  /** The snapshot's visibility is known: it can't be shared from now on. */
  begun(snapshot: SharedSnapshot): void;
  /** All rows were read, or none will be. */
  read(snapshot: SharedSnapshot): void;
  /** The snapshot needs a read of its own. */
  large(snapshot: SharedSnapshot): void;
  /** The place may have become free. */
  changed(): void;
}

type Snapshots = readonly SharedSnapshot[];

export class Place {
  readonly startedAt: number;
  readonly #reads: Reads;
  readonly #events: PlaceEvents;
  /** The snapshots that are not over. */
  readonly #snapshots: Set<SharedSnapshot>;
  #drop: ((snapshot: SharedSnapshot) => void) | undefined;
  #onLeft: (() => void) | undefined;

  constructor(reads: Reads, events: PlaceEvents, snapshots: Snapshots) {
    this.startedAt = reads.now();
    this.#reads = reads;
    this.#events = events;
    this.#snapshots = new Set(snapshots);
  }

  get isFree(): boolean {
    return this.#snapshots.size === 0;
  }

  /** The snapshot is over, or no recipient wants it any more. */
  leave(snapshot: SharedSnapshot): void {
    this.#snapshots.delete(snapshot);
    this.#drop?.(snapshot);
    this.#onLeft?.();
  }

  async run(): Promise<void> {
    const groups: Snapshots[] = [[...this.#snapshots]];
    for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
      const isWanted = (snapshot: SharedSnapshot) => this.#snapshots.has(snapshot);
      if (!group.some(isWanted)) continue;
      if (this.#areWaiting) await this.#written();
      const wanted = group.filter((snapshot) => isWanted(snapshot) && snapshot.dropFull());
      const [first] = wanted;
      if (first === undefined) continue;
      this.#reads.onRead();
      if (wanted.length === 1) await this.#readOne(first);
      else groups.unshift(...(await this.#readMany(wanted)));
    }
  }

  /** Whether rows that the place has read are waiting. */
  get #areWaiting(): boolean {
    for (const { isWhole } of this.#snapshots) if (isWhole) return true;
    return false;
  }

  /** Resolves when all of them are written, or their recipients have ended as `later`. */
  async #written(): Promise<void> {
    for (const snapshot of [...this.#snapshots]) if (snapshot.isWhole) snapshot.dropFull();
    while (this.#areWaiting)
      await new Promise<void>((resolve) => {
        this.#onLeft = resolve;
      });
  }

  async #readOne(snapshot: SharedSnapshot): Promise<void> {
    const { read, now } = this.#reads;
    const { pace } = this.#events;
    const { channel, many } = snapshot;
    const watch = new Stopwatch(now);
    let pieces = 0;
    this.#events.reading(snapshot);
    const reading = read(channel, {
      begin: (visibility) => {
        watch.begun();
        this.#events.begun(snapshot);
        return snapshot.begin(visibility);
      },
      piece: (payload) => {
        pieces++;
        return snapshot.piece(payload);
      },
    });
    this.#drop = (left) => {
      if (left === snapshot) reading.cancel();
    };
    let isSmall = false;
    try {
      await reading.done;
      isSmall = pieces === 1;
      snapshot.finish();
    } catch (error) {
      snapshot.fail(error as SnoError);
    }
    this.#drop = undefined;
    pace.setOwn(channel.name, !isSmall);
    if (many !== undefined && isSmall) pace.finished(many, { channels: 1, ...watch.finished(), isSmooth: true });
    this.#events.read(snapshot);
    this.#events.changed();
  }

  /** Returns the groups that must be read again. */
  async #readMany(snapshots: Snapshots): Promise<readonly Snapshots[]> {
    const { readMany, now } = this.#reads;
    const watch = new Stopwatch(now);
    const many = snapshots[0]?.many;
    if (readMany === undefined || many === undefined) return snapshots.map((snapshot) => [snapshot]);
    const members = new Map(snapshots.map((snapshot) => [snapshot, new Member(snapshot, this.#events, watch)]));
    for (const snapshot of snapshots) this.#events.reading(snapshot);
    const batch = readMany(many, [...members.values()]);
    this.#drop = (left) => {
      const member = members.get(left);
      if (member !== undefined) batch.drop(member);
    };
    const { large, unread, error } = await batch.done;
    this.#drop = undefined;
    for (const { snapshot } of large) {
      this.#snapshots.delete(snapshot);
      this.#events.large(snapshot);
    }
    const rest = unread.map(({ snapshot }) => snapshot);
    this.#events.pace.finished(many, {
      channels: snapshots.length,
      ...watch.finished(),
      isSmooth: rest.length === 0 && large.length === 0,
    });
    const groups = this.#again(snapshots, rest, error);
    // A snapshot that no recipient could use is over too.
    for (const snapshot of snapshots) if (!rest.includes(snapshot)) this.#events.read(snapshot);
    this.#events.changed();
    return groups;
  }

  #again(all: Snapshots, rest: Snapshots, error: unknown): readonly Snapshots[] {
    if (error !== undefined && isAboutAll(error)) {
      for (const snapshot of rest) {
        snapshot.fail(snapshotError(snapshot.channel.name, error));
        this.#events.read(snapshot);
      }
      return [];
    }
    if (error === undefined && rest.length < all.length) return [rest];
    const half = rest.length >> 1;
    return [rest.slice(0, half), rest.slice(half)];
  }
}

/** How long the parts of a read take, from its creation. */
class Stopwatch {
  readonly #now: () => number;
  readonly #startedAt: number;
  #begunAt: number | undefined;

  constructor(now: () => number) {
    this.#now = now;
    this.#startedAt = now();
  }

  /** The read's transaction has begun. */
  begun(): void {
    this.#begunAt ??= this.#now();
  }

  finished(): { readonly beginMs: number; readonly rowsMs: number } {
    const now = this.#now();
    const begunAt = this.#begunAt ?? now;
    return { beginMs: begunAt - this.#startedAt, rowsMs: now - begunAt };
  }
}

/** A snapshot in a batch. */
class Member implements BatchSink {
  readonly snapshot: SharedSnapshot;
  readonly #events: PlaceEvents;
  readonly #watch: Stopwatch;

  constructor(snapshot: SharedSnapshot, events: PlaceEvents, watch: Stopwatch) {
    this.snapshot = snapshot;
    this.#events = events;
    this.#watch = watch;
  }

  get channel(): ResolvedChannel {
    return this.snapshot.channel;
  }

  begin(visibility: Visibility): boolean {
    this.#watch.begun();
    this.#events.begun(this.snapshot);
    return this.snapshot.begin(visibility);
  }

  piece(payload: Payload): Promise<void> | undefined {
    return this.snapshot.piece(payload);
  }

  end(): void {
    this.snapshot.finish();
    this.#events.read(this.snapshot);
  }
}

const QUERY_CANCELED = '57014';

/** The class of errors of names and privileges, which concern the whole view. */
const VIEW_ERROR = /^42/;

/** Whether no channel of the batch can be read now. A timeout may be due to one of them. */
function isAboutAll(error: unknown): boolean {
  const { code = '' } = error as { readonly code?: string };
  return VIEW_ERROR.test(code) || (code !== QUERY_CANCELED && queryFault(error) === 'passing');
}
