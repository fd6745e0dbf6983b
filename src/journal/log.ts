/** One channel's part of the journal in memory. */
import type { Batch, Entry, Mark } from '../commit/entry.ts';
import { Deque } from '../deque.ts';
import { assert } from '../errors.ts';
import { memoryOf } from '../memory/payload.ts';
import type { Position } from '../position.ts';
import type { ChannelLog, LogWatcher } from './journal.ts';

/** Measured bytes of memory that an entry costs beside its payload and old values. */
const ENTRY_OVERHEAD_BYTES = 256;
const NO_WATCHERS: readonly never[] = [];

/** Returns the bytes of memory that an entry costs. */
export function bytesOf({ payload, old }: Pick<Entry, 'payload' | 'old'>): number {
  return memoryOf(payload).length + (old?.length ?? 0) + ENTRY_OVERHEAD_BYTES;
}

/** The first entries of a log, which the ring does not hold. See older.ts. */
export interface OlderPart {
  /** Everything of the channel after this position is in the log. */
  since: Position;
  /**
   * `since` as a sequence: everything from this sequence on is in the log. Undefined: everything
   * from the first batch of the ring on.
   */
  from: number | undefined;
  /** Number of entries. */
  count: number;
  /** Number of readers that need it. */
  holds: number;
}

export class Log implements ChannelLog {
  readonly name: string;
  readonly pattern: string;
  readonly list = new Deque<Entry>();
  retained = 0;
  evicted = -1;
  voided: Mark | undefined;
  /** Undefined: the ring holds all entries, as in most logs. */
  older: OlderPart | undefined;
  /** Undefined while the log has no watcher: most logs never have one. */
  #watchers: Set<LogWatcher> | undefined;

  constructor(name: string, pattern: string) {
    this.name = name;
    this.pattern = pattern;
  }

  get length(): number {
    return this.list.length;
  }

  at(index: number): Entry | undefined {
    return this.list.at(index);
  }

  firstAfter(sequence: number): number {
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.list.at(middle) as Entry).sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  watch(watcher: LogWatcher): void {
    this.#watchers ??= new Set();
    this.#watchers.add(watcher);
  }

  unwatch(watcher: LogWatcher): void {
    this.#watchers?.delete(watcher);
    if (this.#watchers?.size === 0) this.#watchers = undefined;
  }

  /** Drops its oldest entry. */
  dropFirst(): Entry {
    const entry = this.list.shift() as Entry;
    for (const watcher of this.#watchers ?? NO_WATCHERS) watcher.dropped(entry);
    this.evicted = entry.sequence;
    return entry;
  }

  /** Applies a `cut` mark, which voids only logs that have parts of its commit. */
  cut(mark: Mark): void {
    if (mark.pattern !== this.pattern || mark.sequence <= (this.voided?.sequence ?? -1)) return;
    // Only the parts of that commit have its LSN.
    if (this.at(this.firstAfter(mark.sequence) - 1)?.lsn === mark.lsn) this.voided = mark;
  }

  /** Applies a mark of the batch. Returns the entry that this creates, not added yet. */
  apply(mark: Mark, { firstSequence }: Batch): Entry | undefined {
    if (mark.pattern !== this.pattern || (mark.channel !== undefined && mark.channel !== this.name)) return undefined;
    if (mark.kind === 'cut') {
      this.cut(mark);
      return undefined;
    }
    if (mark.kind !== 'truncate') {
      this.voided = mark;
      return undefined;
    }
    // A channel with events in this commit has the truncate among them.
    if ((this.list.last()?.sequence ?? -1) >= firstSequence) return undefined;
    assert(mark.payload !== undefined, 'a truncate mark makes payloads');
    const { pattern, xid, sequence, lsn, index } = mark;
    return { channel: this.name, pattern, payload: mark.payload(this.name), xid, sequence, lsn, index };
  }
}
