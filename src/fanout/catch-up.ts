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
import type { Entry } from '../commit/entry.ts';
import { tailOf } from './encoding.ts';
import type { EncodingGroup } from './encoding-group.ts';
import type { HubOptions } from './options.ts';
import type { Outbox } from './outbox.ts';
import type { Subscription } from './subscription.ts';

/** What catching up needs from the hub. */
export interface CatchUpHub {
  readonly options: HubOptions;
}

/** The connection. */
export interface CatchUpFeed {
  readonly outbox: Outbox;
  /** The connections that share the bytes of this subscription. */
  groupOf(subscription: Subscription): EncodingGroup;
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
      const [first, until, second] = earliest(this.#subscriptions, limit);
      if (first === undefined) return true;
      if (until === Number.POSITIVE_INFINITY && !first.passesOver) this.#writeSegments(first);
      else this.#writeUntil(first, until, second);
    }
    return false;
  }

  /** Writes the entries of the only subscription that has missed some. */
  #writeSegments(subscription: Subscription): void {
    const { outbox } = this.#feed;
    const { segments } = this.#feed.groupOf(subscription);
    while (outbox.takesMore) {
      const segment = segments.after(subscription.log, subscription.cursor, outbox.segmentBytes);
      if (segment === undefined) return;
      if (segment.excepts?.has(subscription.grant.id ?? '') === true) {
        this.#writeUntil(subscription, segment.sequence, undefined);
        continue;
      }
      for (const bytes of segment.pieces) outbox.write(bytes);
      subscription.advance(segment.sequence);
      this.#delivered(subscription, segment.count);
    }
  }

  #delivered({ channel }: Subscription, count: number): void {
    const { events, patterns } = this.#hub.options;
    events.delivered(count);
    patterns.of(channel.pattern.text).deliveries += count;
  }

  /** `second`: the next entry of another subscription, if it comes first after `until`. */
  #writeUntil(subscription: Subscription, until: number, second: Entry | undefined): void {
    const { outbox } = this.#feed;
    const { encoding } = this.#feed.groupOf(subscription);
    let count = 0;
    let entry = subscription.next();
    while (entry !== undefined && entry.sequence <= until) {
      this.#feed.passSeam(subscription, entry.sequence);
      subscription.advance(entry.sequence);
      const isExcluded = subscription.excludes(entry);
      const next = subscription.next();
      if (!isExcluded) {
        const following = next !== undefined && next.sequence <= until ? next : second;
        outbox.write(encoding.entry(entry));
        const tail = tailOf(encoding, entry, following);
        if (tail !== undefined) outbox.write(tail);
        count++;
      }
      entry = outbox.takesMore ? next : undefined;
    }
    this.#delivered(subscription, count);
  }
}

/**
 * Returns the subscription whose next entry comes first, up to `limit`. Also returns the sequence
 * up to which it may continue before another subscription's next entry, and that entry.
 */
function earliest(
  subscriptions: Iterable<Subscription>,
  limit: number,
): readonly [Subscription | undefined, number, Entry | undefined] {
  let first: Subscription | undefined;
  let nearest: Entry | undefined;
  let second: Entry | undefined;
  for (const subscription of subscriptions) {
    const next = subscription.next();
    if (next === undefined || next.sequence > limit) continue;
    if (nearest === undefined || next.sequence < nearest.sequence) {
      second = nearest;
      nearest = next;
      first = subscription;
    } else if (second === undefined || next.sequence < second.sequence) {
      second = next;
    }
  }
  return [first, second?.sequence ?? limit, second];
}
