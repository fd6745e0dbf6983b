/**
 * The types of the client's state machine: its state (State), its inputs (Happening) and its
 * outputs (Effect). docs/client-states.md is its table of states and its invariants.
 */
import type { ChangesFrame, ClientFrame, ResetReason, ServerFrame, SnapshotRow } from '../../protocol.ts';
import type { Failure } from '../error.ts';
import type { Commit, Message } from '../event.ts';

/** Where the token comes from: a fixed one cannot be renewed. */
export type TokenSource = 'none' | 'fixed' | 'callback';

/**
 * idle: not started. authorizing: waits for the token callback. opening: the socket is being
 * opened. greeting: hello and subscribes were sent, `welcome` has not arrived. open: `welcome` has
 * arrived. waiting: until the next attempt. closed: for good.
 */
export type LinkPhase = 'idle' | 'authorizing' | 'opening' | 'greeting' | 'open' | 'waiting' | 'closed';

/** The connection. */
export interface Link {
  readonly phase: LinkPhase;
  readonly tokenSource: TokenSource;
  /** Connections lost since the last one that received a heartbeat. */
  readonly attempt: number;
  readonly heartbeatMs: number;
  /**
   * Doubled when silence ended a connection, since one huge frame over a slow line is silent too.
   */
  readonly patience: number;
  /** The last token sent to the server. */
  readonly token: string | undefined;
  /**
   * How often the token callback was called on open connections since it last returned another
   * token.
   */
  readonly tokenAttempt: number;
  /** The token callback was called on an open connection, and has not answered. */
  readonly asking: boolean;
  /** A ping was sent to check the connection, and nothing has arrived since. */
  readonly probing: boolean;
  /** Why the last connection ended, or an error frame that may explain the close that follows. */
  readonly failure: Failure | undefined;
}

/**
 * waiting: wanted, but hello was not sent. joining: subscribe was sent. live: `subscribed` arrived.
 * leaving: unsubscribe was sent; frames until its answer belong to the old subscription. delayed:
 * until its timer. unauthorized: needs a new token. ended: for good, or until its timer if
 * `ending.isRetried`.
 */
export type Phase = 'waiting' | 'joining' | 'live' | 'leaving' | 'delayed' | 'unauthorized' | 'ended';

/** What a handle wants: only events, a snapshot before them, or rows that are kept. */
export type Want = 'events' | 'snapshot' | 'rows';

export interface Ending {
  readonly status: 'error' | 'closed';
  readonly failure: Failure;
  /** The client tries again by itself, with growing waits. */
  readonly isRetried: boolean;
  /** `ready` rejects. True if the client gave up, or the channel's name may be mistyped. */
  readonly rejects: boolean;
}

/** The state of one channel, shared by all its handles. */
export interface Subscription {
  readonly channel: string;
  readonly phase: Phase;
  /** Open handles, by what they want. */
  readonly wants: Readonly<Record<Want, number>>;
  /**
   * The position of the last delivered whole commit or message, sent as `since` in the next
   * subscribe.
   */
  readonly position: string | undefined;
  /** Rows are held, and are those of `position`. */
  readonly rows: boolean;
  /**
   * Whether the handles hold nothing yet, hold the state at `position`, or hold state that a reset
   * made void.
   */
  readonly held: 'nothing' | 'current' | 'void';
  /** Delays since the last heartbeat. */
  readonly attempt: number;
  /**
   * The server reported once that the newest token has expired. That report may have crossed the
   * frame with this token.
   */
  readonly suspect: boolean;
  /** The options of the last subscribe. */
  readonly asked: 'snapshot' | 'since' | 'now';
  /** A handle waits for access: a refusal is retried. */
  readonly waitsForAccess: boolean;
  /** A handle wants the rows before updates and deletes. */
  readonly old: boolean;
  /** delayed: until the connection has room for another subscription. */
  readonly crowded: boolean;
  /** joining: the snapshot's parts. */
  readonly snapshot: readonly (readonly SnapshotRow[])[];
  readonly snapshotWhole: boolean;
  /** joining: whole commits and messages that arrived before `subscribed`. */
  readonly early: readonly Item[];
  /** The parts of a commit whose last part has not arrived, and the messages between them. */
  readonly parts: readonly ChangesFrame[];
  readonly between: readonly Item[];
  /** How and why it ended. It stays while the client tries again by itself, until `subscribed`. */
  readonly ending: Ending | undefined;
}

export type ChannelStatus = 'connecting' | 'syncing' | 'live' | 'stale' | 'resyncing' | 'error' | 'closed';
export type ClientStatus = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

export interface State {
  readonly link: Link;
  readonly subscriptions: ReadonlyMap<string, Subscription>;
}

/**
 * `watchdog`: the server has been silent for too long. `reconnect`: connect again. `refresh`: the
 * token expires soon. `channel:...`: join the channel again.
 */
export type Timer = 'watchdog' | 'reconnect' | 'refresh' | `channel:${string}`;

export type Happening =
  | { readonly type: 'start' }
  /** `refreshMs`: time until a newer token should be requested, in ms. Undefined: unknown. */
  | { readonly type: 'token'; readonly token: string | undefined; readonly refreshMs: number | undefined }
  | { readonly type: 'tokenFailed'; readonly message: string; readonly isFinal: boolean }
  | { readonly type: 'opened' }
  | { readonly type: 'frame'; readonly frame: ServerFrame }
  | { readonly type: 'garbled'; readonly message: string }
  /**
   * `hint`: the platform's text, and what to check. `isTooLarge`: a frame was too large for this
   * side.
   */
  | {
      readonly type: 'lost';
      readonly code: number;
      readonly reason: string;
      readonly hint: string;
      readonly isTooLarge: boolean | undefined;
    }
  /** The websocket class refuses the URL. */
  | { readonly type: 'unopenable'; readonly message: string }
  | { readonly type: 'timer'; readonly timer: Timer }
  /**
   * The network may have changed, or the page or the machine slept. `isTokenDue`: a newer token
   * should have been requested meanwhile.
   */
  | { readonly type: 'wake'; readonly isTokenDue?: boolean }
  | {
      readonly type: 'acquire';
      readonly channel: string;
      readonly want: Want;
      readonly since?: string | undefined;
      readonly waitsForAccess?: boolean;
      readonly old?: boolean;
    }
  | { readonly type: 'release'; readonly channel: string; readonly want: Want }
  /** An extension asks for something else in the next subscribe. */
  | { readonly type: 'rejoin'; readonly channel: string }
  | { readonly type: 'close' };

export type Item<Row = unknown> =
  | { readonly kind: 'commit'; readonly commit: Commit<Row> }
  | { readonly kind: 'message'; readonly message: Message };

/**
 * `snapshot_requested` is made by the client: a handle requested a snapshot of a channel that was
 * live without one.
 */
export type ClientResetReason = ResetReason | 'snapshot_requested';

/** What the handles of a channel receive. */
export type Delivery<Row = unknown> =
  | Item<Row>
  /**
   * At `subscribed`: the state at one consistent point. `rows` if a snapshot was requested. The
   * handle applies `items` to it.
   */
  | {
      readonly kind: 'joined';
      readonly rows: readonly SnapshotRow<Row>[] | undefined;
      readonly items: readonly Item<Row>[];
      readonly position: string;
      readonly recovered: boolean;
    }
  | { readonly kind: 'reset'; readonly reason: ClientResetReason }
  /** The position to resume from, after everything delivered so far or after a heartbeat. */
  | { readonly kind: 'position'; readonly position: string }
  /** Earlier deliveries include the commit. */
  | { readonly kind: 'reached'; readonly commit: string }
  | { readonly kind: 'status'; readonly status: ChannelStatus; readonly failure: Failure | undefined };

export type Effect =
  /**
   * Calls the token callback. The first answer that arrives while the machine waits for one counts.
   */
  | { readonly type: 'askToken' }
  | { readonly type: 'open' }
  | { readonly type: 'send'; readonly frame: ClientFrame }
  /** Closes the socket and drops it: its later events are ignored. */
  | { readonly type: 'drop'; readonly code: number }
  /** Starts or restarts a timer: for `ms`, or for the backoff's wait before this attempt. */
  | { readonly type: 'schedule'; readonly timer: Timer; readonly ms: number }
  | { readonly type: 'retry'; readonly timer: Timer; readonly attempt: number; readonly slow: boolean }
  | { readonly type: 'cancel'; readonly timer: Timer }
  | { readonly type: 'deliver'; readonly channel: string; readonly delivery: Delivery }
  | { readonly type: 'status'; readonly status: ClientStatus; readonly failure: Failure | undefined }
  | { readonly type: 'error'; readonly failure: Failure; readonly channel: string | undefined };
