/**
 * The journal in memory: a ring of batches with limits in bytes and age. Each channel has its own
 * list, so that reading one channel costs nothing for the others. After a restart the journal is
 * filled again from the WAL, which the slot keeps for it.
 */

import type { Batch, Entry, Mark } from '../commit/entry.ts';
import { Deque } from '../deque.ts';
import { assert } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import { memoryOf } from '../memory/payload.ts';
import { comparePositions, type Position } from '../position.ts';
import type { ChannelLog, Journal } from './journal.ts';

export interface MemoryJournalOptions {
  /** Maximum bytes of payloads, including their bookkeeping. */
  readonly bytesMax: number;
  readonly ageMaxMs: number;
  readonly now: () => number;
  /**
   * Called when a channel is retained for the first time, and (`onReleased`) when it is released
   * for the last time.
   */
  readonly onRetained?: (channel: string) => void;
  readonly onReleased?: (channel: string) => void;
}

/** A dropped commit: its 32-bit xid, and when it was dropped, in ms since 1970. */
export interface EvictedCommit {
  readonly xid: number;
  readonly at: number;
}

/**
 * Bytes that an entry costs beside its payload, and bytes that the log of a channel without
 * retained costs, as measured.
 */
const ENTRY_OVERHEAD_BYTES = 256;
const LOG_OVERHEAD_BYTES = 384;
/**
 * Maximum dropped commits that are remembered, and how long, in ms, for snapshots that do not see
 * them yet.
 */
const EVICTED_XIDS_MAX = 16_384;
const EVICTED_XID_AGE_MAX_MS = 3_600_000;
const NOBODY: readonly never[] = [];

class Log implements ChannelLog {
  readonly name: string;
  readonly pattern: string;
  readonly list = new Deque<Entry>();
  retained = 0;
  evicted = -1;
  voided: Mark | undefined;
  /** Undefined while the log has no watcher: most logs never have one. */
  watchers: Set<(entry: Entry) => void> | undefined;

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

  watch(dropped: (entry: Entry) => void): () => void {
    this.watchers ??= new Set();
    this.watchers.add(dropped);
    return () => {
      this.watchers?.delete(dropped);
      if (this.watchers?.size === 0) this.watchers = undefined;
    };
  }
}

interface Stored {
  readonly batch: Batch;
  readonly appendedAt: number;
  /** The batch's own entries, and those that its marks created. */
  readonly entries: Entry[];
  bytes: number;
}

export class MemoryJournal implements Journal {
  readonly #options: MemoryJournalOptions;
  readonly #logs = new Map<string, Log>();
  readonly #logsOfPattern = new Map<string, Set<Log>>();
  readonly #ring = new Deque<Stored>();
  readonly #marks = new Map<Mark, Stored>();
  #evictedXids = new Deque<EvictedCommit>();
  #oldest: Position = { lsn: 0, index: 0 };
  #bytes = 0;
  #entryCount = 0;

  constructor(options: MemoryJournalOptions) {
    this.#options = options;
  }

  get oldest(): Position {
    return this.#oldest;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entryCount(): number {
    return this.#entryCount;
  }

  get walNeeded(): Lsn | undefined {
    return this.#ring.first()?.batch.after;
  }

  /** The batches that are still stored, oldest first. */
  *batches(): Iterable<Batch> {
    for (const { batch } of this.#ring) yield batch;
  }

  /** The dropped commits that are remembered. */
  get evictedCommits(): readonly EvictedCommit[] {
    return [...this.#evictedXids];
  }

  append(batch: Batch): readonly Entry[] {
    const stored: Stored = { batch, appendedAt: this.#options.now(), entries: [], bytes: 0 };
    this.#ring.push(stored);
    for (const entry of batch.entries) this.#add(stored, this.#log(entry.channel, entry.pattern), entry);
    const made: Entry[] = [];
    for (const mark of batch.marks) {
      // A recheck concerns current subscribers only. It is not replayed.
      if (mark.kind === 'recheck') continue;
      this.#marks.set(mark, stored);
      for (const log of this.#logsOfPattern.get(mark.pattern) ?? []) {
        const entry = this.#apply(mark, log, batch);
        if (entry !== undefined) made.push(entry);
      }
    }
    for (const entry of made) this.#add(stored, this.#log(entry.channel, entry.pattern), entry);
    return made;
  }

  retain(channel: string, pattern: string, missed: number): ChannelLog {
    const isNew = !this.#logs.has(channel);
    const log = this.#log(channel, pattern);
    if (isNew) log.evicted = missed;
    if (log.retained++ === 0) this.#options.onRetained?.(channel);
    return log;
  }

  knows(channel: string): boolean {
    return this.#logs.has(channel);
  }

  release(channel: string): void {
    const log = this.#logs.get(channel);
    assert(log !== undefined && log.retained > 0, `channel ${channel} is not retained`);
    if (--log.retained === 0) this.#options.onReleased?.(channel);
    this.#forget(log);
  }

  evictedUnseen(unseen: (xid: number) => boolean): boolean {
    const since = this.#options.now() - EVICTED_XID_AGE_MAX_MS;
    for (const { xid, at } of this.#evictedXids) if (at >= since && unseen(xid)) return true;
    return false;
  }

  evict(now: number): void {
    const { bytesMax, ageMaxMs } = this.#options;
    for (;;) {
      const stored = this.#ring.first();
      if (stored === undefined || (this.#bytes <= bytesMax && now - stored.appendedAt <= ageMaxMs)) return;
      this.#ring.shift();
      this.#drop(stored);
    }
  }

  /** `evicted`: commits dropped by the journal that this one continues. */
  clear(position: Position, evicted: readonly EvictedCommit[] = []): void {
    for (const log of [...this.#logs.values()]) {
      log.list.clear();
      log.evicted = -1;
      log.voided = undefined;
      this.#forget(log);
    }
    this.#ring.clear();
    this.#marks.clear();
    this.#evictedXids = new Deque();
    for (const commit of evicted) this.#evictedXids.push(commit);
    this.#bytes = 0;
    this.#entryCount = 0;
    this.#oldest = position;
  }

  #log(channel: string, pattern: string): Log {
    let log = this.#logs.get(channel);
    if (log !== undefined && log.pattern === pattern) return log;
    // A view of another pattern now defines this name. The old pattern was dropped, so no client is
    // subscribed through it.
    const retained = log?.retained ?? 0;
    if (log !== undefined) this.#logsOfPattern.get(log.pattern)?.delete(log);
    const before = log;
    log = new Log(channel, pattern);
    log.retained = retained;
    log.evicted = before?.list.last()?.sequence ?? -1;
    this.#logs.set(channel, log);
    let logs = this.#logsOfPattern.get(pattern);
    if (logs === undefined) {
      logs = new Set();
      this.#logsOfPattern.set(pattern, logs);
    }
    logs.add(log);
    this.#replayMarks(log);
    return log;
  }

  /** Applies earlier marks of the pattern to a log that is created later. */
  #replayMarks(log: Log): void {
    for (const [mark, stored] of this.#marks) {
      const entry = this.#apply(mark, log, stored.batch);
      if (entry !== undefined) this.#add(stored, log, entry);
    }
  }

  /** Applies a mark to a log. Returns the entry that this creates, not added yet. */
  #apply(mark: Mark, log: Log, batch: Batch): Entry | undefined {
    if (mark.pattern !== log.pattern || (mark.channel !== undefined && mark.channel !== log.name)) return undefined;
    if (mark.kind !== 'truncate') {
      log.voided = mark;
      return undefined;
    }
    // A channel with events in this commit has the truncate among them.
    if ((log.list.last()?.sequence ?? -1) >= batch.firstSequence) return undefined;
    assert(mark.payload !== undefined, 'a truncate mark makes payloads');
    const { pattern, xid, sequence, lsn, index } = mark;
    return { channel: log.name, pattern, payload: mark.payload(log.name), xid, sequence, lsn, index };
  }

  #add(stored: Stored, log: Log, entry: Entry): void {
    const isFirst = log.list.length === 0 && log.retained === 0;
    log.list.push(entry);
    stored.entries.push(entry);
    const bytes = memoryOf(entry.payload).length + ENTRY_OVERHEAD_BYTES + (isFirst ? LOG_OVERHEAD_BYTES : 0);
    stored.bytes += bytes;
    this.#bytes += bytes;
    this.#entryCount++;
  }

  #drop(stored: Stored): void {
    const { batch, entries } = stored;
    this.#bytes -= stored.bytes;
    this.#entryCount -= entries.length;
    for (const entry of entries) {
      const log = this.#logs.get(entry.channel);
      if (log?.list.first() !== entry) continue;
      log.list.shift();
      for (const dropped of log.watchers ?? NOBODY) dropped(entry);
      log.evicted = entry.sequence;
      this.#forget(log);
      if (comparePositions(entry, this.#oldest) > 0) this.#oldest = { lsn: entry.lsn, index: entry.index };
    }
    for (const mark of batch.marks) {
      this.#marks.delete(mark);
      if (comparePositions(mark, this.#oldest) > 0) this.#oldest = { lsn: mark.lsn, index: mark.index };
    }
    // A commit in parts is remembered once.
    if (batch.xid === 0 || this.#evictedXids.last()?.xid === batch.xid) return;
    this.#evictedXids.push({ xid: batch.xid, at: this.#options.now() });
    if (this.#evictedXids.length > EVICTED_XIDS_MAX) this.#evictedXids.shift();
  }

  #forget(log: Log): void {
    if (log.retained > 0 || log.list.length > 0) return;
    if (this.#logs.get(log.name) === log) this.#logs.delete(log.name);
    const logs = this.#logsOfPattern.get(log.pattern);
    logs?.delete(log);
    if (logs?.size === 0) this.#logsOfPattern.delete(log.pattern);
  }
}
