/**
 * One connection. Everything written to its socket goes through here, in order.
 *
 * The life of a subscription (subscription.ts draws its states):
 *
 * 1. `subscribe` creates it and lets it join (joining.ts): from now on, from a position, or with a
 *    snapshot.
 * 2. It catches up: it reads what it has missed from the journal, at the pace of the socket, in
 *    commit order with all others of the connection that catch up (catch-up.ts).
 * 3. When nothing is left to read, it is live: the hub writes its events as they arrive
 *    (live/delivery.ts). The hub does so only while all subscriptions of the connection are live or
 *    joining. Only this keeps commits in order across all of them.
 * 4. If the socket does not keep up, or access must be checked again, all its live subscriptions
 *    fall behind: they catch up again. This costs cursors, and no queue.
 *
 * While an access check is pending (access/hold.ts), nothing after the commit in question is
 * written: the connection catches up to there, and no further.
 *
 * Control frames (welcome, heartbeats, errors) are written at once, between other frames.
 */
import type { Writable } from 'node:stream';
import type { ResolvedChannel } from '../channels/served/served.ts';
import { type SnoError, toldToClient } from '../errors.ts';
import type { ChannelLog } from '../journal/journal.ts';
import type { HeartbeatFrame, ResetReason, ServerFrame, UnsubscribedCode } from '../protocol.ts';
import { AccessHold, type HeldConnection } from './access/hold.ts';
import { CatchUp, type CatchUpFeed, type CatchUpHub } from './catch-up.ts';
import type { Encoding } from './encoding.ts';
import type { EncodingGroup } from './encoding-group.ts';
import type {
  AccessCheckWindow,
  Alias,
  Feed,
  FeedObserver,
  From,
  Grant,
  Subscribed,
  SubscribedChannel,
  Verdict,
} from './fanout.ts';
import { Joining, type JoiningFeed, type JoiningHub } from './joining.ts';
import type { OutboundBudget } from './outbound.ts';
import { Outbox } from './outbox.ts';
import { type CommitReference, Reaches, type ReachWaiter } from './reach.ts';
import { SnapshotTurns } from './snapshots/turns.ts';
import { BEFORE_ALL, Subscription } from './subscription.ts';
import type { UnstoredFrame } from './unstored.ts';
import { WaitingFrames } from './waiting-frames.ts';

/** What a feed needs from the hub. */
export interface FeedHub extends CatchUpHub, JoiningHub {
  readonly outbound: OutboundBudget;
  /** `reached` is set in an answer to `reach`. Writes pending events first. */
  heartbeatFrame(feed: SocketFeed, reached?: string): HeartbeatFrame;
  /**
   * Writes pending events to the live subscriptions of a connection, and of others with it. Must be
   * called before a subscription starts or stops being live.
   */
  writeTo(feed: SocketFeed): void;
  /** Returns the channel's log, retained until `removeSubscription`. */
  retain(channel: ResolvedChannel): ChannelLog;
  /** Lets the feed read from the journal at the end of this turn. */
  pumpLater(feed: SocketFeed): void;
  /** Returns the connections of an encoding. */
  groupOf(encoding: Encoding): EncodingGroup;
  addSubscription(feed: SocketFeed, subscription: Subscription): void;
  removeSubscription(subscription: Subscription): void;
  /** The subscription is live: it receives events as they arrive. */
  startDelivery(subscription: Subscription): void;
  stopDelivery(subscription: Subscription): void;
  remove(feed: SocketFeed): void;
}

export class SocketFeed implements Feed, CatchUpFeed, JoiningFeed, HeldConnection, ReachWaiter {
  readonly outbox: Outbox;
  /** The connections of its encoding. Subscriptions with another name have their own group. */
  group: EncodingGroup;
  /** The index of its slice: live/slices.ts. */
  readonly slice: number;
  /** Set by joining.ts. */
  isLaggard = false;
  /**
   * Set by live/delivery.ts: the last round in which this feed received events, and whether it gets
   * events of several channels in this round.
   */
  round = 0;
  isMulti = false;
  readonly #hub: FeedHub;
  readonly #socket: Writable;
  readonly #observer: FeedObserver | undefined;
  /** By the names that the client knows. */
  readonly #subscriptions = new Map<string, Subscription>();
  #isDetached = false;
  #isHeld = false;
  // The fields below are created on demand: most clients are live and need none of them.
  /** Undefined: no subscription reads from the journal. */
  #catchUp: CatchUp | undefined;
  #accessHold: AccessHold | undefined;
  #reaches: Reaches | undefined;
  #snapshotTurns: SnapshotTurns | undefined;
  /** Unstored frames that wait for subscriptions that are not live. */
  #waiting: WaitingFrames | undefined;

  constructor(hub: FeedHub, socket: Writable, group: EncodingGroup, slice: number, observer?: FeedObserver) {
    this.#hub = hub;
    this.slice = slice;
    this.#observer = observer;
    this.group = group;
    this.#socket = socket;
    this.outbox = new Outbox(socket, hub.outbound);
    socket.on('drain', () => this.#onDrain());
  }

  get encoding(): Encoding {
    return this.group.encoding;
  }

  setEncoding(encoding: Encoding): void {
    // Pending events belong to the earlier encoding.
    this.#hub.writeTo(this);
    this.group = this.#hub.groupOf(encoding);
  }

  get subscriptionCount(): number {
    return this.#subscriptions.size;
  }

  get isComplete(): boolean {
    return this.#catchUp === undefined;
  }

  get behind(): number {
    let behind = 0;
    for (const subscription of this.#catchUp?.subscriptions ?? []) behind += subscription.behind;
    return behind;
  }

  get pendingBytes(): number {
    return this.outbox.pendingBytes;
  }

  get snapshotTurns(): SnapshotTurns {
    this.#snapshotTurns ??= new SnapshotTurns();
    return this.#snapshotTurns;
  }

  *states(): Iterable<SubscribedChannel> {
    for (const { channel, state } of this.#subscriptions.values()) yield { name: channel.name, state };
  }

  *subscribed(grant: Grant): Iterable<Subscribed> {
    for (const subscription of this.#subscriptions.values()) if (subscription.grant === grant) yield subscription;
  }

  has(name: string): boolean {
    return this.#subscriptions.has(name);
  }

  subscriptionTo(name: string): Subscription | undefined {
    return this.#subscriptions.get(name);
  }

  groupOf({ naming }: Subscription): EncodingGroup {
    return naming?.group ?? this.group;
  }

  // Control frames:

  send(frame: ServerFrame): void {
    this.#observer?.sending(frame);
    this.sendRaw(this.encoding.control(frame));
  }

  sendRaw(frame: Buffer): void {
    if (this.#isDetached || this.outbox.answer(frame)) return;
    this.#hub.options.events.outboundFull();
    this.#socket.destroy();
  }

  sendSubscribed({ name }: Subscription, position: string, recovered?: boolean): void {
    // other channels are ahead of what this one catches up with, but not by more from now on
    this.#hub.writeTo(this);
    const frame = { type: 'subscribed', channel: name, position } as const;
    this.send(recovered === undefined ? frame : { ...frame, recovered });
  }

  heartbeat(): void {
    const frame = this.#hub.heartbeatFrame(this);
    if (this.isComplete) this.send(frame);
  }

  reach(commit: CommitReference): boolean {
    this.#reaches ??= new Reaches(this.#hub, this);
    return this.#reaches.ask(commit);
  }

  /** A commit that the client waits for has been reached. */
  onReached(isAtOnce: boolean): void {
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

  // Subscriptions begin and end:

  subscribe(
    channel: ResolvedChannel,
    from: From,
    grant: Grant,
    newRevocations?: AccessCheckWindow['newRevocations'],
    alias?: Alias,
  ): void {
    const hub = this.#hub;
    const naming = alias && { name: alias.name, group: hub.groupOf(alias.encoding) };
    const subscription = new Subscription(channel, grant, hub.retain(channel), hub.wholeSequence, naming);
    this.#subscriptions.set(subscription.name, subscription);
    this.#hub.addSubscription(this, subscription);
    // The position to resume from may lie after these commits.
    if (newRevocations !== undefined) this.recheck([subscription], newRevocations, BEFORE_ALL);
    new Joining(this.#hub, this, subscription).start(from);
  }

  post(name: string, frame: UnstoredFrame): boolean {
    const subscription = this.#subscriptions.get(name);
    if (subscription === undefined) return false;
    this.#hub.writeTo(this);
    return this.postTo(subscription, frame);
  }

  /** Sends an unstored frame. Call it after earlier events have been written. */
  postTo(subscription: Subscription, frame: UnstoredFrame): boolean {
    if (subscription.state !== 'live') {
      this.#waiting ??= new WaitingFrames();
      return this.#waiting.add(subscription, frame, this.outbox.bytesMax - this.outbox.pendingBytes);
    }
    this.outbox.write(frame.in(this.groupOf(subscription).encoding));
    if (this.outbox.full) this.fallBehind();
    return true;
  }

  get takesMore(): boolean {
    return this.outbox.takesMore && (this.#waiting?.bytes ?? 0) < this.#hub.outbound.sliceBytes;
  }

  drained(): Promise<void> {
    return this.outbox.writable();
  }

  unsubscribe(name: string, code: UnsubscribedCode, verdict?: Verdict): boolean {
    const subscription = this.#subscriptions.get(name);
    if (subscription === undefined) return false;
    this.#end(subscription);
    this.send({ type: 'unsubscribed', channel: name, code, ...(verdict === 'undeclared' ? { undeclared: true } : {}) });
    return true;
  }

  reset(subscription: Subscription, reason: ResetReason): void {
    if (subscription.isEnded) return;
    this.#end(subscription);
    const { events, patterns } = this.#hub.options;
    const { name, pattern } = subscription.channel;
    events.reset(reason, name);
    patterns.of(pattern.text).resets++;
    this.send({ type: 'reset', channel: subscription.name, reason });
  }

  resetAll(reason: ResetReason): void {
    this.#reaches?.clear();
    for (const subscription of [...this.#subscriptions.values()]) this.reset(subscription, reason);
  }

  fail(subscription: Subscription, error: SnoError): void {
    this.#end(subscription);
    const { events, patterns } = this.#hub.options;
    const { name, channel } = subscription;
    const { pattern } = channel;
    events.refused?.(error);
    patterns.of(pattern.text).denials++;
    this.send({ type: 'error', ...toldToClient(error), channel: name });
  }

  // Checking access again:

  /**
   * A commit may have revoked access to these subscriptions; queries see the commit when `seen`
   * resolves. Until the check is answered, nothing after `upTo` is sent. This holds for all
   * channels, so that commits stay in order.
   */
  recheck(subscriptions: readonly Subscription[], seen: Promise<unknown>, upTo = this.#hub.sequence): void {
    this.fallBehind();
    this.#accessHold ??= new AccessHold(this);
    this.#accessHold.add(subscriptions, seen, upTo);
  }

  get pendingChecks(): Promise<void> | undefined {
    return this.#accessHold?.answered;
  }

  // Catching up:

  /** Makes the live subscriptions read from the journal from now on. */
  fallBehind(): void {
    this.#hub.writeTo(this);
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.state !== 'live') continue;
      this.#hub.stopDelivery(subscription);
      subscription.fallBehind(this.#hub.sequence);
      this.#startCatching(subscription);
    }
  }

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.pump();
  }

  /**
   * Writes missed entries from the journal, while the socket accepts more. If some remain, the live
   * subscriptions fall behind too.
   */
  pump(): void {
    if (this.#isHeld) return;
    this.#hub.writeTo(this);
    const catchUp = this.#catchUp;
    if (catchUp !== undefined) {
      const limit = this.#accessHold?.limit ?? Number.POSITIVE_INFINITY;
      for (const subscription of catchUp.subscriptions)
        if (subscription.isOvertaken) this.reset(subscription, 'lagging');
      if (catchUp.write(limit) && limit === Number.POSITIVE_INFINITY)
        for (const subscription of catchUp.subscriptions) this.#goLive(subscription);
    }
    if (this.#catchUp !== undefined) {
      this.fallBehind();
      return;
    }
    for (const reached of this.#reaches?.take() ?? []) this.send(this.#hub.heartbeatFrame(this, reached));
    this.#observer?.caughtUp();
  }

  catchUp(subscription: Subscription): void {
    this.#startCatching(subscription);
    this.pump();
  }

  catchUpLater(subscription: Subscription): void {
    // Later commits of its other channels must not be written before what this one has missed.
    this.fallBehind();
    this.#startCatching(subscription);
    this.#hub.pumpLater(this);
  }

  passSeam(subscription: Subscription, sequence: number): void {
    const position = subscription.passSeam(sequence);
    if (position !== undefined) this.sendSubscribed(subscription, position);
  }

  #startCatching(subscription: Subscription): void {
    this.#catchUp ??= new CatchUp(this.#hub, this);
    this.#catchUp.add(subscription);
  }

  #stopCatching(subscription: Subscription): void {
    this.#catchUp?.delete(subscription);
    if (this.#catchUp?.subscriptions.size === 0) this.#catchUp = undefined;
  }

  #goLive(subscription: Subscription): void {
    this.passSeam(subscription, Number.POSITIVE_INFINITY);
    this.#stopCatching(subscription);
    subscription.goLive();
    this.#hub.startDelivery(subscription);
    const { encoding } = this.groupOf(subscription);
    for (const frame of this.#waiting?.take(subscription) ?? []) this.outbox.write(frame.in(encoding));
  }

  #onDrain(): void {
    this.#hub.options.beforeDelivery?.();
    if (this.outbox.onDrain()) this.pump();
  }

  #end(subscription: Subscription): void {
    if (subscription.state === 'live') this.#hub.stopDelivery(subscription);
    this.#stopCatching(subscription);
    subscription.end();
    this.#subscriptions.delete(subscription.name);
    this.#hub.removeSubscription(subscription);
    subscription.grant.ended?.(subscription.name);
  }

  #endAll(): void {
    this.#reaches?.clear();
    for (const subscription of [...this.#subscriptions.values()]) this.#end(subscription);
  }
}
