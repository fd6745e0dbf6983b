/**
 * fanout: from the journal to sockets. No queue per subscriber, only cursors into the journal.
 */
import type { Duplex } from 'node:stream';
import type { ResolvedChannel } from '../channels/channel.ts';
import type { ServerFrame, UnsubscribedCode } from '../protocol.ts';
import type { CommitReference } from './reach.ts';

export type From =
  | { readonly kind: 'now' }
  | { readonly kind: 'since'; readonly position: string }
  | { readonly kind: 'snapshot' };

/** Whether a connection may still hear a channel. undeclared: it may not, since the access view was dropped. dropped: there is no channel. */
export type Verdict = boolean | 'undeclared' | 'dropped';

/** Whose connection it is. */
export interface FeedOwner {
  /** As limits count it. */
  readonly address?: string;
  /**
   * Whether the connection may still hear the channel, asked when a commit may have taken that away. Answers when it is known for
   * sure.
   */
  authorize(channel: ResolvedChannel): Promise<Verdict>;
  /** The socket has taken what was sent. More may have been written to it since. */
  drained(): void;
}

/** One connection, as the fan-out sees it. Everything that is written to its socket goes through here, in order. */
export interface Feed {
  /** Sends a frame of its own: welcome, error. Never in the middle of another frame. */
  send(frame: ServerFrame): void;
  /** Sends a whole websocket frame as it is (ping, pong), in order with the others. */
  sendRaw(frame: Buffer): void;
  /** Answers a client's `ping`: a heartbeat with this connection's position. */
  heartbeat(): void;
  /**
   * Sends a heartbeat with `reached` once every live channel of the connection includes the commit; after a reset of all of
   * them it has to be asked for anew. False where the connection waits for too many.
   */
  reach(commit: CommitReference): boolean;
  /**
   * Ends every subscription and sends a close frame after what `send` and `sendRaw` were given; nothing is written after
   * it. `written` is called once the frame has been handed to the socket.
   */
  close(frame: Buffer, written: () => void): void;
  /**
   * Joins a channel; the caller has checked access. The feed itself sends snapshot, changes, subscribed, reset or
   * error. `epoch` mismatches and the like are answered with `reset`. `disturbed` as it was when access was granted: then
   * it is checked once more.
   */
  subscribe(channel: ResolvedChannel, from: From, disturbed?: Attendance['disturbed']): void;
  /** Set by the caller. */
  owner: FeedOwner | undefined;
  /** Leaves a channel and says `unsubscribed` with the code; false where it was not joined. */
  unsubscribe(channel: string, code: UnsubscribedCode, verdict?: Verdict): boolean;
  has(channel: string): boolean;
  /** The channels joined or being joined. */
  channels(): Iterable<ResolvedChannel>;
  readonly subscriptionCount: number;
  /** Whether the client takes compressed frames. */
  readonly deflates: boolean;
  /** Ends every subscription and writes nothing more. Call when the socket closes. */
  detach(): void;
}

/**
 * While access to a channel is being asked for: the commits that may take it away. Queries do not see a commit at once
 * when the WAL tells of it.
 */
export interface Attendance {
  /** To be waited for before asking, where queries did not see an earlier commit yet. */
  readonly settled: Promise<unknown> | undefined;
  /** Undefined where none has come since; else it resolves when queries see those that have. */
  readonly disturbed: Promise<unknown> | undefined;
  end(): void;
}

export interface Fanout {
  /** The epoch that the stream is in; undefined before the stream started for the first time. */
  readonly epoch: string | undefined;
  /** `deflates`: the client takes compressed frames. */
  attach(socket: Duplex, deflates: boolean): Feed;
  /** Access to the channel is going to be asked for; `end` is to be called in the end. */
  attend(channel: ResolvedChannel): Attendance;
  /** Calls back once everything that was committed before the call has come out of the stream; never, where another history begins. */
  afterCommitted(call: () => void): void;
  readonly connectionCount: number;
  readonly subscriptionCount: number;
}
