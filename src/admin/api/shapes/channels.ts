/** Channel views, and single channels with their live frames. See ../types.ts. */
import type { ApiProblem, Page } from './common.ts';

// GET /api/channels?offset=&limit=&search=

export interface ChannelViews extends Page {
  readonly views: readonly ChannelViewInfo[];
  /** Whether views are compiled in this process. A gateway knows their patterns only. */
  readonly isIngest: boolean;
}

export interface ChannelViewInfo {
  readonly pattern: string;
  /**
   * served: clients may join. messages: clients may join, but there are no rows, since there is no
   * channel view. awaited: will be served once older transactions have ended. refused: see
   * `refusals`.
   */
  readonly state: 'served' | 'messages' | 'awaited' | 'refused';
  readonly path: {
    readonly kind: 'in process' | 'by Postgres' | 'joined';
    /** Where rows are evaluated and why. */
    readonly text: string;
  } | null;
  /** The tables that its rows come from. */
  readonly tables: readonly string[];
  /** Output columns of the channel view. Null: unknown here. */
  readonly columns: readonly { readonly name: string; readonly type: string }[] | null;
  /** Placeholders of the pattern. */
  readonly placeholders: readonly { readonly name: string; readonly type: string }[];
  /** Null: no access view, so no client may join. */
  readonly access: ViewClaims | null;
  /** Claims of clients that may appear, by the presence view. Null: no presence view. */
  readonly presence: ViewClaims | null;
  /** Claims of clients that may send, by the send view. Null: no send view. */
  readonly send: ViewClaims | null;
  /** Channels of the pattern that have a subscriber. */
  readonly channels: number;
  /**
   * False if workers have too many channels of the pattern to compare them: `channels` then counts
   * a channel once for each worker with a subscriber of it.
   */
  readonly isChannelCountExact: boolean;
  readonly subscribers: number;
  /** Events of all its channels. Null: not counted in this process. */
  readonly events: {
    /** Since the start of this process. */
    readonly total: number;
    /** Over the last `spanSeconds`. Null: not known yet. */
    readonly perSecond: number | null;
    readonly spanSeconds: number;
  } | null;
  /** When the newest commit with an event of this pattern was made. Null: not in the journal. */
  readonly lastEventAt: number | null;
  readonly warnings: readonly string[];
  readonly refusals: readonly ViewRefusal[];
}

/** Claims that a token needs. Empty: every client fits. */
export interface ViewClaims {
  readonly claims: readonly { readonly name: string; readonly type: string }[];
}

export interface ViewRefusal {
  readonly code: string;
  /** `channels."..."` or `channel_access."..."`. */
  readonly view: string;
  /** May have several lines: the place in the view is underlined. */
  readonly message: string;
  readonly hint: string;
}

// GET /api/channels/active?pattern=PATTERN&limit=

/** The channels of a pattern that have subscribers, those with most subscribers first. */
export interface ActiveChannels {
  readonly pattern: string;
  /** At most `limit` (100). */
  readonly channels: readonly ActiveChannel[];
  /** False: more channels of the pattern have subscribers. */
  readonly isComplete: boolean;
}

export interface ActiveChannel {
  readonly name: string;
  readonly subscribers: number;
  /** Members that are shown in the channel, on all machines. */
  readonly members: number;
}

// GET /api/channel?name=CHANNEL&limit=

export interface ChannelInfo {
  readonly name: string;
  /** Null: the name is not of a served channel, see `problem`. */
  readonly pattern: string | null;
  readonly problem: ApiProblem | null;
  /** Values of the placeholders. */
  readonly values: readonly { readonly name: string; readonly type: string; readonly value: string }[];
  /** What the journal of this process has of the channel. Null: nothing. */
  readonly window: {
    readonly entries: number;
    readonly bytes: number;
    /** Positions of the oldest and the newest entry. */
    readonly from: string;
    readonly to: string;
  } | null;
  readonly subscriberCount: number;
  /** At most `limit` (100). */
  readonly subscribers: readonly Subscriber[];
  /** The members that are shown in the channel, on all machines. Null: it shows none. */
  readonly members: {
    readonly count: number;
    /** Their ids, at most `limit` (100). */
    readonly ids: readonly string[];
  } | null;
}

export interface Subscriber {
  /** Id of the connection. */
  readonly connection: string;
  /** Claim `sub` of the token. */
  readonly user: string | null;
  readonly address: string;
  readonly state: 'joining' | 'catching' | 'live';
  /** Frames in the journal that have not been written to its socket. */
  readonly behindFrames: number;
  /** Number of the worker that has the connection. Null: this process has it. */
  readonly worker: number | null;
}

// GET /api/channel/frames?name=CHANNEL&values=false: a stream of lines, each one JSON (NDJSON)

export type FrameLine =
  | LiveFrame
  /** These frames were not shown: there were too many. */
  | { readonly kind: 'skipped'; readonly frames: number }
  /** Sent after five seconds without another line, so that a broken connection is detected. */
  | { readonly kind: 'alive'; readonly at: number }
  /** The last line. Send the request again to continue. */
  | { readonly kind: 'end'; readonly reason: string };

/** A frame of the channel, as clients receive it. */
export interface LiveFrame {
  readonly kind: 'frame';
  readonly type: 'changes' | 'message';
  readonly position: string;
  /** Bytes of its JSON. */
  readonly bytes: number;
  /** ISO 8601. Null for published messages. */
  readonly committedAt: string | null;
  readonly lsn: string | null;
  readonly xid: number | null;
  /** Name of a published message's event. */
  readonly event: string | null;
  /** Number of events in the frame. */
  readonly count: number | null;
  /** At most 20. Null: the frame is too large to be shown (64 kB). */
  readonly events: readonly LiveEvent[] | null;
}

export interface LiveEvent {
  readonly op: 'insert' | 'update' | 'delete' | 'truncate' | 'message';
  /** Columns of the key and of the row. */
  readonly columns: readonly string[];
  /** Only with `values=true`. */
  readonly key?: unknown;
  readonly data?: unknown;
}
