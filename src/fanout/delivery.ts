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
 */
import type { Entry } from '../commit/entry.ts';
import type { EncodingGroup, EncodingGroups } from './encoding-group.ts';
import type { SocketFeed } from './feed.ts';
import type { LiveChannel, LiveChannels } from './live-channels.ts';
import type { HubEvents } from './options.ts';

/** An entry of a subscription whose channel the client knows by another name. */
interface NamedEntry {
  readonly entry: Entry;
  readonly group: EncodingGroup;
}

export class Delivery {
  readonly #channels: LiveChannels;
  readonly #groups: EncodingGroups;
  readonly #events: HubEvents;
  /** The channels with pending entries. */
  #dirty: LiveChannel[] = [];
  #round = 0;
  /** The connections that do not receive some pending entry. Undefined: each receives all. */
  #excepts: Set<string> | undefined;

  constructor(channels: LiveChannels, groups: EncodingGroups, events: HubEvents) {
    this.#channels = channels;
    this.#groups = groups;
    this.#events = events;
  }

  get isDirty(): boolean {
    return this.#dirty.length > 0;
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
    const dirty = this.#dirty;
    this.#dirty = [];
    const excepts = this.#excepts;
    this.#excepts = undefined;
    const round = ++this.#round;
    const feeds: SocketFeed[] = [];
    if (dirty.length > 1) {
      for (const channel of dirty) {
        channel.all.forEach((feed, { state }) => {
          if (state !== 'live') return;
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
    for (const channel of dirty) {
      const all = channel.takePending();
      let delivered = 0;
      channel.all.forEach((feed, subscription) => {
        if (subscription.state !== 'live') return;
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
