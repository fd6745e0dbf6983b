/**
 * Delivers journal entries to connections. Live subscriptions are indexed by channel. Once per
 * flush, a channel's new entries are joined into one buffer. That buffer is written to every socket
 * whose connection received events of that channel only. Connections with events of several
 * channels receive them in commit order.
 */
import type { Duplex } from 'node:stream';
import type { ResolvedChannel } from '../channels/channel.ts';
import type { BatchSink } from '../commit/builder.ts';
import type { Batch, Entry, Mark } from '../commit/entry.ts';
import { assert } from '../errors.ts';
import type { ChannelLog, Journal } from '../journal/journal.ts';
import type { Markers } from '../markers/markers.ts';
import type { Visibility } from '../markers/visibility.ts';
import type { Position } from '../position.ts';
import type { ResetReason } from '../protocol.ts';
import { textFrame } from '../websocket/frame.ts';
import { Revocations } from './access/revocations.ts';
import type { Attendance, Fanout } from './fanout.ts';
import { type FeedHub, SocketFeed } from './feed.ts';
import type { HubOptions } from './options.ts';
import { OutboundBudget } from './outbound.ts';
import { Segments } from './segments.ts';
import type { Subscription } from './subscription.ts';

/** The source of commits; it knows where the head is. */
export interface Head {
  readonly frontier: Position;
  readonly headText: string;
  readonly epoch: string;
  readonly wholeSequence: number;
  readonly openXid: number;
  isOpen(pattern: string, channel: string): boolean;
}

/**
 * Maximum bytes of a frame that is joined with others. A larger frame costs more to copy than to
 * write separately.
 */
const JOINED_FRAME_BYTES_MAX = 16 * 1_024;

const NOTHING: Entry[] = [];

/**
 * A channel with at least one subscription. There may be very many, so each one holds only what it
 * needs.
 */
class LiveChannel {
  /** The pattern of its first subscription. Others exist only for a moment after a redefinition. */
  readonly pattern: string;
  otherPatterns: Set<string> | undefined;
  /** Every subscription, live or not. */
  readonly all = new Map<Subscription, SocketFeed>();
  /** Number of live subscriptions. */
  liveCount = 0;
  /** NOTHING, or an array of its own. */
  pending = NOTHING;

  constructor(pattern: string) {
    this.pattern = pattern;
  }
}

export class Hub implements Fanout, FeedHub, BatchSink {
  readonly options: HubOptions;
  readonly journal: Journal;
  readonly markers: Markers;
  readonly outbound: OutboundBudget;
  readonly segments: FeedHub['segments'];
  #head: Head | undefined;
  readonly #feeds = new Set<SocketFeed>();
  readonly #channels = new Map<string, LiveChannel>();
  readonly #channelsOfPattern = new Map<string, Set<LiveChannel>>();
  #dirty: LiveChannel[] = [];
  #toPump = new Set<SocketFeed>();
  readonly #revocations: Revocations;
  #turn = 0;
  #sequence = 0;
  #committedAt: number[] = [];
  #subscriptionCount = 0;

  constructor(journal: Journal, markers: Markers, options: HubOptions) {
    this.journal = journal;
    this.markers = markers;
    this.options = options;
    const { outboundBytesMax, outboundTotalBytesMax, deflater } = options;
    this.outbound = new OutboundBudget(outboundBytesMax, outboundTotalBytesMax);
    this.segments = {
      plain: new Segments(plain),
      deflated: new Segments((entry) => deflater.frameOf(entry)),
    };
    this.#revocations = new Revocations((xid) => options.visible(xid));
  }

  /**
   * Sets the head. The builder writes into the hub and the hub asks the builder for the head, so
   * one is created after the other.
   */
  follow(head: Head): void {
    this.#head = head;
  }

  get epoch(): string | undefined {
    const epoch = this.#head?.epoch;
    return epoch === '' ? undefined : epoch;
  }

  get frontier(): Position {
    return this.#source().frontier;
  }

  get headText(): string {
    return this.#source().headText;
  }

  /** Sequence of the last entry of a whole commit. */
  get wholeSequence(): number {
    return this.#source().wholeSequence;
  }

  seenSequence(visibility: Visibility): number {
    const { openXid, wholeSequence } = this.#source();
    return openXid !== 0 && visibility.sees(openXid) ? this.#sequence : wholeSequence;
  }

  /** Sequence of the last entry. */
  get sequence(): number {
    return this.#sequence;
  }

  get connectionCount(): number {
    return this.#feeds.size;
  }

  get subscriptionCount(): number {
    return this.#subscriptionCount;
  }

  /** Bytes queued in the sockets of all connections. */
  get outboundBytes(): number {
    let bytes = 0;
    for (const { outbox } of this.#feeds) bytes += outbox.pendingBytes;
    return bytes;
  }

  attach(socket: Duplex, deflates = false): SocketFeed {
    const feed = new SocketFeed(this, socket, deflates);
    this.#feeds.add(feed);
    return feed;
  }

  append(batch: Batch): void {
    this.options.beforeDelivery?.();
    const rechecks = batch.marks.filter(({ kind }) => kind === 'recheck');
    if (rechecks.length > 0) {
      // Earlier commits may be sent. Nothing of this commit or a later one is sent to the affected
      // connections.
      this.write();
      this.#recheck(rechecks, batch.xid);
    }
    const made = this.journal.append(batch);
    for (const entry of batch.entries) this.#queue(entry);
    for (const entry of made) this.#queue(entry);
    for (const mark of batch.marks) this.#sequence = Math.max(this.#sequence, mark.sequence);
    if (batch.committedAt > 0) this.#committedAt.push(batch.committedAt);
    const redefinitions = batch.marks.filter(({ kind }) => kind === 'changed' || kind === 'dropped');
    if (redefinitions.length === 0) return;
    // At once: clients subscribed by the old definition must not receive a position after it.
    this.write();
    for (const mark of redefinitions) this.#redefine(mark);
  }

  knows(channel: string): boolean {
    return this.journal.knows(channel);
  }

  hold({ name, pattern }: ResolvedChannel): ChannelLog {
    const missed = this.#source().isOpen(pattern.text, name) ? this.#sequence : -1;
    return this.journal.hold(name, pattern.text, missed);
  }

  /** Writes appended entries to live sockets. */
  write(): void {
    if (this.#dirty.length === 0) return;
    const feeds = this.#claim();
    this.#dirty = [];
    for (const feed of feeds) {
      if (!feed.outbox.full) continue;
      // A large frame that is sent in slices may make the outbox full without exceeding the limit.
      if (feed.outbox.pendingBytes >= feed.outbox.bytesMax) this.options.events.outboundFull();
      feed.fallBehind();
    }
  }

  /**
   * Writes everything that arrived together, then lets the journal drop entries beyond its limits.
   */
  flush(): void {
    this.options.beforeDelivery?.();
    this.write();
    for (const time of this.#committedAt) this.options.events.sent(time);
    this.#committedAt = [];
    if (this.#toPump.size > 0) {
      const toPump = this.#toPump;
      this.#toPump = new Set();
      for (const feed of toPump) feed.pump();
    }
    this.journal.evict(this.options.now());
  }

  attend(channel: ResolvedChannel): Attendance {
    return this.#revocations.attend(channel);
  }

  afterCommitted(call: () => void): void {
    this.markers.expect(call);
  }

  /** Resets the subscriptions of a pattern's channels that cannot continue. */
  lag(pattern: string, cannot: (channel: string) => boolean): void {
    for (const { all } of [...this.#channels.values()])
      for (const [subscription, feed] of [...all])
        if (subscription.channel.pattern.text === pattern && cannot(subscription.channel.name))
          feed.reset(subscription, 'lagging');
  }

  /** Resets every subscription: another history begins. */
  resetAll(reason: ResetReason): void {
    for (const feed of this.#feeds) feed.resetAll(reason);
  }

  /** Writes appended entries first: the position says that they have been written. */
  heartbeatFrame(reached?: string): Buffer {
    this.write();
    return textFrame(JSON.stringify({ type: 'heartbeat', position: this.headText, reached }));
  }

  /**
   * Sends one frame to all. Connections that are behind receive none, since they are not complete
   * up to the head.
   */
  heartbeat(): void {
    if (this.epoch === undefined) return;
    const frame = this.heartbeatFrame();
    for (const feed of this.#feeds) if (feed.isComplete && !feed.outbox.full) feed.sendRaw(frame);
  }

  pumpLater(feed: SocketFeed): void {
    this.#toPump.add(feed);
  }

  // Calls from feeds about their subscriptions:

  joined(feed: SocketFeed, subscription: Subscription): void {
    this.#subscriptionCount++;
    const { name, pattern } = subscription.channel;
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = new LiveChannel(pattern.text);
      this.#channels.set(name, channel);
      this.#alike(pattern.text).add(channel);
    } else if (channel.pattern !== pattern.text) {
      channel.otherPatterns ??= new Set();
      channel.otherPatterns.add(pattern.text);
      this.#alike(pattern.text).add(channel);
    }
    channel.all.set(subscription, feed);
  }

  live(subscription: Subscription): void {
    this.#channel(subscription).liveCount++;
  }

  left(subscription: Subscription): void {
    this.#channel(subscription).liveCount--;
  }

  ended(subscription: Subscription): void {
    this.#subscriptionCount--;
    const channel = this.#channel(subscription);
    channel.all.delete(subscription);
    if (channel.all.size === 0) this.#forget(subscription.channel.name, channel);
    this.journal.unhold(subscription.channel.name);
  }

  remove(feed: SocketFeed): void {
    this.#feeds.delete(feed);
    this.#toPump.delete(feed);
  }

  /** The channels of a pattern. */
  #alike(pattern: string): Set<LiveChannel> {
    let alike = this.#channelsOfPattern.get(pattern);
    if (alike === undefined) {
      alike = new Set();
      this.#channelsOfPattern.set(pattern, alike);
    }
    return alike;
  }

  #forget(name: string, channel: LiveChannel): void {
    this.#channels.delete(name);
    for (const pattern of [channel.pattern, ...(channel.otherPatterns ?? [])]) {
      const alike = this.#channelsOfPattern.get(pattern);
      alike?.delete(channel);
      if (alike?.size === 0) this.#channelsOfPattern.delete(pattern);
    }
  }

  #source(): Head {
    assert(this.#head !== undefined, 'the hub follows a head');
    return this.#head;
  }

  #channel(subscription: Subscription): LiveChannel {
    const channel = this.#channels.get(subscription.channel.name);
    assert(channel !== undefined, `channel ${subscription.channel.name} has subscriptions`);
    return channel;
  }

  #queue(entry: Entry): void {
    this.#sequence = Math.max(this.#sequence, entry.sequence);
    const channel = this.#channels.get(entry.channel);
    if (channel === undefined || channel.liveCount === 0) return;
    if (channel.pending !== NOTHING) {
      channel.pending.push(entry);
      return;
    }
    channel.pending = [entry];
    this.#dirty.push(channel);
  }

  /** Writes to every feed that is live in a channel with new entries. Returns these feeds. */
  #claim(): readonly SocketFeed[] {
    const turn = ++this.#turn;
    const feeds: SocketFeed[] = [];
    if (this.#dirty.length > 1) {
      for (const channel of this.#dirty) {
        channel.all.forEach((feed, { state }) => {
          if (state !== 'live') return;
          feed.isMulti = feed.turn === turn;
          feed.turn = turn;
          if (feed.isMulti) feeds.push(feed);
        });
      }
      // So far `isMulti` is true only for feeds seen again in the last channel. Every feed in
      // `feeds` is in several.
      for (const feed of feeds) feed.isMulti = true;
    }
    const deflate = (entry: Entry) => this.options.deflater.frameOf(entry);
    const several = new Map<SocketFeed, Entry[]>();
    const touched: SocketFeed[] = [];
    for (const channel of this.#dirty) {
      const { pending } = channel;
      channel.pending = NOTHING;
      let frames: readonly Buffer[] | undefined;
      let deflated: readonly Buffer[] | undefined;
      let count = 0;
      channel.all.forEach((feed, { state }) => {
        if (state !== 'live') return;
        if (feed.isMulti) {
          const entries = several.get(feed);
          if (entries === undefined) several.set(feed, [...pending]);
          else entries.push(...pending);
          return;
        }
        if (feed.deflates) deflated ??= joined(pending.map(deflate));
        else frames ??= joined(pending.map(plain));
        for (const frame of (feed.deflates ? deflated : frames) as readonly Buffer[]) feed.outbox.write(frame);
        touched.push(feed);
        count++;
      });
      this.options.events.delivered(count * pending.length);
    }
    for (const [feed, entries] of several) {
      entries.sort((a, b) => a.sequence - b.sequence);
      for (const frame of joined(entries.map(feed.deflates ? deflate : plain))) feed.outbox.write(frame);
      this.options.events.delivered(entries.length);
      feed.isMulti = false;
      touched.push(feed);
    }
    return touched;
  }

  /** Every subscription that a mark concerns. */
  #subscriptionsOf({ pattern, channel }: Mark): readonly (readonly [Subscription, SocketFeed])[] {
    const named = channel === undefined ? this.#channelsOfPattern.get(pattern) : [this.#channels.get(channel)];
    return [...(named ?? [])].flatMap((each) =>
      [...(each?.all ?? [])].filter(([subscription]) => subscription.channel.pattern.text === pattern),
    );
  }

  #recheck(marks: readonly Mark[], xid: number): void {
    const seen = this.#revocations.came(marks, xid);
    const concerned = new Map<SocketFeed, Subscription[]>();
    for (const mark of marks) {
      for (const [subscription, feed] of this.#subscriptionsOf(mark)) {
        const subscriptions = concerned.get(feed);
        if (subscriptions === undefined) concerned.set(feed, [subscription]);
        else subscriptions.push(subscription);
      }
    }
    for (const [feed, subscriptions] of concerned) feed.recheck(subscriptions, seen);
  }

  #redefine(mark: Mark): void {
    for (const [subscription, feed] of this.#subscriptionsOf(mark)) {
      if (mark.kind === 'dropped') feed.unsubscribe(subscription.channel.name, 'channel_dropped');
      else feed.reset(subscription, 'channel_changed');
    }
  }
}

const plain = ({ frame }: Entry): Buffer => frame;

/**
 * Joins adjacent small frames into one. Large frames stay separate and are shared by all
 * connections.
 */
function joined(all: readonly Buffer[]): readonly Buffer[] {
  const frames: Buffer[] = [];
  let small: Buffer[] = [];
  const join = () => {
    if (small.length > 0) frames.push(small.length === 1 ? (small[0] as Buffer) : Buffer.concat(small));
    small = [];
  };
  for (const frame of all) {
    if (frame.length <= JOINED_FRAME_BYTES_MAX) {
      small.push(frame);
    } else {
      join();
      frames.push(frame);
    }
  }
  join();
  return frames;
}
