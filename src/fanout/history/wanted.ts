/** One channel in a pass: the older entries that were read, and the clients that wait for them. */
import type { Batch, Entry, Mark } from '../../commit/entry.ts';
import type { SnoError } from '../../errors.ts';
import type { ChannelLog, Journal } from '../../journal/journal.ts';
import { bytesOf, Log } from '../../journal/log.ts';
import { PayloadArena } from '../../memory/payload.ts';
import { comparePositions, type Position } from '../../position.ts';

/** A client that waits for the entries after its position. */
export interface Waiter {
  readonly position: Position;
  /** Called when the log has the entries after the position, as far as they are still kept. */
  resume(): void;
  /** Called if the entries after the position are no longer kept. */
  tooOld(): void;
  fail(error: SnoError): void;
}

/** Kept entries are copied, so that they do not keep the memory of everything read with them. */
const KEPT = new PayloadArena();

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

  /** Takes an entry of the channel. Returns the change of `bytes`. */
  entry(entry: Entry): number {
    if (entry.pattern === this.log.pattern) return this.#add(entry);
    // The name belonged to another pattern then: nothing before it is of this channel.
    const { lsn, index, sequence } = entry;
    const bytes = this.clear();
    this.since = { lsn, index };
    this.from = sequence + 1;
    return -bytes;
  }

  /** Takes a mark. Returns the bytes of the entry that it made. */
  mark(mark: Mark, batch: Batch): number {
    const before = this.#read.voided;
    const made = this.#read.apply(mark, batch);
    if (this.#read.voided !== undefined && this.#read.voided !== before) this.#voids.push(this.#read.voided);
    return made === undefined ? 0 : this.#add(made);
  }

  /**
   * Puts the entries that are older than the log's own in front of them. `from`: sequence of the
   * first batch that was read.
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

  /** Ends the hold on the log's older entries. */
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
