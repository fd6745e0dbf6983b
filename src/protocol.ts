/**
 * The wire protocol, `wss://host/v1`, JSON text frames (docs/protocol.md). Shared by server and
 * client; no imports. A change of the protocol is written here, above the version.
 *
 * 1: first version. Added since, and ignored by the side that does not know it: `reached` of ping
 * and heartbeat; `send`, and `from` of message; `presence`; `old` of subscribe and events.
 */
export const PROTOCOL_VERSION = 1;

/**
 * How long a client may take to send its hello, in seconds, unless the server's settings differ.
 */
export const HELLO_SECONDS = 5;
/** How often the server sends a heartbeat on each connection, in seconds. */
export const HEARTBEAT_SECONDS = 25;

// client -> server

export type ClientFrame =
  | { readonly type: 'hello'; readonly token?: string }
  | {
      readonly type: 'subscribe';
      readonly channel: string;
      readonly snapshot?: boolean;
      readonly since?: string;
      /** true: appear as a member, and watch. */
      readonly presence?: boolean | 'watch';
      /** Whether updates and deletes carry the old row, where the server has it. */
      readonly old?: boolean;
    }
  | { readonly type: 'unsubscribe'; readonly channel: string }
  | { readonly type: 'token'; readonly token: string }
  /** Reaches the other subscribers of the channel as a `message`. */
  | { readonly type: 'send'; readonly channel: string; readonly event: string; readonly data?: unknown }
  /**
   * `reached`: answer once every live channel of this connection includes this commit, given as an
   * LSN (`0/16B3748`) or a transaction id (`741`).
   */
  | { readonly type: 'ping'; readonly reached?: string };

// server -> client

/** The columns that identify a row, by name. */
export type Key = Readonly<Record<string, unknown>>;

export interface SnapshotRow<Row = unknown> {
  readonly key: Key;
  readonly data: Row;
}

export type ChangeEvent<Row = unknown> =
  | { readonly op: 'insert'; readonly key: Key; readonly data: Row; readonly unchanged?: readonly string[] }
  | {
      readonly op: 'update';
      readonly key: Key;
      readonly data: Row;
      readonly unchanged?: readonly string[];
      /** The row before. Undefined: not asked for, or the WAL has only its identity. */
      readonly old?: Row;
    }
  | { readonly op: 'delete'; readonly key: Key; readonly old?: Row }
  | { readonly op: 'truncate' };

export type ResetReason = 'position_too_old' | 'epoch_changed' | 'channel_changed' | 'lagging' | 'slot_lost';
export type UnsubscribedCode = 'access_revoked' | 'token_expired' | 'channel_dropped' | 'client';

export interface WelcomeFrame {
  readonly type: 'welcome';
  readonly connection: string;
  readonly epoch: string;
  readonly heartbeat_s: number;
}
export interface SnapshotFrame<Row = unknown> {
  readonly type: 'snapshot';
  readonly channel: string;
  readonly rows: readonly SnapshotRow<Row>[];
  readonly part: number;
  readonly last: boolean;
}
export interface SubscribedFrame {
  readonly type: 'subscribed';
  readonly channel: string;
  readonly position: string;
  readonly recovered?: boolean;
}
export interface ChangesFrame<Row = unknown> {
  readonly type: 'changes';
  readonly channel: string;
  readonly position: string;
  /**
   * The commit's end LSN. In the parts of a commit before its last, where it is not known yet: the
   * LSN of the commit record.
   */
  readonly lsn: string;
  readonly xid: number;
  readonly committed_at: string;
  /** The W3C traceparent that the transaction named by `sno.trace`. */
  readonly trace?: string;
  readonly events: readonly ChangeEvent<Row>[];
  readonly part?: number;
  readonly last?: boolean;
}
export interface MessageFrame {
  readonly type: 'message';
  readonly channel: string;
  /** Undefined: a client sent it. It is not stored. */
  readonly position?: string;
  /** Set if a client sent it: the user that its token names; null if it names none. */
  readonly from?: string | null;
  /** As in `changes`. */
  readonly trace?: string;
  readonly event: string;
  readonly data: unknown;
}
export interface PresenceMember {
  readonly id: string;
  /** What the presence view shows of the member. */
  readonly info: Readonly<Record<string, unknown>>;
}
export interface PresenceFrame {
  readonly type: 'presence';
  readonly channel: string;
  /** All members. `joined` of the next frames adds those that do not fit into one frame. */
  readonly members?: readonly PresenceMember[];
  /** New members, and members whose `info` has changed. */
  readonly joined?: readonly PresenceMember[];
  readonly left?: readonly PresenceMember[];
}
export interface HeartbeatFrame {
  readonly type: 'heartbeat';
  readonly position: string;
  /** The answer to a ping's `reached`, with the client's own text. */
  readonly reached?: string;
}
export interface ResetFrame {
  readonly type: 'reset';
  readonly channel: string;
  readonly reason: ResetReason;
}
export interface UnsubscribedFrame {
  readonly type: 'unsubscribed';
  readonly channel: string;
  readonly code: UnsubscribedCode;
  /**
   * With `access_revoked`: the access view was dropped, so no client may subscribe until another
   * one exists.
   */
  readonly undeclared?: true;
}
export interface ErrorFrame {
  readonly type: 'error';
  readonly code: string;
  readonly message: string;
  readonly channel?: string;
}
export type ServerFrame<Row = unknown> =
  | WelcomeFrame
  | SnapshotFrame<Row>
  | SubscribedFrame
  | ChangesFrame<Row>
  | MessageFrame
  | PresenceFrame
  | HeartbeatFrame
  | ResetFrame
  | UnsubscribedFrame
  | ErrorFrame;

/**
 * Websocket close codes. 1001 and 1013 ask the client to reconnect, with jitter; the others report
 * a fault of the client.
 */
export const CLOSE = {
  draining: 1001,
  overloaded: 1013,
  malformed: 4400,
  tokenRefused: 4401,
  noHello: 4408,
  frameTooLarge: 4413,
  tooManyRequests: 4429,
} as const;
export type CloseCode = (typeof CLOSE)[keyof typeof CLOSE];
