/** The older entries of one channel, for the clients that wait for them. */
import type { Batch, Entry, Mark } from '../../commit/entry.ts';
import type { SnoError } from '../../errors.ts';
import type { ChannelLog, Journal } from '../../journal/journal.ts';
import { bytesOf, Log } from '../../journal/log.ts';
import { PayloadSlab } from '../../memory/payload.ts';
import { comparePositions, type Position } from '../../position.ts';

/** A client that waits for what follows its position. */
export interface Waiter {
  readonly position: Position;
  /** The log now has everything after the position that can be had. */
  resume(): void;
  /** What follows the position is no longer kept. */
  tooOld(): void;
  fail(error: SnoError): void;
}

/** An entry that is kept must not keep the memory of all that was read with it. */
const KEPT = new PayloadSlab();

export class Wanted {
  readonly log: ChannelLog;
  /** Number of its request: earlier requests have smaller numbers. */
  readonly order: number;
  readonly waiters = new Set<Waiter>();
  /** Where the pass was when this channel joined it, as a position and as a sequence. */
  since: Position = { lsn: 0, index: 0 };
  from: number | undefined;
  #read: Log;
  /** The marks that void what was read before them. */
  #voids: Mark[] = [];
  #bytes = 0;
  readonly #journal: Journal;
  readonly #release: () => void;

  constructor(journal: Journal, log: ChannelLog, order: number) {
    this.log = log;
    this.order = order;
    this.#journal = journal;
    this.#read = new Log(log.name, log.pattern);
    this.#release = journal.keepOlder(log);
  }

  /** Bytes of the entries that were read. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The earliest position of its clients. */
  get earliest(): Position {
    let earliest: Position | undefined;
    for (const { position } of this.waiters)
      if (earliest === undefined || comparePositions(position, earliest) < 0) earliest = position;
    return earliest as Position;
  }

  /** An entry of the channel was read. Returns its bytes. */
  entry(entry: Entry): number {
    if (entry.pattern === this.log.pattern) return this.#add(entry);
    // The name belonged to another pattern then: nothing before it is of this channel.
    const { lsn, index, sequence } = entry;
    const bytes = this.clear();
    this.since = { lsn, index };
    this.from = sequence + 1;
    return -bytes;
  }

  /** A mark was read. Returns the bytes of the entry that it made. */
  mark(mark: Mark, batch: Batch): number {
    const before = this.#read.voided;
    const made = this.#read.apply(mark, batch);
    if (this.#read.voided !== undefined && this.#read.voided !== before) this.#voids.push(this.#read.voided);
    return made === undefined ? 0 : this.#add(made);
  }

  /**
   * Fills into the channel's log what was read from before the log's own entries. `from`: sequence
   * of the first batch that was read.
   */
  fill(from: number | undefined): void {
    const { since, log } = this;
    const journal = this.#journal;
    const [cut, oldest] = [journal.from(log), journal.since(log)];
    const isOlder = (each: Entry | Mark) =>
      cut === undefined ? comparePositions(each, oldest) <= 0 : each.sequence < cut;
    const entries = [...this.#read.list].filter(isOlder);
    const voided = this.#voids.findLast(isOlder);
    journal.fillOlder(log, { entries, since, from: this.from ?? from, voided });
  }

  /** Drops what was read. Returns its bytes. */
  clear(): number {
    const bytes = this.#bytes;
    this.#read = new Log(this.log.name, this.log.pattern);
    this.#voids = [];
    this.#bytes = 0;
    return bytes;
  }

  /** The log need not keep its older entries any more for this. */
  release(): void {
    this.#release();
  }

  #add(entry: Entry): number {
    const { channel, pattern, payload, old, xid, sequence, lsn, index } = entry;
    const kept = { payload: KEPT.copy(payload), old: old && Buffer.from(old) };
    this.#read.list.push({ channel, pattern, ...kept, xid, sequence, lsn, index });
    const bytes = bytesOf(entry);
    this.#bytes += bytes;
    return bytes;
  }
}
