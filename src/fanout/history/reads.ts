/**
 * Clients that resume from a position before the journal wait here, while the history is read for
 * all of them together.
 *
 *     next ----> pass ----> ready ----> resumed
 *       ^          |
 *       +----------+
 *
 * - next: channels that the next pass reads. One pass runs at a time (pass.ts).
 * - pass: the history is being read for the channel. A channel that needs too many bytes beside the
 *   others goes back to `next`.
 * - ready: the channel's log has its older entries (journal/older.ts). Its clients resume from the
 *   log, as they would without history.
 *
 * A client that leaves meanwhile is dropped, and so is a channel that no client waits for.
 */
import { setImmediate as afterOthers } from 'node:timers/promises';
import type { Batch } from '../../commit/entry.ts';
import { SnoError } from '../../errors.ts';
import { FairShare } from '../../fair-share.ts';
import type { ChannelLog, Journal } from '../../journal/journal.ts';
import { comparePositions, type Position } from '../../position.ts';
import { type OlderHistory, PositionTooOld } from './older-history.ts';
import { Pass } from './pass.ts';
import { type Waiter, Wanted } from './wanted.ts';

export interface HistoryEvents {
  /** A pass through the history begins. */
  pass(): void;
  /** Batches were read. */
  batches(count: number): void;
  /** A client resumes from older entries. */
  resumed(): void;
  /** A request was refused, since too many channels wait. */
  refused(): void;
}

export interface HistoryReadsOptions {
  readonly source: OlderHistory;
  readonly journal: Journal;
  /** The stream's current epoch. */
  readonly epoch: () => string | undefined;
  /** Maximum channels that wait. */
  readonly waitingMax: number;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
  /** Called before clients resume: ends what must not resume. */
  readonly beforeDelivery: () => void;
  readonly failed: (error: SnoError, channel: string) => void;
  readonly events: HistoryEvents | undefined;
}

/** Maximum clients that resume before the event loop runs other work. */
const AT_ONCE_MAX = 100;
/** Maximum reads that return nothing although the journal has dropped what follows. */
const VAIN_READS_MAX = 30;
/**
 * Maximum bytes of a pass beside its first channel, as a share of the maximum. Beyond it, channels
 * are postponed until the others keep the smaller share. The rest of the maximum is for older
 * entries that clients are reading.
 */
const OTHERS_SHARE_MAX = 0.5;
const OTHERS_SHARE = 0.375;

export class HistoryReads {
  readonly #options: HistoryReadsOptions;
  /** The waiting channels, by the addresses of the clients that requested them. */
  readonly #queue: FairShare<Wanted>;
  readonly #wantedBy = new Map<Waiter, Wanted>();
  readonly #next = new Map<string, Wanted>();
  #pass: Pass | undefined;
  #ready: Wanted[] = [];
  #isRunning = false;
  #requests = 0;

  constructor(options: HistoryReadsOptions) {
    this.#options = options;
    this.#queue = new FairShare(options.waitingMax);
  }

  /** Number of subscriptions that wait. */
  get waiting(): number {
    return this.#wantedBy.size;
  }

  get events(): HistoryEvents | undefined {
    return this.#options.events;
  }

  /**
   * Requests the entries after the waiter's position, for this log. The returned function withdraws
   * the request. Throws `overloaded` if too many channels wait. `address`: the client's, by which
   * that limit is shared.
   */
  request(log: ChannelLog, waiter: Waiter, address?: string): () => void {
    const next = this.#next.get(log.name);
    const shared = this.#pass?.find(log, waiter.position) ?? (next?.log === log ? next : undefined);
    const wanted = shared ?? this.#enter(log, waiter.position, address);
    if (shared !== undefined) this.#queue.give(shared, address);
    wanted.waiters.add(waiter);
    this.#wantedBy.set(waiter, wanted);
    if (!this.#isRunning) void this.#run();
    return () => this.#leave(waiter);
  }

  #enter(log: ChannelLog, position: Position, address: string | undefined): Wanted {
    const { journal, epoch } = this.#options;
    const wanted = new Wanted(journal, log, ++this.#requests);
    const { isIn, displaced } = this.#queue.enter(wanted, address);
    if (displaced !== undefined) this.#endAll(displaced, (other) => other.fail(this.#refusal()));
    if (!isIn) {
      wanted.release();
      throw this.#refusal();
    }
    const pass = this.#pass;
    if (pass !== undefined && pass.epoch === epoch() && pass.admits(log, position)) pass.add(wanted);
    else this.#next.set(log.name, wanted);
    return wanted;
  }

  #refusal(): SnoError {
    this.events?.refused();
    return new SnoError('overloaded', `${this.#options.waitingMax} channels are already waiting for older history`);
  }

  #leave(waiter: Waiter): void {
    const wanted = this.#wantedBy.get(waiter);
    if (wanted === undefined) return;
    this.#forget(waiter, wanted);
    if (wanted.waiters.size === 0) this.#drop(wanted);
  }

  #forget(waiter: Waiter, wanted: Wanted): void {
    this.#wantedBy.delete(waiter);
    wanted.waiters.delete(waiter);
  }

  /** Drops a channel that no client waits for. */
  #drop(wanted: Wanted): void {
    this.#queue.leave(wanted);
    if (this.#pass?.delete(wanted) !== true && this.#next.get(wanted.log.name) === wanted)
      this.#next.delete(wanted.log.name);
    wanted.release();
  }

  /** Moves a channel from the pass to the next one. */
  #postpone(pass: Pass, wanted: Wanted): void {
    pass.delete(wanted);
    const { name } = wanted.log;
    const known = this.#next.get(name);
    this.#next.set(name, wanted);
    if (known === undefined) return;
    // Clients with earlier positions wait for the next pass already.
    for (const waiter of known.waiters) {
      this.#wantedBy.set(waiter, wanted);
      wanted.waiters.add(waiter);
    }
    this.#queue.leave(known);
    known.release();
  }

  /** Runs passes until no channel waits. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#next.size > 0) {
      const pass = this.#begin();
      try {
        await this.#read(pass);
      } catch (error) {
        if (error instanceof PositionTooOld) this.#refuseBefore(pass, error.oldest);
        else if (error instanceof SnoError) this.#fail(pass, error);
        else throw error;
      }
      this.#pass = undefined;
      for (const wanted of [...pass.wanted]) this.#postpone(pass, wanted);
      await this.#wake();
    }
    this.#isRunning = false;
  }

  /** Begins a pass for all channels that wait. */
  #begin(): Pass {
    const { journal, epoch, events } = this.#options;
    const all = [...this.#next.values()].sort((one, other) => one.order - other.order);
    this.#next.clear();
    let start: Position | undefined;
    for (const { earliest } of all) if (start === undefined || comparePositions(earliest, start) < 0) start = earliest;
    const pass = new Pass(journal, epoch() ?? '', start as Position);
    for (const wanted of all) pass.add(wanted);
    this.#pass = pass;
    events?.pass();
    return pass;
  }

  async #read(pass: Pass): Promise<void> {
    const { source, pause } = this.#options;
    for (let vain = 0; pass.size > 0; ) {
      const asked = this.#requests;
      const place = pass.through;
      for await (const batches of source.read(pass.epoch, pass.place)) {
        this.#take(pass, batches);
        await this.#wake();
        await afterOthers();
        if (pass.size === 0) return;
      }
      this.#finish(pass, asked);
      await this.#wake();
      vain = pass.through === place ? vain + 1 : 0;
      if (pass.size === 0 || vain === 0) continue;
      if (vain === VAIN_READS_MAX) throw new SnoError('try_again', 'the history lacks what the journal has dropped');
      await pause(vain);
    }
  }

  #take(pass: Pass, batches: readonly Batch[]): void {
    this.events?.batches(batches.length);
    for (const batch of batches) {
      pass.take(batch);
      this.#finish(pass, 0);
      this.#fit(pass);
    }
  }

  #finish(pass: Pass, asked: number): void {
    for (const wanted of pass.finish(asked)) {
      this.#queue.leave(wanted);
      this.#ready.push(wanted);
    }
  }

  /**
   * Postpones channels while the pass keeps too many bytes, those with most bytes first. The
   * channel that has waited longest stays. It is refused if its entries alone are too many.
   */
  #fit(pass: Pass): void {
    const bytesMax = this.#options.journal.olderBytesMax;
    if (pass.bytes <= bytesMax * OTHERS_SHARE_MAX) return;
    const [first, ...others] = pass.wanted;
    if (first === undefined) return;
    if (first.bytes > bytesMax) {
      this.#endAll(first, (waiter) => waiter.tooOld());
      return this.#fit(pass);
    }
    const othersMax = (share: number) => Math.min(bytesMax * share, bytesMax - first.bytes);
    if (pass.bytes - first.bytes <= othersMax(OTHERS_SHARE_MAX)) return;
    others.sort((one, other) => other.bytes - one.bytes);
    for (const wanted of others) {
      if (pass.bytes - first.bytes <= othersMax(OTHERS_SHARE)) return;
      this.#postpone(pass, wanted);
    }
  }

  /** Lets the clients of ready channels resume. */
  async #wake(): Promise<void> {
    const { beforeDelivery } = this.#options;
    let count = 0;
    for (let wanted = this.#ready.shift(); wanted !== undefined; wanted = this.#ready.shift()) {
      beforeDelivery();
      for (const waiter of wanted.waiters) {
        this.#forget(waiter, wanted);
        waiter.resume();
        if (++count % AT_ONCE_MAX !== 0) continue;
        await afterOthers();
        beforeDelivery();
      }
      wanted.release();
    }
  }

  /** Resets the clients whose position is too old. */
  #refuseBefore(pass: Pass, oldest: Position | undefined): void {
    const isTooOld = ({ position }: Waiter) =>
      comparePositions(position, pass.place) <= 0 || (oldest !== undefined && comparePositions(position, oldest) < 0);
    for (const wanted of [...pass.wanted]) this.#endAll(wanted, (waiter) => waiter.tooOld(), isTooOld);
  }

  /** Fails all waiting clients: the history cannot be read now. */
  #fail(pass: Pass, error: SnoError): void {
    const all = [...pass.wanted, ...this.#next.values()];
    const [first] = all;
    if (first !== undefined) this.#options.failed(error, first.log.name);
    for (const wanted of all) this.#endAll(wanted, (waiter) => waiter.fail(error));
  }

  /** Ends the wait of these clients, by default of all that wait for the channel. */
  #endAll(wanted: Wanted, end: (waiter: Waiter) => void, concerned: (waiter: Waiter) => boolean = () => true): void {
    for (const waiter of [...wanted.waiters].filter(concerned)) {
      this.#forget(waiter, wanted);
      end(waiter);
    }
    if (wanted.waiters.size === 0) this.#drop(wanted);
  }
}
