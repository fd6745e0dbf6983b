/**
 * Joins the journal and the connections.
 *
 * A batch is appended to the journal, and its entries wait for the live subscriptions (live/). They
 * are written once for all batches that arrived together: at `flush`, slice by slice at
 * `flushSlice`, or before anything that must come after them. Before a batch with an access mark,
 * all that came before is written, and the connections concerned stop being live (access/).
 */
import type { Writable } from 'node:stream';
import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ResolvedChannel } from '../channels/served/served.ts';
import type { BatchSink } from '../commit/builder.ts';
import { type Batch, type Entry, isRecheck, type Mark, RECHECKS } from '../commit/entry.ts';
import type { Head } from '../commit/head.ts';
import { assert } from '../errors.ts';
import type { ChannelLog, Journal } from '../journal/journal.ts';
import type { Markers } from '../markers/markers.ts';
import type { Visibility } from '../markers/visibility.ts';
import { comparePositions, type Position } from '../position.ts';
import type { HeartbeatFrame, ResetReason } from '../protocol.ts';
import { Revocations } from './access/revocations.ts';
import { Cork } from './cork.ts';
import type { Encoding } from './encoding.ts';
import { type EncodingGroup, EncodingGroups } from './encoding-group.ts';
import type { AccessCheckWindow, Fanout, Feed, FeedObserver } from './fanout.ts';
import { type FeedHub, SocketFeed } from './feed.ts';
import type { OlderHistory } from './history/older-history.ts';
import { HistoryReads } from './history/reads.ts';
import { Delivery } from './live/delivery.ts';
import { LiveChannels } from './live/live-channels.ts';
import { SLICES, Turns } from './live/slices.ts';
import type { HubOptions } from './options.ts';
import { OutboundBudget } from './outbound.ts';
import { TouchedCommits } from './snapshots/order.ts';
import type { Subscription } from './subscription.ts';
import type { UnstoredFrame } from './unstored.ts';

const ACCESS_ALONE: readonly AccessSchema[] = ['channel_access'];

/** The marks that void what clients hold. */
const VOIDING: ReadonlySet<Mark['kind']> = new Set<Mark['kind']>(['changed', 'dropped', 'cut']);

export class Hub implements Fanout, FeedHub, BatchSink {
  readonly options: HubOptions;
  readonly journal: Journal;
  readonly markers: Markers;
  readonly outbound: OutboundBudget;
  /** Undefined: clients can resume only from the journal. */
  readonly history: HistoryReads | undefined;
  #head: Head | undefined;
  readonly #feeds = new Set<SocketFeed>();
  readonly #groups = new EncodingGroups();
  readonly #channels: LiveChannels;
  readonly #delivery: Delivery;
  #toPump = new Set<SocketFeed>();
  readonly #revocations: Revocations;
  /** For the snapshots of views that join. */
  readonly touched = new TouchedCommits();
  #sequence = 0;
  /** When the commits were made that have not been written to all connections. */
  readonly #committedAt = new Turns<number>();
  #attached = 0;

  constructor(journal: Journal, markers: Markers, options: HubOptions) {
    this.journal = journal;
    this.markers = markers;
    this.options = options;
    const { outboundBytesMax, outboundTotalBytesMax, events, patterns, atTurnEnd } = options;
    this.#channels = new LiveChannels(patterns);
    this.outbound = new OutboundBudget(outboundBytesMax, outboundTotalBytesMax, new Cork(atTurnEnd));
    this.history = options.history === undefined ? undefined : this.#historyReads(options.history);
    this.#delivery = new Delivery(this.#channels, this.#groups, events);
    this.#revocations = new Revocations(options.ended ?? ((xid) => options.visible(xid)));
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

  hasReached(position: Position, log: ChannelLog): boolean {
    const { frontier, openXid } = this.#source();
    if (comparePositions(position, frontier) > 0) return false;
    if (openXid === 0 || position.lsn < frontier.lsn) return true;
    // Positions within the open commit count the parts of their own channel.
    const last = log.at(log.length - 1);
    return last !== undefined && comparePositions(position, last) <= 0;
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
    return this.#channels.subscriptionCount;
  }

  /** Bytes queued in the sockets of all connections. */
  get outboundBytes(): number {
    let bytes = 0;
    for (const { outbox } of this.#feeds) bytes += outbox.pendingBytes;
    return bytes;
  }

  /** Number of channels by pattern that have a subscription, and of these subscriptions. */
  get channelCounts(): ReturnType<LiveChannels['counts']> {
    return this.#channels.counts();
  }

  /** The channels of a pattern that have a subscription, and the number of their subscriptions. */
  channelsOf(pattern: string): ReturnType<LiveChannels['ofPattern']> {
    return this.#channels.ofPattern(pattern);
  }

  /** The name of each subscription as its client knows it: to a channel, or to all channels. */
  subscriptionNames(channel?: string): Iterable<string> {
    return this.#channels.subscriptionNames(channel);
  }

  /** The subscriptions to a channel. */
  subscriptionsTo(channel: string): ReadonlyMap<Subscription, unknown> | undefined {
    return this.#channels.get(channel)?.all;
  }

  /** How many bytes of events that arrive together should be flushed at once, at most. */
  get burstBytes(): number {
    return this.outbound.burstBytes(this.#feeds.size);
  }

  attach(socket: Writable, encoding: Encoding, observer?: FeedObserver): SocketFeed {
    const feed = new SocketFeed(this, socket, this.#groups.of(encoding), this.#attached++ % SLICES, observer);
    this.#feeds.add(feed);
    return feed;
  }

  append(batch: Batch): void {
    this.options.beforeDelivery?.();
    const rechecks = batch.marks.filter(isRecheck);
    if (rechecks.length > 0) {
      // Earlier commits may be sent. Nothing of this commit or a later one is sent to the affected
      // connections.
      this.write();
      this.#recheck(rechecks, batch.xid);
    }
    const made = this.journal.append(batch);
    for (const entry of batch.entries) this.#queue(entry);
    for (const entry of made) this.#queue(entry);
    for (const mark of batch.marks) {
      this.#sequence = Math.max(this.#sequence, mark.sequence);
      if (mark.kind === 'touched') this.touched.add(mark.pattern, mark.xid);
    }
    if (batch.committedAt > 0) this.#committedAt.add(batch.committedAt);
    const voiding = batch.marks.filter(({ kind }) => VOIDING.has(kind));
    if (voiding.length === 0) return;
    // At once: clients subscribed by the old definition must not receive a position after it.
    this.write();
    for (const mark of voiding) this.#void(mark);
  }

  knows(channel: string): boolean {
    return this.journal.knows(channel);
  }

  retain({ name, pattern }: ResolvedChannel): ChannelLog {
    const missed = this.#source().isOpen(pattern.text, name) ? this.#sequence : -1;
    return this.journal.retain(name, pattern.text, missed);
  }

  /** Writes appended entries to live sockets. */
  write(): void {
    if (this.#delivery.isDirty) this.#written(this.#delivery.write());
  }

  /** Writes appended entries to this connection, and others with it. */
  writeTo({ slice }: SocketFeed): void {
    if (this.#delivery.isDirty) this.#writeSlice(slice);
  }

  #writeSlice(slice: number): void {
    if (this.#delivery.isSpread) this.write();
    else this.#written(this.#delivery.writeSlice(slice));
  }

  #written(feeds: readonly SocketFeed[]): void {
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
    this.#flushed(this.#committedAt.takeAll());
  }

  /**
   * Does the same for the connections of a slice. If it is called for one slice after the other,
   * all receive everything. Returns whether all have everything now.
   */
  flushSlice(slice: number): boolean {
    this.options.beforeDelivery?.();
    this.#writeSlice(slice);
    const isComplete = !this.#delivery.isDirty;
    this.#flushed(isComplete ? this.#committedAt.takeAll() : this.#committedAt.next());
    return isComplete;
  }

  /** Whether something waits for `flush`. */
  get isPending(): boolean {
    return this.#delivery.isDirty || this.#toPump.size > 0 || !this.#committedAt.isEmpty;
  }

  /** `committedAt`: when the commits were made that all connections have now. */
  #flushed(committedAt: readonly number[]): void {
    for (const time of committedAt) this.options.events.sent(time);
    if (this.#toPump.size > 0) {
      const toPump = this.#toPump;
      this.#toPump = new Set();
      for (const feed of toPump) feed.pump();
    }
    this.journal.evict(this.options.now());
  }

  openAccessCheck(channel: ResolvedChannel, schemas: readonly AccessSchema[] = ACCESS_ALONE): AccessCheckWindow {
    return this.#revocations.openWindow(channel, schemas);
  }

  /** Sends an unstored frame to the subscribers of its channel, except to one. */
  post(frame: UnstoredFrame, except?: Feed): void {
    const channel = this.#channels.get(frame.channel);
    if (channel === undefined) return;
    // The frame must come after everything committed before.
    this.write();
    for (const [subscription, feed] of channel.all) if (feed !== except) feed.postTo(subscription, frame);
  }

  afterCommitted(call: () => void): void {
    this.markers.expect(call);
  }

  /** Resets the subscriptions of a pattern's channels that cannot continue. */
  lag(pattern: string, cannot: (channel: string) => boolean): void {
    for (const [subscription, feed] of this.#channels.concerned({ pattern }))
      if (cannot(subscription.channel.name)) feed.reset(subscription, 'lagging');
  }

  /** Resets every subscription: another history begins. */
  resetAll(reason: ResetReason): void {
    // The history may have entries that this process never received, or count anew.
    this.#sequence = this.wholeSequence;
    for (const feed of this.#feeds) feed.resetAll(reason);
  }

  /** Writes appended entries first: the position says that they have been written. */
  heartbeatFrame(feed: SocketFeed, reached?: string): HeartbeatFrame {
    this.writeTo(feed);
    return { type: 'heartbeat', position: this.headText, ...(reached === undefined ? {} : { reached }) };
  }

  /**
   * Sends one frame to all, made once for each shared encoding. Connections that are behind receive
   * none, since they are not complete up to the head.
   */
  heartbeat(): void {
    if (this.epoch === undefined) return;
    this.write();
    const frame = { type: 'heartbeat', position: this.headText } as const;
    const encoded = new Map<Encoding, Buffer>();
    for (const { encoding } of this.#groups) encoded.set(encoding, encoding.control(frame));
    for (const feed of this.#feeds)
      if (feed.isComplete && !feed.outbox.full)
        feed.sendRaw(encoded.get(feed.encoding) ?? feed.encoding.control(frame));
  }

  pumpLater(feed: SocketFeed): void {
    this.#toPump.add(feed);
  }

  groupOf(encoding: Encoding): EncodingGroup {
    return this.#groups.of(encoding);
  }

  // Calls from feeds about their subscriptions:

  addSubscription(feed: SocketFeed, subscription: Subscription): void {
    this.#channels.add(feed, subscription);
  }

  startDelivery(subscription: Subscription): void {
    this.#channels.of(subscription).liveCount++;
  }

  stopDelivery(subscription: Subscription): void {
    this.#channels.of(subscription).liveCount--;
  }

  removeSubscription(subscription: Subscription): void {
    this.#channels.delete(subscription);
    this.journal.release(subscription.channel.name);
  }

  remove(feed: SocketFeed): void {
    this.#feeds.delete(feed);
    this.#toPump.delete(feed);
  }

  #historyReads(source: OlderHistory): HistoryReads {
    const { waitingHistoryMax = Number.POSITIVE_INFINITY, pause, beforeDelivery, events } = this.options;
    return new HistoryReads({
      source,
      journal: this.journal,
      epoch: () => this.epoch,
      waitingMax: waitingHistoryMax,
      pause,
      beforeDelivery: () => beforeDelivery?.(),
      failed: (error, channel) => events.failed(error, channel),
      events: events.history,
    });
  }

  #source(): Head {
    assert(this.#head !== undefined, 'the hub follows a head');
    return this.#head;
  }

  #queue(entry: Entry): void {
    this.#sequence = Math.max(this.#sequence, entry.sequence);
    this.#delivery.queue(entry);
  }

  #recheck(marks: readonly Mark[], xid: number): void {
    const seen = this.#revocations.add(marks, xid);
    const concerned = new Map<SocketFeed, Subscription[]>();
    for (const mark of marks) {
      for (const [subscription, feed] of this.#channels.concerned(mark)) {
        const { name, grant } = subscription;
        if (mark.claim !== undefined && grant.hasOther?.(mark.claim)) continue;
        if (mark.kind !== RECHECKS.channel_access) {
          const schema = mark.kind === RECHECKS.channel_send ? 'channel_send' : 'channel_presence';
          grant.rightsChanged?.(name, schema, seen);
          continue;
        }
        const subscriptions = concerned.get(feed);
        if (subscriptions === undefined) concerned.set(feed, [subscription]);
        else subscriptions.push(subscription);
      }
    }
    for (const [feed, subscriptions] of concerned) feed.recheck(subscriptions, seen);
  }

  #void(mark: Mark): void {
    for (const [subscription, feed] of this.#channels.concerned(mark)) {
      const { log, name } = subscription;
      if (mark.kind === 'dropped') feed.unsubscribe(name, 'channel_dropped');
      else if (mark.kind === 'changed') feed.reset(subscription, 'channel_changed');
      // The journal may have dropped the parts.
      else if (log.voided?.sequence === mark.sequence || log.evicted > this.wholeSequence)
        feed.reset(subscription, 'lagging');
    }
  }
}
