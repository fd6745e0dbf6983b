/**
 * Writes new entries to the feeds that are live in their channels, once for all entries that
 * arrived together.
 *
 * 1. `queue` keeps an entry with its channel, if any subscription there is live.
 * 2. `write` looks which feeds are live in one of the channels with entries, and which in several.
 * 3. A channel's entries are joined into one buffer for each encoding (encoding-group.ts). Each
 *    feed that is live in this channel alone receives the buffer of its encoding.
 * 4. A feed that is live in several of the channels receives their entries in commit order.
 *
 * An entry may be for all connections except one. The entries of that connection are joined
 * separately.
 *
 * `writeSlice` does the same for the feeds of one slice (slices.ts). The entries stay with their
 * channel until each slice has been given them.
 */
import type { Entry } from '../../commit/entry.ts';
import type { EncodingGroup, EncodingGroups } from '../encoding-group.ts';
import type { SocketFeed } from '../feed.ts';
import type { HubEvents } from '../options.ts';
import type { LiveChannel, LiveChannels } from './live-channels.ts';
import { SLICES } from './slices.ts';

/** An entry of a subscription whose channel the client knows by another name. */
interface NamedEntry {
  readonly entry: Entry;
  readonly group: EncodingGroup;
}

/**
 * With more channels that have new entries, to look through all of them for each slice would cost
 * more than it saves.
 */
const SLICED_CHANNELS_MAX = 16;

export class Delivery {
  readonly #channels: LiveChannels;
  readonly #groups: EncodingGroups;
  readonly #events: HubEvents;
  /** The channels with pending entries. */
  #dirty: LiveChannel[] = [];
  #round = 0;
  /** The connections that do not receive some pending entry. Undefined: each receives all. */
  #excepts: Set<string> | undefined;
  /** Whether some slices have been given entries that others have not. */
  #isSliced = false;

  constructor(channels: LiveChannels, groups: EncodingGroups, events: HubEvents) {
    this.#channels = channels;
    this.#groups = groups;
    this.#events = events;
  }

  get isDirty(): boolean {
    return this.#dirty.length > 0;
  }

  /** Whether `writeSlice` would cost much more than `write`. */
  get isSpread(): boolean {
    return this.#dirty.length > SLICED_CHANNELS_MAX;
  }

  queue(entry: Entry): void {
    const channel = this.#channels.get(entry.channel);
    if (channel === undefined || channel.liveCount === 0) return;
    if (channel.addPending(entry)) this.#dirty.push(channel);
    if (entry.except === undefined) return;
    this.#excepts ??= new Set();
    this.#excepts.add(entry.except);
  }

  /** Writes to every feed that is live in a channel with new entries. Returns these feeds. */
  write(): readonly SocketFeed[] {
    if (this.#isSliced) {
      const touched: SocketFeed[] = [];
      for (let slice = 0; slice < SLICES; slice++) touched.push(...this.writeSlice(slice));
      return touched;
    }
    const dirty = this.#dirty;
    this.#dirty = [];
    const excepts = this.#excepts;
    this.#excepts = undefined;
    const pending = dirty.map((channel) => channel.takePending());
    return this.#write(dirty, pending, excepts, undefined);
  }

  /** Writes to the feeds of a slice what they have not been given. Returns the feeds written to. */
  writeSlice(slice: number): readonly SocketFeed[] {
    const channels: LiveChannel[] = [];
    const pending: (readonly Entry[])[] = [];
    for (const channel of this.#dirty) {
      const entries = channel.takePendingOf(slice);
      if (entries.length === 0) continue;
      channels.push(channel);
      pending.push(entries);
    }
    if (channels.length === 0) return [];
    const excepts = this.#excepts;
    this.#dirty = this.#dirty.filter(({ isPending }) => isPending);
    this.#isSliced = this.#dirty.length > 0;
    if (!this.#isSliced) this.#excepts = undefined;
    return this.#write(channels, pending, excepts, slice);
  }

  /** `slice`: only its feeds. Undefined: all feeds. */
  #write(
    dirty: readonly LiveChannel[],
    pendings: readonly (readonly Entry[])[],
    excepts: ReadonlySet<string> | undefined,
    slice: number | undefined,
  ): readonly SocketFeed[] {
    const round = ++this.#round;
    const feeds: SocketFeed[] = [];
    if (dirty.length > 1) {
      for (const channel of dirty) {
        channel.all.forEach((feed, { state }) => {
          if (state !== 'live' || (slice !== undefined && feed.slice !== slice)) return;
          feed.isMulti = feed.round === round;
          feed.round = round;
          if (feed.isMulti) feeds.push(feed);
        });
      }
      // So far `isMulti` is true only for feeds seen again in the last channel. Every feed in
      // `feeds` is in several.
      for (const feed of feeds) feed.isMulti = true;
    }
    const several = new Map<SocketFeed, Entry[]>();
    const named = new Map<SocketFeed, NamedEntry[]>();
    const touched: SocketFeed[] = [];
    for (const [index, channel] of dirty.entries()) {
      const all = pendings[index] as readonly Entry[];
      let delivered = 0;
      channel.all.forEach((feed, subscription) => {
        if (subscription.state !== 'live' || (slice !== undefined && feed.slice !== slice)) return;
        const { naming } = subscription;
        const isExcluded = excepts?.has(subscription.grant.id ?? '') === true;
        const pending = isExcluded ? all.filter((entry) => !subscription.excludes(entry)) : all;
        delivered += pending.length;
        if (feed.isMulti) {
          if (naming !== undefined) {
            const entries = named.get(feed) ?? [];
            for (const entry of pending) entries.push({ entry, group: naming.group });
            named.set(feed, entries);
            return;
          }
          const entries = several.get(feed);
          if (entries === undefined) several.set(feed, [...pending]);
          else entries.push(...pending);
          return;
        }
        const group = naming?.group ?? feed.group;
        for (const piece of isExcluded ? group.join(pending) : group.shared(all)) feed.outbox.write(piece);
        touched.push(feed);
      });
      channel.counts.deliveries += delivered;
      this.#events.delivered(delivered);
    }
    this.#groups.forgetShared();
    for (const [feed, entries] of several) {
      // Some of its channels have another name or encoding: all entries are sent in one order.
      const others = named.get(feed);
      if (others !== undefined) {
        for (const entry of entries) others.push({ entry, group: feed.group });
        continue;
      }
      entries.sort((a, b) => a.sequence - b.sequence);
      for (const piece of feed.group.join(entries)) feed.outbox.write(piece);
      feed.isMulti = false;
      touched.push(feed);
    }
    for (const [feed, entries] of named) {
      entries.sort((a, b) => a.entry.sequence - b.entry.sequence);
      const groups = entries.map(({ group }) => group);
      const pieces = feed.group.join(
        entries.map(({ entry }) => entry),
        groups,
      );
      for (const piece of pieces) feed.outbox.write(piece);
      feed.isMulti = false;
      touched.push(feed);
    }
    return touched;
  }
}
