/**
 * Entries that are older than the ring, kept in the logs of single channels while clients read
 * them. They stand in front of the ring's entries of the same channel, so that readers notice no
 * difference.
 *
 * - `keep` begins it: an entry that the ring drops stays in the log from then on (`take`).
 * - `fill` puts entries in front, which were read from history.
 * - When the last of the `keep` calls is undone, the log drops them.
 *
 * All these entries together are limited in bytes. Beyond the limit, logs drop their oldest
 * entries. The log that was filled longest ago drops them first: its readers had the most time.
 */
import type { Entry } from '../commit/entry.ts';
import { assert } from '../errors.ts';
import type { Position } from '../position.ts';
import type { OlderRead } from './journal.ts';
import { bytesOf, type Log, type OlderPart } from './log.ts';

export class OlderEntries {
  readonly #bytesMax: number;
  readonly #logs = new Set<Log>();
  /** The logs with older entries. The one that was filled longest ago comes first. */
  readonly #filled = new Set<Log>();
  #bytes = 0;
  #reservedBytes = 0;
  #count = 0;

  /** `bytesMax`: maximum bytes of the older entries of all logs together. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Whether any log keeps what the ring drops. */
  get isKeeping(): boolean {
    return this.#logs.size > 0;
  }

  /** Number of entries. */
  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes + this.#reservedBytes;
  }

  /** Counts bytes that are not in a log yet. Negative: they no longer count. */
  reserve(bytes: number): void {
    this.#reservedBytes += bytes;
    this.fit();
  }

  /**
   * From now on the log keeps what the ring drops. `since` and `from` say from where on the ring
   * has the channel's entries. The returned function undoes the call.
   */
  keep(log: Log, since: Position, from: number | undefined): () => void {
    const part: OlderPart = log.older ?? { since, from, count: 0, holds: 0 };
    log.older = part;
    this.#logs.add(log);
    part.holds++;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      if (--part.holds === 0 && log.older === part) this.#release(log, part);
    };
  }

  /** Keeps the entry that the ring has just dropped. */
  take(log: Log, part: OlderPart, entry: Entry): void {
    this.#add(log, part, 1, bytesOf(entry));
  }

  /** Puts entries in front of the log. */
  fill(log: Log, { entries, since, from, voided }: OlderRead): void {
    const part = log.older;
    assert(part !== undefined, 'a log is filled while it is kept');
    log.list.prepend(entries);
    part.since = since;
    if (from !== undefined && (part.from === undefined || from < part.from)) part.from = from;
    const first = log.list.first();
    if (first !== undefined) log.evicted = Math.min(log.evicted, first.sequence - 1);
    if (voided !== undefined && voided.sequence > (log.voided?.sequence ?? -1)) log.voided = voided;
    this.#filled.delete(log);
    let bytes = 0;
    for (const entry of entries) bytes += bytesOf(entry);
    this.#add(log, part, entries.length, bytes);
    this.fit();
  }

  /** Drops entries beyond the limit. Call after `take`. */
  fit(): void {
    for (const log of this.#filled) {
      while (this.bytes > this.#bytesMax && log.older !== undefined && log.older.count > 0)
        this.#dropFirst(log, log.older);
      if (this.bytes <= this.#bytesMax) return;
    }
  }

  /** Call when another history begins: its logs are empty. */
  clear(): void {
    for (const log of this.#logs) log.older = undefined;
    this.#logs.clear();
    this.#filled.clear();
    this.#bytes = 0;
    this.#count = 0;
  }

  #add(log: Log, part: OlderPart, count: number, bytes: number): void {
    part.count += count;
    this.#count += count;
    this.#bytes += bytes;
    if (part.count > 0) this.#filled.add(log);
  }

  #dropFirst(log: Log, part: OlderPart): void {
    const entry = log.dropFirst();
    part.since = { lsn: entry.lsn, index: entry.index };
    part.from = entry.sequence + 1;
    this.#bytes -= bytesOf(entry);
    this.#count--;
    if (--part.count === 0) this.#filled.delete(log);
  }

  #release(log: Log, part: OlderPart): void {
    while (part.count > 0) this.#dropFirst(log, part);
    log.older = undefined;
    this.#logs.delete(log);
  }
}
