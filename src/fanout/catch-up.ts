/**
 * The subscriptions of one connection that read from the journal. It exists only while there are
 * some: most connections are live in all their channels.
 *
 * It writes while the socket accepts more, in commit order across all of these subscriptions:
 *
 * 1. Find the subscription whose next entry comes first, and where another one's next entry lies.
 * 2. Write the entries of the first subscription up to there. A subscription alone writes segments:
 *    joined entries, which all connections at the same place share.
 * 3. Repeat until nothing is left, the limit is reached, or the socket accepts no more.
 *
 * The limit is a sequence: nothing after it may be written before an access check is answered.
 */
import type { EncodingGroup } from './encoding-group.ts';
import type { HubOptions } from './options.ts';
import type { OutboundBudget } from './outbound.ts';
import type { Outbox } from './outbox.ts';
import type { Subscription } from './subscription.ts';

/** What catching up needs from the hub. */
export interface CatchUpHub {
  readonly options: HubOptions;
  readonly outbound: OutboundBudget;
}

/** The connection. */
export interface CatchUpFeed {
  readonly outbox: Outbox;
  /** The connections of its encoding. */
  readonly group: EncodingGroup;
  /** Called before an entry of this sequence is written: sends `subscribed` at the seam. */
  passSeam(subscription: Subscription, sequence: number): void;
}

export class CatchUp {
  readonly #hub: CatchUpHub;
  readonly #feed: CatchUpFeed;
  readonly #subscriptions = new Set<Subscription>();

  constructor(hub: CatchUpHub, feed: CatchUpFeed) {
    this.#hub = hub;
    this.#feed = feed;
  }

  get subscriptions(): ReadonlySet<Subscription> {
    return this.#subscriptions;
  }

  add(subscription: Subscription): void {
    this.#subscriptions.add(subscription);
  }

  delete(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
  }

  /** Writes missed entries up to `limit`. Returns whether all of them have been written. */
  write(limit: number): boolean {
    while (this.#feed.outbox.takesMore) {
      const [first, until] = earliest(this.#subscriptions, limit);
      if (first === undefined) return true;
      if (until === Number.POSITIVE_INFINITY && !first.passesOver) this.#writeSegments(first);
      else this.#writeUntil(first, until);
    }
    return false;
  }

  /** Writes the entries of the only subscription that has missed some. */
  #writeSegments(subscription: Subscription): void {
    const { outbox, group } = this.#feed;
    const { outbound, options } = this.#hub;
    while (outbox.takesMore) {
      const segment = group.segments.after(subscription.log, subscription.cursor, outbound.segmentBytes);
      if (segment === undefined) return;
      outbox.write(segment.bytes);
      subscription.advance(segment.sequence);
      options.events.delivered(segment.count);
    }
  }

  #writeUntil(subscription: Subscription, until: number): void {
    const { outbox, group } = this.#feed;
    const { events } = this.#hub.options;
    for (let entry = subscription.next(); entry !== undefined && entry.sequence <= until; entry = subscription.next()) {
      this.#feed.passSeam(subscription, entry.sequence);
      outbox.write(group.encoding.entry(entry));
      subscription.advance(entry.sequence);
      events.delivered(1);
      if (!outbox.takesMore) return;
    }
  }
}

/**
 * Returns the subscription whose next entry comes first, up to `limit`. Also returns the sequence
 * up to which it may continue before another subscription's next entry.
 */
function earliest(subscriptions: Iterable<Subscription>, limit: number): readonly [Subscription | undefined, number] {
  let first: Subscription | undefined;
  let nearest = Number.POSITIVE_INFINITY;
  let second = limit;
  for (const subscription of subscriptions) {
    const sequence = subscription.next()?.sequence ?? Number.POSITIVE_INFINITY;
    if (sequence > limit) continue;
    if (sequence < nearest) {
      second = Math.min(nearest, limit);
      nearest = sequence;
      first = subscription;
    } else if (sequence < second) {
      second = sequence;
    }
  }
  return [first, second];
}
