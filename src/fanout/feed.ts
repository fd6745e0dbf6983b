/**
 * One connection. Its live subscriptions receive events as they arrive. The others read from the
 * journal while the socket accepts more, in commit order across all of them. If a socket does not
 * keep up, all its subscriptions read from the journal: this costs cursors, and no queue.
 */
import type { Duplex } from 'node:stream';
import type { ResolvedChannel } from '../channels/channel.ts';
import type { Entry } from '../commit/entry.ts';
import { SnoError, toldToClient } from '../errors.ts';
import type { ChannelLog, Journal } from '../journal/journal.ts';
import type { Markers } from '../markers/markers.ts';
import type { Visibility } from '../markers/visibility.ts';
import { comparePositions, differsInGenerationOnly, type Position, parsePosition } from '../position.ts';
import type { ResetReason, ServerFrame, UnsubscribedCode } from '../protocol.ts';
import { textFrame } from '../websocket/frame.ts';
import { Vigil, type VigilHost } from './access/hold.ts';
import type { Attendance, Feed, FeedOwner, From, Verdict } from './fanout.ts';
import type { HubOptions } from './options.ts';
import type { OutboundBudget } from './outbound.ts';
import { Outbox } from './outbox.ts';
import { type CommitReference, Reaches, type ReachWaiter } from './reach.ts';
import type { Segments } from './segments.ts';
import { Arrival } from './snapshots/delivery.ts';
import { Subscription } from './subscription.ts';

/**
 * Maximum attempts to take a snapshot. A snapshot is taken again if it does not see a commit that
 * the journal has dropped.
 */
const SNAPSHOT_ATTEMPTS_MAX = 30;
/** A sequence before every entry. */
const NOTHING = -1;

/** What a feed needs from the hub. */
export interface FeedHost {
  /**
   * Joined frames for clients that catch up. `deflated`: for clients that accept compressed frames.
   */
  readonly segments: Readonly<Record<'plain' | 'deflated', Segments>>;
  readonly options: HubOptions;
  readonly journal: Journal;
  readonly markers: Markers;
  readonly outbound: OutboundBudget;
  readonly epoch: string | undefined;
  /** No entry lies after this position. */
  readonly frontier: Position;
  readonly headText: string;
  /** Sequence of the last entry. */
  readonly sequence: number;
  readonly wholeSequence: number;
  /**
   * Sequence of the last entry of the ended commits. If the snapshot sees the commit that has not
   * ended, its entries count too.
   */
  seenSequence(visibility: Visibility): number;
  /** `reached` is set in an answer to `reach`. Writes pending events first. */
  heartbeatFrame(reached?: string): Buffer;
  /**
   * Writes pending events to all live subscriptions. Must be called before a subscription stops
   * being live.
   */
  write(): void;
  /** Returns the channel's log, retained until `ended`. */
  hold(channel: ResolvedChannel): ChannelLog;
  /** Lets the feed read from the journal at the end of this turn. */
  pumpLater(feed: SocketFeed): void;
  joined(feed: SocketFeed, subscription: Subscription): void;
  /** The subscription starts to receive events as they arrive. `left`: it stops. */
  live(subscription: Subscription): void;
  left(subscription: Subscription): void;
  ended(subscription: Subscription): void;
  remove(feed: SocketFeed): void;
}

export class SocketFeed implements Feed, VigilHost, ReachWaiter {
  readonly outbox: Outbox;
  readonly deflates: boolean;
  owner: FeedOwner | undefined;
  /**
   * Set by the hub in the turn in which this feed receives events of one channel (`turn`), or of
   * several (`isMulti`).
   */
  turn = 0;
  isMulti = false;
  readonly #hub: FeedHost;
  readonly #socket: Duplex;
  readonly #subscriptions = new Map<string, Subscription>();
  #isDetached = false;
  /**
   * This client read its last snapshot more slowly than others. Its next snapshot is not shared.
   */
  #isLaggard = false;
  // The fields below are created on demand: most clients are live and wait for nothing.
  /** The subscriptions that read from the journal. Undefined: none. */
  #catching: Set<Subscription> | undefined;
  #vigil: Vigil | undefined;
  #reaches: Reaches | undefined;

  constructor(hub: FeedHost, socket: Duplex, deflates: boolean) {
    this.#hub = hub;
    this.deflates = deflates;
    this.#socket = socket;
    this.outbox = new Outbox(socket, hub.outbound);
    socket.on('drain', () => this.#drained());
  }

  get subscriptionCount(): number {
    return this.#subscriptions.size;
  }

  /** Whether everything up to the head has been written for every subscribed channel. */
  get isComplete(): boolean {
    return this.#catching === undefined;
  }

  *channels(): Iterable<ResolvedChannel> {
    for (const subscription of this.#subscriptions.values()) yield subscription.channel;
  }

  has(channel: string): boolean {
    return this.#subscriptions.has(channel);
  }

  subscriptionTo(channel: string): Subscription | undefined {
    return this.#subscriptions.get(channel);
  }

  send(frame: ServerFrame): void {
    this.sendRaw(textFrame(JSON.stringify(frame)));
  }

  sendRaw(frame: Buffer): void {
    if (this.#isDetached) return;
    if (this.outbox.answer(frame)) return;
    this.#hub.options.events.outboundFull();
    this.#socket.destroy();
  }

  heartbeat(): void {
    const frame = this.#hub.heartbeatFrame();
    if (this.isComplete) this.sendRaw(frame);
  }

  reach(commit: CommitReference): boolean {
    this.#reaches ??= new Reaches(this.#hub, this);
    return this.#reaches.ask(commit);
  }

  /** A commit that the client waits for has been reached. */
  reached(isAtOnce: boolean): void {
    if (isAtOnce) this.pump();
    else this.#hub.pumpLater(this);
  }

  close(frame: Buffer, written: () => void): void {
    this.#endAll();
    this.outbox.write(frame);
    this.outbox.close(written);
    this.#isDetached = true;
    this.#hub.remove(this);
  }

  detach(): void {
    // The frames queued before a close frame will not be accepted any more.
    if (this.#isDetached) return this.outbox.close();
    this.#isDetached = true;
    this.#endAll();
    this.outbox.close();
    this.#hub.remove(this);
  }

  subscribe(channel: ResolvedChannel, from: From, disturbed?: Attendance['disturbed']): void {
    const subscription = new Subscription(channel, this.#hub.hold(channel), this.#hub.wholeSequence);
    this.#subscriptions.set(channel.name, subscription);
    this.#hub.joined(this, subscription);
    // The position to resume from may lie after the disturbing commits.
    if (disturbed !== undefined) this.recheck([subscription], disturbed, NOTHING);
    switch (from.kind) {
      case 'now':
        // A commit is partly read: its end must not be sent without its start. Begin after it.
        if (subscription.isOvertaken) return this.#joinBehind(subscription);
        subscription.catchUpFrom(this.#hub.wholeSequence);
        this.#subscribed(channel.name, this.#hub.headText);
        return this.#catchUp(subscription);
      case 'since':
        return this.#resume(subscription, from.position);
      case 'snapshot':
        void this.#join(subscription);
    }
  }

  unsubscribe(channel: string, code: UnsubscribedCode, verdict?: Verdict): boolean {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined) return false;
    this.#end(subscription);
    this.send({ type: 'unsubscribed', channel, code, ...(verdict === 'undeclared' ? { undeclared: true } : {}) });
    return true;
  }

  reset(subscription: Subscription, reason: ResetReason): void {
    if (subscription.isEnded) return;
    this.#end(subscription);
    this.#hub.options.events.reset(reason);
    this.send({ type: 'reset', channel: subscription.channel.name, reason });
  }

  resetAll(reason: ResetReason): void {
    this.#reaches?.clear();
    for (const subscription of [...this.#subscriptions.values()]) this.reset(subscription, reason);
  }

  /**
   * A commit may have revoked access to these subscriptions; queries see the commit when `seen`
   * resolves. Until the check is answered, nothing after `upTo` is sent. This holds for all
   * channels, so that commits stay in order.
   */
  recheck(subscriptions: readonly Subscription[], seen: Promise<unknown>, upTo = this.#hub.sequence): void {
    this.fallBehind();
    this.#vigil ??= new Vigil(this);
    this.#vigil.add(subscriptions, seen, upTo);
  }

  check(subscriptions: Iterable<Subscription>): Promise<unknown> {
    return Promise.all([...subscriptions].map((each) => this.#authorize(each)));
  }

  /** The socket does not keep up: its live subscriptions read from the journal from now on. */
  fallBehind(): void {
    this.#hub.write();
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.state !== 'live') continue;
      this.#hub.left(subscription);
      subscription.fallBehind(this.#hub.sequence);
      this.#startCatching(subscription);
    }
  }

  /**
   * Writes missed entries from the journal to the subscriptions that are not live, while the socket
   * accepts more. If some remain, the live subscriptions read from the journal too: only this keeps
   * commits in order across all of them.
   */
  pump(): void {
    this.#hub.write();
    const limit = this.#vigil?.limit ?? Number.POSITIVE_INFINITY;
    for (const subscription of this.#catching ?? []) {
      if (subscription.isOvertaken) this.reset(subscription, 'lagging');
    }
    while (this.outbox.takesMore && this.#catching !== undefined) {
      const [first, until] = earliest(this.#catching, limit);
      if (first === undefined) {
        if (limit === Number.POSITIVE_INFINITY) for (const subscription of this.#catching) this.#goLive(subscription);
        break;
      }
      if (until === Number.POSITIVE_INFINITY && !first.passesOver) this.#writeSegments(first);
      else this.#writeUntil(first, until);
    }
    if (this.#catching !== undefined) this.fallBehind();
    else this.#answerReached();
  }

  /**
   * Writes the entries of the only subscription that has missed some. The pieces are shared by all
   * clients at the same place.
   */
  #writeSegments(subscription: Subscription): void {
    const segments = this.#hub.segments[this.deflates ? 'deflated' : 'plain'];
    while (this.outbox.takesMore) {
      const segment = segments.after(subscription.log, subscription.cursor, this.#hub.outbound.segmentBytes);
      if (segment === undefined) return;
      this.outbox.write(segment.bytes);
      subscription.advance(segment.sequence);
      this.#hub.options.events.delivered(segment.count);
    }
  }

  #writeUntil(subscription: Subscription, until: number): void {
    const { deflater, events } = this.#hub.options;
    for (let entry = subscription.next(); entry !== undefined && entry.sequence <= until; entry = subscription.next()) {
      this.#passSeam(subscription, entry.sequence);
      this.outbox.write(this.deflates ? deflater.frameOf(entry) : entry.frame);
      subscription.advance(entry.sequence);
      events.delivered(1);
      if (!this.outbox.takesMore) return;
    }
  }

  #answerReached(): void {
    for (const reached of this.#reaches?.take() ?? []) this.sendRaw(this.#hub.heartbeatFrame(reached));
  }

  #startCatching(subscription: Subscription): void {
    this.#catching ??= new Set();
    this.#catching.add(subscription);
  }

  #stopCatching(subscription: Subscription): void {
    this.#catching?.delete(subscription);
    if (this.#catching?.size === 0) this.#catching = undefined;
  }

  #goLive(subscription: Subscription): void {
    this.#passSeam(subscription, Number.POSITIVE_INFINITY);
    this.#stopCatching(subscription);
    subscription.goLive();
    this.#hub.live(subscription);
  }

  /**
   * Sends `subscribed` once the subscription passes the place where the snapshot and the stream
   * meet.
   */
  #passSeam(subscription: Subscription, sequence: number): void {
    const position = subscription.passSeam(sequence);
    if (position !== undefined) this.#subscribed(subscription.channel.name, position);
  }

  #subscribed(channel: string, position: string, recovered?: boolean): void {
    this.send({ type: 'subscribed', channel, position, ...(recovered === undefined ? {} : { recovered }) });
  }

  /** Called in the middle of the stream. */
  #catchUpLater(subscription: Subscription): void {
    this.#startCatching(subscription);
    this.#hub.pumpLater(this);
  }

  #catchUp(subscription: Subscription): void {
    this.#startCatching(subscription);
    this.pump();
  }

  #resume(subscription: Subscription, text: string): void {
    const { name } = subscription.channel;
    const position = parsePosition(text);
    if (position === undefined) {
      this.#end(subscription);
      this.send({
        type: 'error',
        code: 'position_invalid',
        message: 'since is no position that this server gave',
        channel: name,
      });
      return;
    }
    const { journal, epoch, frontier } = this.#hub;
    if (position.epoch !== epoch) {
      return this.reset(
        subscription,
        differsInGenerationOnly(position.epoch, epoch ?? '') ? 'slot_lost' : 'epoch_changed',
      );
    }
    // A position that this history has not reached belongs to another history.
    if (comparePositions(position, frontier) > 0) return this.reset(subscription, 'epoch_changed');
    if (comparePositions(position, journal.oldest) < 0) return this.reset(subscription, 'position_too_old');
    const { log } = subscription;
    if (log.voided !== undefined && comparePositions(position, log.voided) < 0)
      return this.reset(subscription, 'channel_changed');
    const cursor = cursorAt(log, position);
    if (log.evicted > cursor) return this.reset(subscription, 'position_too_old');
    subscription.catchUpFrom(cursor);
    this.#subscribed(name, text, true);
    this.#catchUp(subscription);
  }

  /** Joins from now on, once everything committed until now has arrived. */
  #joinBehind(subscription: Subscription): void {
    const hub = this.#hub;
    hub.markers.expect(() => {
      if (subscription.state !== 'joining') return;
      subscription.catchUpFrom(hub.wholeSequence);
      this.#subscribed(subscription.channel.name, hub.headText);
      this.#catchUpLater(subscription);
    });
  }

  async #join(subscription: Subscription): Promise<void> {
    const { channel } = subscription;
    const hub = this.#hub;
    const { outbox } = this;
    const arrival = new Arrival({
      deflates: this.deflates,
      outbox,
      isUseful: (visibility) => this.#isUseful(subscription, visibility),
      ask: () => this.#authorize(subscription),
      unanswered: () => this.#vigil?.answered,
      isEnded: () => subscription.isEnded,
    });
    try {
      for (let attempt = 1; ; attempt++) {
        // A client that accepts nothing does not get a place that others wait for.
        if (outbox.full) await outbox.writable();
        if (subscription.isEnded) return;
        const share = hub.options.snapshots.ask(channel, arrival, this.#isLaggard, this.owner?.address);
        subscription.waitForSnapshot(share.leave);
        const outcome = await share.outcome;
        if (subscription.isEnded) return;
        subscription.snapshotWritten();
        this.#isLaggard = outcome === 'lagging';
        if (this.#isLaggard) return this.reset(subscription, 'lagging');
        if (outcome === 'whole') {
          await arrival.written;
          if (subscription.isEnded) return;
          break;
        }
        if (attempt === SNAPSHOT_ATTEMPTS_MAX)
          throw new SnoError('try_again', `commits of ${channel.name} do not become visible`);
        await hub.options.pause(attempt);
      }
    } catch (error) {
      if (subscription.isEnded) return;
      if (!(error instanceof SnoError)) throw error;
      this.#end(subscription);
      hub.options.events.failed(error, channel.name);
      this.send({ type: 'error', ...toldToClient(error), channel: channel.name });
      return;
    }
    hub.markers.expect(() => {
      if (subscription.state !== 'joining') return;
      subscription.catchUpAfterSnapshot(hub.wholeSequence, hub.headText);
      this.#catchUpLater(subscription);
    });
  }

  /** Whether the snapshot and the journal together contain everything. */
  #isUseful(subscription: Subscription, visibility: Visibility): boolean {
    // The snapshot must not show the view as it was before a redefinition that has already arrived.
    const { voided } = subscription.log;
    const isOld = voided !== undefined && voided.xid !== 0 && !visibility.sees(voided.xid);
    if (isOld || this.#hub.journal.evictedUnseen((xid) => !visibility.sees(xid))) return false;
    return subscription.takeSnapshot(visibility, this.#hub.seenSequence(visibility));
  }

  /** Ends a subscription that is no longer allowed. */
  async #authorize(subscription: Subscription): Promise<void> {
    if (subscription.isEnded) return;
    const verdict = await this.owner?.authorize(subscription.channel);
    // The client may have left the channel meanwhile.
    if (verdict === true || subscription.isEnded) return;
    const code = verdict === 'dropped' ? 'channel_dropped' : 'access_revoked';
    this.unsubscribe(subscription.channel.name, code, verdict);
  }

  #drained(): void {
    this.#hub.options.beforeDelivery?.();
    if (this.outbox.drained()) this.pump();
    this.owner?.drained();
  }

  #end(subscription: Subscription): void {
    if (subscription.state === 'live') this.#hub.left(subscription);
    this.#stopCatching(subscription);
    subscription.end();
    this.#subscriptions.delete(subscription.channel.name);
    this.#hub.ended(subscription);
  }

  #endAll(): void {
    this.#reaches?.clear();
    for (const subscription of [...this.#subscriptions.values()]) this.#end(subscription);
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

/**
 * Returns the subscription whose next entry comes first, up to `limit`. Also returns the sequence
 * up to which it may continue before another subscription's turn.
 */
function earliest(catching: Iterable<Subscription>, limit: number): readonly [Subscription | undefined, number] {
  let first: Subscription | undefined;
  let nearest = Number.POSITIVE_INFINITY;
  let second = limit;
  for (const subscription of catching) {
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
