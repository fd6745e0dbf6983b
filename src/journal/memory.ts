/**
 * The journal in memory: a ring of batches with limits in bytes and age. Each channel has its own
 * list, so that reading one channel costs nothing for the others. After a restart the journal is
 * filled again from the WAL, which the slot keeps for it.
 */

import { type Batch, type Entry, isRecheck, lastSequenceOf, type Mark } from '../commit/entry.ts';
import { Deque } from '../deque.ts';
import { assert } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import { comparePositions, type Position } from '../position.ts';
import { type EvictedCommit, EvictedCommits, type SnapshotSight } from './evicted-commits.ts';
import type { ChannelLog, Journal, OlderRead } from './journal.ts';
import { bytesOf, Log } from './log.ts';
import { OlderEntries } from './older.ts';

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

/** Measured bytes of memory that the log of a channel costs if it is not retained. */
const LOG_OVERHEAD_BYTES = 384;

interface Stored {
  readonly batch: Batch;
  readonly appendedAt: number;
  /** Entries that its marks created. Undefined: none, as in most batches. */
  made: Entry[] | undefined;
  bytes: number;
}

export class MemoryJournal implements Journal {
  readonly #options: MemoryJournalOptions;
  readonly #logs = new Map<string, Log>();
  readonly #logsOfPattern = new Map<string, Set<Log>>();
  readonly #ring = new Deque<Stored>();
  readonly #marks = new Map<Mark, Stored>();
  /**
   * The marks among them that cut off an open commit. While logs are kept, dropped ones too: a log
   * that is filled later may have parts of that commit.
   */
  readonly #cuts = new Set<Mark>();
  readonly #older: OlderEntries;
  readonly #evictedCommits: EvictedCommits;
  #oldest: Position = { lsn: 0, index: 0 };
  /** Sequence of the first batch that was appended. Undefined: none was, since `clear`. */
  #first: number | undefined;
  /** The ring has everything from this sequence on. Undefined: as `#first`. */
  #from: number | undefined;
  #bytes = 0;
  #entryCount = 0;

  constructor(options: MemoryJournalOptions) {
    this.#options = options;
    this.#older = new OlderEntries(options.bytesMax);
    this.#evictedCommits = new EvictedCommits(options.now);
  }

  get oldest(): Position {
    return this.#oldest;
  }

  get bytes(): number {
    return this.#bytes + this.#older.bytes;
  }

  get entryCount(): number {
    return this.#entryCount + this.#older.count;
  }

  get olderBytesMax(): number {
    return this.#options.bytesMax;
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
    return this.#evictedCommits.list;
  }

  append(batch: Batch): readonly Entry[] {
    const stored: Stored = { batch, appendedAt: this.#options.now(), made: undefined, bytes: 0 };
    this.#ring.push(stored);
    this.#first ??= batch.firstSequence;
    this.#from ??= batch.firstSequence;
    for (const entry of batch.entries) this.#add(stored, this.#log(entry.channel, entry.pattern), entry);
    const made: Entry[] = [];
    for (const mark of batch.marks) {
      // These concern current subscribers only. They are not replayed.
      if (isRecheck(mark) || mark.kind === 'touched') continue;
      this.#marks.set(mark, stored);
      if (mark.kind === 'cut') this.#cuts.add(mark);
      for (const log of this.#logsOfPattern.get(mark.pattern) ?? []) {
        const entry = log.apply(mark, batch);
        if (entry !== undefined) made.push(entry);
      }
    }
    for (const entry of made) this.#addMade(stored, this.#log(entry.channel, entry.pattern), entry);
    return made;
  }

  retain(channel: string, pattern: string, missed: number): ChannelLog {
    const isNew = !this.#logs.has(channel);
    const log = this.#log(channel, pattern);
    if (isNew) log.evicted = missed;
    if (log.retained++ === 0) this.#options.onRetained?.(channel);
    return log;
  }

  /** The channel's log as it is now. Undefined: the channel has none. */
  peek(channel: string): ChannelLog | undefined {
    return this.#logs.get(channel);
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

  since(log: ChannelLog): Position {
    return (log as Log).older?.since ?? this.#oldest;
  }

  from(log: ChannelLog): number | undefined {
    const { older } = log as Log;
    return older === undefined ? this.#from : (older.from ?? this.#first);
  }

  keepOlder(log: ChannelLog): () => void {
    const release = this.#older.keep(log as Log, this.#oldest, this.#from);
    return () => {
      release();
      this.#forget(log as Log);
    };
  }

  fillOlder(log: ChannelLog, read: OlderRead): void {
    this.#older.fill(log as Log, read);
    // These marks may void parts that are in the log only now.
    for (const mark of this.#cuts) (log as Log).cut(mark);
  }

  reserveOlder(bytes: number): void {
    this.#older.reserve(bytes);
  }

  evictedUnseen(sight: SnapshotSight): boolean {
    return this.#evictedCommits.hasUnseen(sight);
  }

  evict(now: number): void {
    const { bytesMax, ageMaxMs } = this.#options;
    for (;;) {
      const stored = this.#ring.first();
      if (stored === undefined || (this.#bytes <= bytesMax && now - stored.appendedAt <= ageMaxMs)) return;
      this.#ring.shift();
      this.#drop(stored);
      this.#older.fit();
    }
  }

  /** `evicted`: commits that were dropped by the journal that this one continues. */
  clear(position: Position, evicted: readonly EvictedCommit[] = []): void {
    for (const log of [...this.#logs.values()]) {
      log.list.clear();
      log.evicted = -1;
      log.voided = undefined;
      this.#forget(log);
    }
    this.#older.clear();
    this.#ring.clear();
    this.#marks.clear();
    this.#cuts.clear();
    this.#first = undefined;
    this.#from = undefined;
    this.#evictedCommits.replace(evicted);
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
      const entry = log.apply(mark, stored.batch);
      if (entry !== undefined) this.#addMade(stored, log, entry);
    }
  }

  #addMade(stored: Stored, log: Log, entry: Entry): void {
    stored.made ??= [];
    stored.made.push(entry);
    this.#add(stored, log, entry);
  }

  #add(stored: Stored, log: Log, entry: Entry): void {
    const isFirst = log.list.length === 0 && log.retained === 0;
    log.list.push(entry);
    const bytes = bytesOf(entry) + (isFirst ? LOG_OVERHEAD_BYTES : 0);
    stored.bytes += bytes;
    this.#bytes += bytes;
    this.#entryCount++;
  }

  #drop(stored: Stored): void {
    const { batch, made } = stored;
    this.#bytes -= stored.bytes;
    for (const entry of batch.entries) this.#dropEntry(entry);
    for (const entry of made ?? []) this.#dropEntry(entry);
    for (const mark of batch.marks) {
      this.#marks.delete(mark);
      if (comparePositions(mark, this.#oldest) > 0) this.#oldest = { lsn: mark.lsn, index: mark.index };
    }
    if (!this.#older.isKeeping) for (const cut of this.#cuts) if (!this.#marks.has(cut)) this.#cuts.delete(cut);
    this.#from = lastSequenceOf(batch) + 1;
    this.#evictedCommits.add(batch.xid);
  }

  #dropEntry(entry: Entry): void {
    this.#entryCount--;
    const log = this.#logs.get(entry.channel);
    const older = log?.older;
    if (log === undefined || log.at(older?.count ?? 0) !== entry) return;
    if (older === undefined) {
      log.dropFirst();
      this.#forget(log);
    } else this.#older.take(log, older, entry);
    if (comparePositions(entry, this.#oldest) > 0) this.#oldest = { lsn: entry.lsn, index: entry.index };
  }

  #forget(log: Log): void {
    if (log.retained > 0 || log.list.length > 0) return;
    if (this.#logs.get(log.name) === log) this.#logs.delete(log.name);
    const logs = this.#logsOfPattern.get(log.pattern);
    logs?.delete(log);
    if (logs?.size === 0) this.#logsOfPattern.delete(log.pattern);
  }
}
