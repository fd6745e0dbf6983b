/**
 * One pass through the history: from the earliest position that a client waits for, up to where the
 * journal's logs begin. Batches are read once for all channels, and only entries of wanted channels
 * are kept.
 *
 * A channel that is wanted later joins the pass if the pass has not reached its position yet. Each
 * channel ends by itself: once everything before its log has been read, the entries are put into
 * the log.
 */
import { type Batch, isRecheck, lastSequenceOf } from '../../commit/entry.ts';
import type { ChannelLog, Journal } from '../../journal/journal.ts';
import { comparePositions, type Position } from '../../position.ts';
import type { Wanted } from './wanted.ts';

/** No batch has been read. */
const NOTHING = -1;

export class Pass {
  readonly epoch: string;
  readonly #journal: Journal;
  readonly #start: Position;
  /** By channel, in the order in which they joined. */
  readonly #wanted = new Map<string, Wanted>();
  readonly #byPattern = new Map<string, Set<Wanted>>();
  /** No entry that was read lies after it. */
  #place: Position;
  /** Everything up to this sequence has been read. */
  #through = NOTHING;
  /** The sequences of all batches that were read, as ranges without gaps: first, last. */
  readonly #ranges: [first: number, last: number][] = [];
  /** Sequence of the first batch that lies after the start. Undefined: none has been read. */
  #firstSequence: number | undefined;
  #bytes = 0;

  constructor(journal: Journal, epoch: string, start: Position) {
    this.#journal = journal;
    this.epoch = epoch;
    this.#start = start;
    this.#place = start;
  }

  get wanted(): Iterable<Wanted> {
    return this.#wanted.values();
  }

  get size(): number {
    return this.#wanted.size;
  }

  get place(): Position {
    return this.#place;
  }

  /** Everything up to this sequence has been read. */
  get through(): number {
    return this.#through;
  }

  /** Bytes of the entries that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Returns the channel's part, if it still serves a client with this position. */
  find(log: ChannelLog, position: Position): Wanted | undefined {
    const wanted = this.#wanted.get(log.name);
    return wanted?.log === log && comparePositions(position, wanted.since) >= 0 ? wanted : undefined;
  }

  /** Whether the channel may join the pass, for a client with this position. */
  admits(log: ChannelLog, position: Position): boolean {
    return !this.#wanted.has(log.name) && comparePositions(position, this.#place) >= 0;
  }

  add(wanted: Wanted): void {
    const { name, pattern } = wanted.log;
    wanted.since = this.#place;
    wanted.from = this.#firstSequence === undefined ? undefined : this.#through + 1;
    this.#wanted.set(name, wanted);
    const alike = this.#byPattern.get(pattern);
    if (alike === undefined) this.#byPattern.set(pattern, new Set([wanted]));
    else alike.add(wanted);
  }

  /** Removes a channel and drops its entries. Returns false if it is not in the pass. */
  delete(wanted: Wanted): boolean {
    if (this.#wanted.get(wanted.log.name) !== wanted) return false;
    this.#remove(wanted);
    wanted.clear();
    return true;
  }

  /** Takes the next batch. Ignores batches that were taken before, or that no client wants. */
  take(batch: Batch): void {
    const last = lastSequenceOf(batch);
    if (last <= this.#through) return;
    this.#through = last;
    const range = this.#ranges.at(-1);
    if (range?.[1] === batch.firstSequence - 1) range[1] = last;
    else this.#ranges.push([batch.firstSequence, last]);
    const end = endOf(batch);
    // All batches after the start are taken: so a log has everything from the first one's sequence
    // on.
    if (this.#firstSequence === undefined && comparePositions(end, this.#start) <= 0) return;
    this.#firstSequence ??= batch.firstSequence;
    if (comparePositions(end, this.#place) > 0) this.#place = end;
    let bytes = 0;
    for (const entry of batch.entries) bytes += this.#wanted.get(entry.channel)?.entry(entry) ?? 0;
    for (const mark of batch.marks) {
      // A recheck concerned the subscribers of that time only.
      if (isRecheck(mark) || mark.kind === 'touched') continue;
      for (const wanted of this.#byPattern.get(mark.pattern) ?? []) bytes += wanted.mark(mark, batch);
    }
    this.#count(bytes);
  }

  /**
   * Ends the channels whose older entries are complete, and puts the entries into their logs.
   * Returns these channels. `asked`: the history has been read to the end for all requests up to
   * this number.
   */
  finish(asked: number): readonly Wanted[] {
    const finished: Wanted[] = [];
    for (const wanted of this.#wanted.values()) {
      if (!this.#isCovered(wanted, asked)) break;
      finished.push(wanted);
    }
    for (const wanted of finished) {
      this.#remove(wanted);
      if (this.#meets(wanted)) wanted.fill(this.#firstSequence);
      wanted.clear();
    }
    return finished;
  }

  /** Whether everything before the channel's log has been read. */
  #isCovered({ log, order }: Wanted, asked: number): boolean {
    const from = this.#journal.from(log);
    return from === undefined ? order <= asked : this.#through >= from - 1;
  }

  /**
   * Whether the log continues what was read without a gap. A store that lost its newest batches,
   * and received them again, has them with other sequences than the journal.
   */
  #meets({ log }: Wanted): boolean {
    const from = this.#journal.from(log);
    return from === undefined || this.#ranges.some(([first, last]) => first <= from && from <= last + 1);
  }

  #remove(wanted: Wanted): void {
    const { name, pattern } = wanted.log;
    this.#wanted.delete(name);
    const alike = this.#byPattern.get(pattern);
    alike?.delete(wanted);
    if (alike?.size === 0) this.#byPattern.delete(pattern);
    this.#count(-wanted.bytes);
  }

  #count(bytes: number): void {
    if (bytes === 0) return;
    this.#bytes += bytes;
    this.#journal.reserveOlder(bytes);
  }
}

/** Returns the last position in the batch. Entries of several channels are not in this order. */
function endOf({ entries, marks }: Batch): Position {
  let end: Position = { lsn: 0, index: 0 };
  for (const entry of entries) if (comparePositions(entry, end) > 0) end = entry;
  for (const mark of marks) if (comparePositions(mark, end) > 0) end = mark;
  return { lsn: end.lsn, index: end.index };
}
