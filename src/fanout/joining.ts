/**
 * One subscription's way from `joining` to `catching`. It is dropped once it has got there.
 *
 * - now: begins after the last whole commit. If the stream is in the middle of a commit with
 *   entries of this channel, it waits for a marker: the commit's end must not be sent without its
 *   start.
 * - since: begins after the client's position, unless the history, the journal or the channel has
 *   changed too much since; then it sends `reset`.
 * - snapshot: the seam between the rows and the stream.
 *
 * With a snapshot:
 *
 * 1. Request a snapshot, with other clients of the channel (snapshots/snapshots.ts).
 * 2. When its visibility is known, test whether snapshot and journal together contain everything.
 *    If not, because the journal has dropped a commit that the snapshot does not see, request
 *    another one.
 * 3. Check access again, then write the rows (snapshots/delivery.ts).
 * 4. Wait for a marker that was written after the snapshot. Then every commit that the snapshot
 *    sees has arrived: this is the seam.
 * 5. Catch up from the start of the journal, passing over the entries that the snapshot sees. At
 *    the seam, send `subscribed` with its position.
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
import type { From } from './fanout.ts';
import type { HubOptions } from './options.ts';
import type { Outbox } from './outbox.ts';
import { SnapshotDelivery } from './snapshots/delivery.ts';
import type { Subscription } from './subscription.ts';

/**
 * Maximum attempts to take a snapshot. A snapshot is taken again if it does not see a commit that
 * the journal has dropped.
 */
const SNAPSHOT_ATTEMPTS_MAX = 30;

/** What joining needs from the hub. */
export interface JoiningHub {
  readonly options: HubOptions;
  readonly journal: Journal;
  readonly markers: Markers;
  readonly epoch: string | undefined;
  /** No entry lies after this position. */
  readonly frontier: Position;
  readonly headText: string;
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
  readonly encoding: Encoding;
  /**
   * This client read its last snapshot more slowly than others. Its next snapshot is not shared.
   */
  isLaggard: boolean;
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

export class Joining {
  readonly #hub: JoiningHub;
  readonly #feed: JoiningFeed;
  readonly #subscription: Subscription;

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
        void this.#startWithSnapshot();
    }
  }

  #startNow(): void {
    const hub = this.#hub;
    const feed = this.#feed;
    const subscription = this.#subscription;
    // A commit is partly read. Begin after it, once everything committed until now has arrived.
    if (subscription.isOvertaken) {
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
    const feed = this.#feed;
    const subscription = this.#subscription;
    const position = parsePosition(text);
    if (position === undefined) {
      feed.fail(subscription, new SnoError('position_invalid', '`since` is not a position that this server gave'));
      return;
    }
    const { journal, epoch, frontier } = this.#hub;
    if (position.epoch !== epoch) {
      const isSlotNew = differsInGenerationOnly(position.epoch, epoch ?? '');
      return feed.reset(subscription, isSlotNew ? 'slot_lost' : 'epoch_changed');
    }
    // A position that this history has not reached belongs to another history.
    if (comparePositions(position, frontier) > 0) return feed.reset(subscription, 'epoch_changed');
    if (comparePositions(position, journal.oldest) < 0) return feed.reset(subscription, 'position_too_old');
    const { log } = subscription;
    if (log.voided !== undefined && comparePositions(position, log.voided) < 0)
      return feed.reset(subscription, 'channel_changed');
    const cursor = cursorAt(log, position);
    if (log.evicted > cursor) return feed.reset(subscription, 'position_too_old');
    subscription.catchUpFrom(cursor);
    feed.sendSubscribed(subscription, text, true);
    feed.catchUp(subscription);
  }

  async #startWithSnapshot(): Promise<void> {
    const hub = this.#hub;
    const feed = this.#feed;
    const subscription = this.#subscription;
    try {
      if (!(await this.#receiveSnapshot())) return;
    } catch (error) {
      if (subscription.isEnded) return;
      if (!(error instanceof SnoError)) throw error;
      hub.options.events.failed(error, subscription.channel.name);
      feed.fail(subscription, error);
      return;
    }
    this.#atMarker(() => subscription.catchUpAfterSnapshot(hub.wholeSequence, hub.headText));
  }

  /** Resolves when the snapshot has been written. False: the subscription has ended. */
  async #receiveSnapshot(): Promise<boolean> {
    const feed = this.#feed;
    const subscription = this.#subscription;
    const { channel, grant } = subscription;
    const { snapshots, pause } = this.#hub.options;
    const { outbox, encoding } = feed;
    const delivery = new SnapshotDelivery({
      encoding,
      outbox,
      isUseful: (visibility) => this.#isUseful(visibility),
      checkAccess: () => checkAccess(feed, subscription),
      pendingChecks: () => feed.pendingChecks,
      isEnded: () => subscription.isEnded,
    });
    for (let attempt = 1; ; attempt++) {
      // A client that accepts nothing does not get a place that others wait for.
      if (outbox.full) await outbox.writable();
      if (subscription.isEnded) return false;
      const request = snapshots.request(channel, delivery, feed.isLaggard, grant.address);
      subscription.waitForSnapshot(request.leave);
      const outcome = await request.outcome;
      if (subscription.isEnded) return false;
      subscription.snapshotWritten();
      feed.isLaggard = outcome === 'lagging';
      if (feed.isLaggard) {
        feed.reset(subscription, 'lagging');
        return false;
      }
      if (outcome === 'whole') {
        await delivery.written;
        return !subscription.isEnded;
      }
      if (attempt === SNAPSHOT_ATTEMPTS_MAX)
        throw new SnoError('try_again', `queries do not see the latest commits of ${channel.name} yet`);
      await pause(attempt);
    }
  }

  /** Whether the snapshot and the journal together contain everything. */
  #isUseful(visibility: Visibility): boolean {
    const subscription = this.#subscription;
    // The snapshot must not show the view as it was before a redefinition that has already arrived.
    const { voided } = subscription.log;
    const isOld = voided !== undefined && voided.xid !== 0 && !visibility.sees(voided.xid);
    if (isOld || this.#hub.journal.evictedUnseen((xid) => !visibility.sees(xid))) return false;
    return subscription.takeSnapshot(visibility, this.#hub.seenSequence(visibility));
  }

  /** Begins to catch up when the stream has delivered everything committed before the call. */
  #atMarker(begin: () => void): void {
    const subscription = this.#subscription;
    this.#hub.markers.expect(() => {
      if (subscription.state !== 'joining') return;
      begin();
      this.#feed.catchUpLater(subscription);
    });
  }
}

/** Returns the sequence of the last entry at or before the position. */
function cursorAt(log: ChannelLog, position: Position): number {
  let low = 0;
  let high = log.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (comparePositions(log.at(middle) as Entry, position) <= 0) low = middle + 1;
    else high = middle;
  }
  return log.at(low - 1)?.sequence ?? log.evicted;
}
