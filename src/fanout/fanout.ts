/**
 * fanout: from the journal to the sockets. Subscriptions have cursors into the journal, and no
 * queues.
 */
import type { Writable } from 'node:stream';
import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ClaimValue } from '../channels/events.ts';
import type { ResolvedChannel } from '../channels/served/served.ts';
import type { ServerFrame, UnsubscribedCode } from '../protocol.ts';
import type { Encoding } from './encoding.ts';
import type { CommitReference } from './reach.ts';
import type { UnstoredFrame } from './unstored.ts';

export type From =
  | { readonly kind: 'now' }
  | { readonly kind: 'since'; readonly position: string }
  | { readonly kind: 'snapshot' };

/**
 * Whether a connection may still receive a channel. undeclared: no, since the access view was
 * dropped. dropped: the channel no longer exists.
 */
export type Verdict = boolean | 'undeclared' | 'dropped';

/**
 * Another name under which a client knows a channel. One connection may subscribe to a channel
 * under several names: each is a subscription of its own.
 */
export interface Alias {
  /** Frames about the subscription carry this name. */
  readonly name: string;
  /** Makes the subscription's bytes, except control frames. */
  readonly encoding: Encoding;
}

/**
 * A client's permission to receive channels. A subscription keeps the grant that it was made with,
 * and asks it again when a commit may have revoked access.
 */
export interface Grant {
  /** Id of the client's connection, for the operator. */
  readonly id?: string;
  /** The user that the token names, for the operator. */
  readonly user?: string | undefined;
  /** The client's address as limits count it. */
  readonly address?: string;
  /** Whether the client may still receive the channel. Resolves once the answer is certain. */
  stillAllowed(channel: ResolvedChannel): Promise<Verdict>;
  /** Whether the client's claim certainly has another value than this one of the access view's. */
  hasOther?(claim: ClaimValue): boolean;
  /**
   * A commit may have ended what the channel's presence view or send view allows the client.
   * Queries see the commit when `seen` resolves. `name`: the channel, as the client knows it.
   */
  rightsChanged?(name: string, schema: AccessSchema, seen: Promise<unknown>): void;
  /** The subscription that was made with this grant has ended. `name`: as the client knows it. */
  ended?(name: string): void;
}

/**
 * One connection, seen from fan-out. Everything written to its socket goes through here, in order.
 */
export interface Feed {
  /** Sends a control frame: welcome, error. Never in the middle of another frame. */
  send(frame: ServerFrame): void;
  /** Sends a complete frame of the client's protocol unchanged, in order with the others. */
  sendRaw(frame: Buffer): void;
  /** Answers a client's `ping`: a heartbeat with this connection's position. */
  heartbeat(): void;
  /**
   * Sends a heartbeat with `reached` once every live channel of the connection includes the commit.
   * After a reset of all channels the client must ask again. Returns false if the connection waits
   * for too many commits.
   */
  reach(commit: CommitReference): boolean;
  /**
   * Ends every subscription and sends a close frame after everything passed to `send` and
   * `sendRaw`. Nothing is written after it. `written` is called once the frame has been passed to
   * the socket.
   */
  close(frame: Buffer, written: () => void): void;
  /**
   * Joins a channel that the grant allows now. The feed itself sends snapshot, changes,
   * subscribed, reset or error. An `epoch` mismatch and the like is answered with `reset`.
   * `newRevocations` is the window's value when access was granted; if set, access is checked once
   * more. Without an alias, the client knows the channel by its own name.
   */
  subscribe(
    channel: ResolvedChannel,
    from: From,
    grant: Grant,
    newRevocations?: AccessCheckWindow['newRevocations'],
    alias?: Alias,
  ): void;
  /**
   * Leaves a channel and sends `unsubscribed` with the code. Returns false if it was not joined.
   * `name`: as the client knows it.
   */
  unsubscribe(name: string, code: UnsubscribedCode, verdict?: Verdict): boolean;
  /**
   * Sends an unstored frame, if the connection is subscribed to this channel: at once, or when the
   * subscription is live. Returns false if it is dropped. `name`: as the client knows it.
   */
  post(name: string, frame: UnstoredFrame): boolean;
  /** Whether little waits: few bytes for the socket, and few in unstored frames. */
  readonly takesMore: boolean;
  /** Resolves when the socket has drained, or is closed. */
  drained(): Promise<void>;
  /** `name`: as the client knows it. */
  has(name: string): boolean;
  /** The channels that are joined or being joined by this grant. */
  subscribed(grant: Grant): Iterable<Subscribed>;
  readonly subscriptionCount: number;
  readonly encoding: Encoding;
  /** Whether everything up to the head has been written for every channel that has joined. */
  readonly isComplete: boolean;
  /** Number of entries of its channels that the socket has not received. */
  readonly behind: number;
  /** Bytes that the socket has not accepted. */
  readonly pendingBytes: number;
  /** The state of each subscription. */
  states(): Iterable<SubscribedChannel>;
  /** Makes everything that is written from now on in this encoding. */
  setEncoding(encoding: Encoding): void;
  /**
   * Writes no events until `release`. Channels that join meanwhile from one position then go on
   * together, in commit order.
   */
  hold(): void;
  release(): void;
  /** Ends every subscription and writes nothing more. Called when the socket closes. */
  detach(): void;
}

/** A channel of a connection. */
export interface Subscribed {
  /** The name that the client uses. */
  readonly name: string;
  readonly channel: ResolvedChannel;
}

/** A channel of a connection, for the operator. */
export interface SubscribedChannel {
  readonly name: string;
  readonly state: 'joining' | 'catching' | 'live' | 'ended';
}

/** Observes a connection's feed. */
export interface FeedObserver {
  /** Called before the feed sends a control frame. It may send bytes that come before the frame. */
  sending(frame: ServerFrame): void;
  /** Called when nothing is left to catch up with. */
  caughtUp(): void;
}

/**
 * Tracks commits that may revoke access to a channel while an access check runs. A commit becomes
 * visible to queries only some time after the WAL delivers it.
 */
export interface AccessCheckWindow {
  /** Wait for this before asking, if set: queries may not see an earlier commit yet. */
  readonly earlierRevocations: Promise<unknown> | undefined;
  /**
   * Undefined if no commit with revocations arrived since. Otherwise it resolves when queries see
   * the commits that arrived.
   */
  readonly newRevocations: Promise<unknown> | undefined;
  close(): void;
}

export interface Fanout {
  /** The stream's current epoch. Undefined before the stream first started. */
  readonly epoch: string | undefined;
  /** Adds a connection. `encoding` makes all its bytes except those of `sendRaw`. */
  attach(socket: Writable, encoding: Encoding, observer?: FeedObserver): Feed;
  /**
   * Called before what these views allow in the channel is checked; without views, its access. The
   * caller closes the window afterwards.
   */
  openAccessCheck(channel: ResolvedChannel, schemas?: readonly AccessSchema[]): AccessCheckWindow;
  /**
   * Calls back once the stream has delivered everything committed before the call. Never calls back
   * if a new history begins.
   */
  afterCommitted(call: () => void): void;
  readonly connectionCount: number;
  readonly subscriptionCount: number;
}
