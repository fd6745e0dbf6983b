/** The subscriptions of all connections, by channel and by pattern. */
import type { ResolvedChannel } from '../../channels/served/served.ts';
import type { Entry, Mark } from '../../commit/entry.ts';
import { assert } from '../../errors.ts';
import type { PatternCounts, Patterns } from '../../metrics/patterns.ts';
import type { SocketFeed } from '../feed.ts';
import type { Subscription } from '../subscription.ts';
import { SLICES } from './slices.ts';

/** Shared by all channels without pending entries, which is nearly all. Nothing is added to it. */
const NO_ENTRIES: Entry[] = [];

/**
 * A channel with at least one subscription. There may be very many, so each holds only what it
 * needs.
 */
export class LiveChannel {
  /** The pattern of its first subscription. Others exist only for a moment after a redefinition. */
  readonly pattern: string;
  readonly counts: PatternCounts;
  otherPatterns: Set<string> | undefined;
  /** Every subscription, live or not. */
  readonly all = new Map<Subscription, SocketFeed>();
  /** Number of live subscriptions. */
  liveCount = 0;
  #pending = NO_ENTRIES;
  /** Number of pending entries that each slice has been given. Undefined: none of them. */
  #given: number[] | undefined;

  constructor(pattern: string, counts: PatternCounts) {
    this.pattern = pattern;
    this.counts = counts;
  }

  get isPending(): boolean {
    return this.#pending !== NO_ENTRIES;
  }

  /** Keeps an entry until it is taken. Returns whether it is the first one. */
  addPending(entry: Entry): boolean {
    if (this.#pending === NO_ENTRIES) {
      this.#pending = [entry];
      return true;
    }
    this.#pending.push(entry);
    return false;
  }

  /** Takes the entries for all slices. None of them may have been given any. */
  takePending(): readonly Entry[] {
    assert(this.#given === undefined, 'slices are given their entries one by one');
    const pending = this.#pending;
    this.#pending = NO_ENTRIES;
    return pending;
  }

  /** Returns the entries that a slice has not been given. */
  takePendingOf(slice: number): readonly Entry[] {
    const pending = this.#pending;
    if (pending === NO_ENTRIES) return NO_ENTRIES;
    this.#given ??= new Array<number>(SLICES).fill(0);
    const given = this.#given;
    const from = given[slice] as number;
    if (from === pending.length) return NO_ENTRIES;
    const entries = pending.slice(from);
    given[slice] = pending.length;
    const byAll = Math.min(...given);
    if (byAll === pending.length) {
      this.#pending = NO_ENTRIES;
      this.#given = undefined;
    } else if (byAll > 0) {
      pending.splice(0, byAll);
      for (let index = 0; index < SLICES; index++) given[index] = (given[index] as number) - byAll;
    }
    return entries;
  }
}

export class LiveChannels {
  readonly #patterns: Patterns;
  readonly #byName = new Map<string, LiveChannel>();
  readonly #byPattern = new Map<string, Set<LiveChannel>>();
  #subscriptionCount = 0;

  constructor(patterns: Patterns) {
    this.#patterns = patterns;
  }

  get subscriptionCount(): number {
    return this.#subscriptionCount;
  }

  get(name: string): LiveChannel | undefined {
    return this.#byName.get(name);
  }

  /** The channel of a subscription that has been added. */
  of({ channel: { name } }: Subscription): LiveChannel {
    const channel = this.#byName.get(name);
    assert(channel !== undefined, 'the channel of a subscription is known');
    return channel;
  }

  add(feed: SocketFeed, subscription: Subscription): void {
    this.#subscriptionCount++;
    this.#patterns.of(subscription.channel.pattern.text).subscriptions++;
    this.#channelFor(subscription.channel).all.set(subscription, feed);
  }

  delete(subscription: Subscription): void {
    this.#subscriptionCount--;
    this.#patterns.of(subscription.channel.pattern.text).subscriptions--;
    const channel = this.of(subscription);
    channel.all.delete(subscription);
    if (channel.all.size === 0) this.#forget(subscription.channel.name, channel);
  }

  /** Every subscription that a mark concerns. */
  concerned({ pattern, channel }: Pick<Mark, 'pattern' | 'channel'>): readonly (readonly [Subscription, SocketFeed])[] {
    const channels = channel === undefined ? this.#byPattern.get(pattern) : [this.#byName.get(channel)];
    return [...(channels ?? [])].flatMap((each) =>
      [...(each?.all ?? [])].filter(([subscription]) => subscription.channel.pattern.text === pattern),
    );
  }

  /** Number of channels by pattern that have a subscription, and of these subscriptions. */
  *counts(): Iterable<readonly [pattern: string, channels: number, subscriptions: number]> {
    for (const [pattern, channels] of this.#byPattern)
      yield [pattern, channels.size, this.#patterns.of(pattern).subscriptions];
  }

  /** The channels of a pattern that have a subscription, and the number of their subscriptions. */
  *ofPattern(pattern: string): Iterable<readonly [name: string, subscriptions: number]> {
    for (const { all } of this.#byPattern.get(pattern) ?? []) {
      const [first] = all.keys();
      if (first !== undefined) yield [first.channel.name, all.size];
    }
  }

  /** The name of each subscription as its client knows it: to a channel, or to all channels. */
  *subscriptionNames(channel?: string): Iterable<string> {
    const channels = channel === undefined ? this.#byName.values() : [this.#byName.get(channel)];
    for (const each of channels) for (const { name } of each?.all.keys() ?? []) yield name;
  }

  #channelFor({ name, pattern: { text } }: ResolvedChannel): LiveChannel {
    let channel = this.#byName.get(name);
    if (channel === undefined) {
      channel = new LiveChannel(text, this.#patterns.of(text));
      this.#byName.set(name, channel);
      this.#alike(text).add(channel);
    } else if (channel.pattern !== text) {
      channel.otherPatterns ??= new Set();
      channel.otherPatterns.add(text);
      this.#alike(text).add(channel);
    }
    return channel;
  }

  /** The channels of a pattern. */
  #alike(pattern: string): Set<LiveChannel> {
    let alike = this.#byPattern.get(pattern);
    if (alike === undefined) {
      alike = new Set();
      this.#byPattern.set(pattern, alike);
    }
    return alike;
  }

  #forget(name: string, channel: LiveChannel): void {
    this.#byName.delete(name);
    for (const pattern of [channel.pattern, ...(channel.otherPatterns ?? [])]) {
      const alike = this.#byPattern.get(pattern);
      alike?.delete(channel);
      if (alike?.size === 0) this.#byPattern.delete(pattern);
    }
  }
}
