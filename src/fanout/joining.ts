/**
 * Takes one subscription from `joining` to `catching`. It is dropped afterwards.
 *
 * - now: begins after the last whole commit. If the stream is in the middle of a commit with
 *   entries of this channel, it waits for a marker: the commit's end must not be sent without its
 *   start.
 * - since: begins after the client's position, unless the history or the channel has changed
 *   since, or Snö no longer keeps what follows the position; then it sends `reset`. If the journal
 *   does not go back to the position, it waits for history (history/reads.ts). If the stream has
 *   not come that far yet, it waits for the stream: another machine may be ahead.
 * - snapshot: the seam between the rows and the stream.
 *
 * With a snapshot:
 *
 * 1. Request a snapshot, with other clients of the channel (snapshots/snapshots.ts).
 * 2. When its visibility is known, test whether snapshot and journal together contain everything.
 *    If not, because the journal has dropped a commit that the snapshot does not see, request
 *    another one.
 * 3. Check access again, then write the rows (snapshots/delivery.ts).
 * 4. Meanwhile, wait for a marker that was written after the snapshot was taken. Then every commit
 *    that the snapshot sees has arrived. The snapshot of a view that joins must see the commits in
 *    their order (snapshots/order.ts).
 * 5. If the snapshot does not fit the stream any more before a row was written, take another one.
 *    After that, send `reset`.
 * 6. Once the rows are written and the marker has arrived, this is the seam. Catch up from the
 *    start of the journal, passing over the entries that the snapshot sees. At the seam, send
 *    `subscribed` with its position.
 */
import type { Entry } from '../commit/entry.ts';
import { SnoError } from '../errors.ts';
import type { ChannelLog, Journal } from '../journal/journal.ts';
import type { Markers } from '../markers/markers.ts';
import type { Visibility } from '../markers/visibility.ts';
import { comparePositions, differsInGenerationOnly, type Position, parsePosition } from '../position.ts';
import type { ResetReason } from '../protocol.ts';
import { type CheckedConnection, checkAccess } from './access/check.ts';
import type { Encoding } from './encoding.ts';
import type { EncodingGroup } from './encoding-group.ts';
import type { From } from './fanout.ts';
import type { HistoryReads } from './history/reads.ts';
import type { Waiter } from './history/wanted.ts';
import type { HubOptions } from './options.ts';
import type { Outbox } from './outbox.ts';
import { SnapshotDelivery, type SnapshotReceiver } from './snapshots/delivery.ts';
import type { SnapshotOrder, TouchedCommits } from './snapshots/order.ts';
import type { Outcome } from './snapshots/recipient.ts';
import type { SnapshotTurns } from './snapshots/turns.ts';
import type { Subscription } from './subscription.ts';

/**
 * Maximum attempts to take a snapshot. A snapshot is taken again if it does not see a commit that
 * the journal has dropped.
 */
const SNAPSHOT_ATTEMPTS_MAX = 30;
/** Maximum times that history is read for one client. */
const READS_MAX = 5;
/**
 * Number of markers after which the stream has passed every position that any machine had sent to a
 * client before the request. When the second arrives, the first one's commit has ended.
 */
const MARKERS_MAX = 2;

/** What joining needs from the hub. */
export interface JoiningHub {
  readonly options: HubOptions;
  readonly journal: Journal;
  /** Undefined: clients can resume only from the journal. */
  readonly history: HistoryReads | undefined;
  readonly markers: Markers;
  /** Commits to the tables of views that join. */
  readonly touched: TouchedCommits;
  readonly epoch: string | undefined;
  /** No entry lies after this position. */
  readonly frontier: Position;
  /** Whether the stream has come as far as this position of the channel. */
  hasReached(position: Position, log: ChannelLog): boolean;
  readonly headText: string;
  /** Sequence of the last entry. */
  readonly sequence: number;
  /** Sequence of the last entry of a whole commit. */
  readonly wholeSequence: number;
  /**
   * Sequence of the last entry of the ended commits. If the snapshot sees the commit that has not
   * ended, its entries count too.
   */
  seenSequence(visibility: Visibility): number;
}

/** The connection that joins. */
export interface JoiningFeed extends CheckedConnection {
  readonly outbox: Outbox;
  /** The connections that share the bytes of this subscription. */
  groupOf(subscription: Subscription): EncodingGroup;
  /**
   * This client read its last snapshot more slowly than others. Its next snapshot is not shared.
   */
  isLaggard: boolean;
  /** For channels whose snapshots the socket did not accept. */
  readonly snapshotTurns: SnapshotTurns;
  /** Resolves when all pending access checks are answered. Undefined: none is pending. */
  readonly pendingChecks: Promise<void> | undefined;
  sendSubscribed(subscription: Subscription, position: string, recovered?: boolean): void;
  /** The subscription is `catching` now. */
  catchUp(subscription: Subscription): void;
  /** Does the same in the middle of the stream. */
  catchUpLater(subscription: Subscription): void;
  reset(subscription: Subscription, reason: ResetReason): void;
  /** Ends the subscription and sends the error. */
  fail(subscription: Subscription, error: SnoError): void;
}

export class Joining implements SnapshotReceiver {
  readonly #hub: JoiningHub;
  readonly #feed: JoiningFeed;
  readonly #subscription: Subscription;
  /** Compares its snapshot with the order of commits. */
  #order: SnapshotOrder | undefined;
  /** The socket did not accept a snapshot: the next one waits for those of other channels. */
  #isLate = false;
  /** Counts the snapshots taken: the marker of an earlier one does not count. */
  #taken = 0;
  /** Whether every commit that the last snapshot sees has arrived. */
  #isReached = false;
  #isWritten = false;

  constructor(hub: JoiningHub, feed: JoiningFeed, subscription: Subscription) {
    this.#hub = hub;
    this.#feed = feed;
    this.#subscription = subscription;
  }

  start(from: From): void {
    switch (from.kind) {
      case 'now':
        this.#startNow();
        return;
      case 'since':
        this.#resume(from.position);
        return;
      case 'snapshot':
        this.#startWithSnapshot();
    }
  }

  #startNow(): void {
    const hub = this.#hub;
    const feed = this.#feed;
    const subscription = this.#subscription;
    const isCut = (subscription.log.voided?.sequence ?? 0) > hub.wholeSequence;
    // A commit is partly read. Begin after it, once everything committed until now has arrived.
    if (isCut || subscription.isOvertaken) {
      this.#atMarker(() => {
        subscription.catchUpFrom(hub.wholeSequence);
        feed.sendSubscribed(subscription, hub.headText);
      });
      return;
    }
    subscription.catchUpFrom(hub.wholeSequence);
    feed.sendSubscribed(subscription, hub.headText);
    feed.catchUp(subscription);
  }

  #resume(text: string): void {
    const position = parsePosition(text);
    if (position === undefined) {
      const error = new SnoError('position_invalid', '`since` is not a position that this server gave');
      return this.#feed.fail(this.#subscription, error);
    }
    const epoch = this.#hub.epoch ?? '';
    if (position.epoch === epoch) return this.#resumeFrom(text, position);
    this.#reset(differsInGenerationOnly(position.epoch, epoch) ? 'slot_lost' : 'epoch_changed');
  }

  #resumeFrom(text: string, position: Position, { reads = 0, markers = 0 } = {}): void {
    const { journal, history, sequence } = this.#hub;
    const feed = this.#feed;
    const subscription = this.#subscription;
    const { log } = subscription;
    if (!this.#hub.hasReached(position, log)) {
      // A position that the stream does not reach belongs to another history.
      if (markers === MARKERS_MAX) return this.#reset('epoch_changed');
      return this.#onMarker(() => this.#resumeFrom(text, position, { markers: markers + 1 }));
    }
    if (log.voided !== undefined && comparePositions(position, log.voided) < 0) return this.#reset('channel_changed');
    const cursor = cursorAt(log, position, sequence);
    if (comparePositions(position, journal.since(log)) < 0 || log.evicted > cursor) {
      // what was read may have been dropped again: older entries share a limit with other readers
      if (history === undefined || reads === READS_MAX) return this.#reset('position_too_old');
      return this.#readHistory(history, position, () => this.#resumeFrom(text, position, { reads: reads + 1 }));
    }
    const isOlder = comparePositions(position, journal.oldest) < 0;
    subscription.catchUpFrom(cursor, isOlder ? journal.keepOlder(log) : undefined);
    if (isOlder) history?.events?.resumed();
    feed.sendSubscribed(subscription, text, true);
    if (markers > 0) feed.catchUpLater(subscription);
    else feed.catchUp(subscription);
  }

  #readHistory(history: HistoryReads, position: Position, resume: () => void): void {
    const feed = this.#feed;
    const subscription = this.#subscription;
    const { log, grant } = subscription;
    const waiter: Waiter = {
      position,
      resume,
      tooOld: () => this.#reset('position_too_old'),
      fail: (error) => feed.fail(subscription, error),
    };
    try {
      subscription.waitForHistory(history.request(log, waiter, grant.address));
    } catch (error) {
      if (!(error instanceof SnoError)) throw error;
      feed.fail(subscription, error);
    }
  }

  #reset(reason: ResetReason): void {
    this.#feed.reset(this.#subscription, reason);
  }

  #startWithSnapshot(): void {
    void this.#receiveSnapshot().then(
      (isReceived) => {
        if (isReceived) this.#written();
        else this.#order?.end();
      },
      (error: unknown) => this.#snapshotFailed(error),
    );
  }

  #snapshotFailed(error: unknown): void {
    const subscription = this.#subscription;
    this.#order?.end();
    if (subscription.isEnded) return;
    if (!(error instanceof SnoError)) throw error;
    this.#hub.options.events.failed(error, subscription.channel.name);
    this.#feed.fail(subscription, error);
  }

  /** All rows have been written. */
  #written(): void {
    const { sequence, wholeSequence } = this.#hub;
    this.#isWritten = true;
    if (!this.#isReached || this.#subscription.state !== 'joining') return;
    // A commit is partly read: begin after it.
    if (sequence > wholeSequence) this.#onMarker(() => this.#meetInStream());
    else if (this.#meet()) this.#feed.catchUp(this.#subscription);
  }

  /** Every commit that the snapshot sees has arrived, in the middle of the stream. */
  #reached(): void {
    this.#isReached = true;
    this.#order?.end();
    if (this.#isWritten && this.#subscription.state === 'joining') this.#meetInStream();
  }

  #meetInStream(): void {
    if (this.#meet()) this.#feed.catchUpLater(this.#subscription);
  }

  /** The rows and the stream meet here. Returns false if they do not fit: the client is reset. */
  #meet(): boolean {
    const { wholeSequence, headText } = this.#hub;
    const isKept = this.#order?.isKept !== false;
    // The rows belong to no single place of the WAL: the client takes another snapshot.
    if (isKept) this.#subscription.catchUpAfterSnapshot(wholeSequence, headText);
    else this.#reset('lagging');
    return isKept;
  }

  /** Resolves when the snapshot has been written. False: the subscription has ended. */
  async #receiveSnapshot(): Promise<boolean> {
    const feed = this.#feed;
    const subscription = this.#subscription;
    for (let attempt = 1; ; ) {
      const outcome = await (this.#isLate || feed.outbox.full ? this.#takeSnapshotLater() : this.#takeSnapshot());
      if (subscription.isEnded) return false;
      subscription.snapshotWritten();
      if (outcome !== 'later') feed.isLaggard = outcome === 'lagging';
      switch (outcome) {
        case 'whole':
          return true;
        case 'lagging':
          feed.reset(subscription, 'lagging');
          return false;
        case 'left':
          return false;
        case 'later':
          this.#isLate = true;
          break;
        case 'again': {
          const { name } = subscription.channel;
          if (attempt === SNAPSHOT_ATTEMPTS_MAX)
            throw new SnoError('try_again', `queries do not see the latest commits of ${name} yet`);
          await this.#hub.options.pause(attempt++);
        }
      }
    }
  }

  /** Waits first until the socket accepts more. */
  async #takeSnapshotLater(): Promise<Outcome> {
    const feed = this.#feed;
    // All channels of the connection would ask again at once, for more than the socket accepts.
    const endTurn = this.#isLate ? await feed.snapshotTurns.take() : undefined;
    try {
      // A client whose socket accepts nothing must not occupy a place that others wait for.
      if (feed.outbox.full) await feed.outbox.writable();
      return this.#subscription.isEnded ? 'left' : await this.#takeSnapshot();
    } finally {
      endTurn?.();
    }
  }

  #takeSnapshot(): Promise<Outcome> {
    const feed = this.#feed;
    const subscription = this.#subscription;
    const { channel, grant } = subscription;
    const delivery = new SnapshotDelivery(this);
    const request = this.#hub.options.snapshots.request(channel, delivery, feed.isLaggard, grant.address);
    subscription.waitForSnapshot(request);
    return request.outcome;
  }

  // For the delivery of its snapshot:

  get outbox(): Outbox {
    return this.#feed.outbox;
  }

  get encoding(): Encoding {
    return this.#feed.groupOf(this.#subscription).encoding;
  }

  get isEnded(): boolean {
    return this.#subscription.isEnded;
  }

  get pendingChecks(): Promise<void> | undefined {
    return this.#feed.pendingChecks;
  }

  checkAccess(): Promise<void> {
    return checkAccess(this.#feed, this.#subscription);
  }

  /** Whether the snapshot and the journal together contain everything. */
  isUseful(visibility: Visibility): boolean {
    const subscription = this.#subscription;
    // The snapshot must not show the view as it was before a redefinition that has already arrived.
    const { voided } = subscription.log;
    const isOld = voided !== undefined && voided.xid !== 0 && !visibility.sees(voided.xid);
    if (isOld || this.#hub.journal.evictedUnseen(visibility)) return false;
    this.#order?.end();
    this.#order = this.#hub.touched.watch(subscription.channel.pattern.text, visibility);
    if (!this.#order.isKept || !subscription.takeSnapshot(visibility, this.#hub.seenSequence(visibility))) return false;
    const taken = ++this.#taken;
    this.#isReached = false;
    this.#hub.markers.expect(() => {
      if (taken === this.#taken) this.#reached();
    });
    return true;
  }

  /** Whether the snapshot does not fit the stream any more. */
  get isOutdated(): boolean {
    return this.#order?.isKept === false || this.#subscription.isOvertaken;
  }

  /** Begins to catch up when the stream has delivered everything committed before the call. */
  #atMarker(begin: () => void): void {
    this.#onMarker(() => {
      begin();
      this.#feed.catchUpLater(this.#subscription);
    });
  }

  /** Calls back, in the middle of the stream, if the subscription has not ended by then. */
  #onMarker(call: () => void): void {
    this.#hub.markers.expect(() => {
      if (this.#subscription.state === 'joining') call();
    });
  }
}

/**
 * Returns a sequence between the entries up to the position and those after it. `sequence`: that of
 * the last entry of all channels.
 */
function cursorAt(log: ChannelLog, position: Position, sequence: number): number {
  let low = 0;
  let high = log.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (comparePositions(log.at(middle) as Entry, position) <= 0) low = middle + 1;
    else high = middle;
  }
  // Not the entry before it: older entries may be filled in front of the log later.
  const next = log.at(low);
  return next === undefined ? sequence : next.sequence - 1;
}
