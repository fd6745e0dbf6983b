/**
 * A commit results in entries of channels, and in marks. The journal keeps them, and workers
 * receive them. An entry holds a payload, not a frame: the encoding of a client's protocol makes
 * frames from it (fanout/encoding.ts).
 */
import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ClaimValue } from '../channels/events.ts';
import type { Lsn } from '../lsn.ts';
import type { Payload } from '../memory/payload.ts';
import type { Position } from '../position.ts';

/** An entry as one encoding sends it. */
export interface EncodedForm {
  /** The encoding that made it. */
  readonly encoding: object;
  /** Undefined once it was dropped to save memory. */
  bytes: Buffer | undefined;
  /** The form of another encoding. */
  readonly next: EncodedForm | undefined;
}

/** `changes` or a `message` of one channel. */
export interface Entry extends Position {
  readonly channel: string;
  readonly pattern: string;
  /** JSON text. docs/protocol.md describes it. */
  readonly payload: Payload;
  /** The old values of its rows (memory/old-values.ts). Undefined: the WAL has none. */
  readonly old?: Buffer | undefined;
  /** The id of the connection that does not receive it. Undefined: all do. */
  readonly except?: string | undefined;
  /** The transaction's 32-bit xid. 0: no transaction (pg_notify). */
  readonly xid: number;
  /**
   * Grows by one with each entry, across all channels. A connection receives entries in this order.
   */
  readonly sequence: number;
  /** The forms that fanout/encoded-forms.ts keeps. */
  forms?: EncodedForm;
}

/**
 * LSNs are multiples of this. The builder puts the parts of a commit whose end is not known yet
 * between two of them.
 */
const LSN_STEP = 8;

/** Whether the entry is of a commit in parts, and was made before the commit's end was known. */
export function isUnfinished({ lsn }: Pick<Entry, 'lsn'>): boolean {
  return lsn % LSN_STEP !== 0;
}

/** The kind of mark, by schema, of a commit that may end what a view of that schema allows. */
export const RECHECKS = {
  channel_access: 'recheck',
  channel_presence: 'recheck-presence',
  channel_send: 'recheck-send',
} as const satisfies Record<AccessSchema, string>;
type RecheckKind = (typeof RECHECKS)[AccessSchema];

/** An event for every channel of a pattern, including channels that the journal has never seen. */
export interface Mark extends Position {
  readonly pattern: string;
  /** If set, the mark applies to this channel only. */
  readonly channel?: string;
  /** If set, the mark applies to clients with this value of the claim only. It is a recheck. */
  readonly claim?: ClaimValue;
  readonly sequence: number;
  readonly xid: number;
  /**
   * truncate: `payload` makes the payload for one channel. changed, dropped: everything stored of
   * the channel is void. cut: channels with parts of the open commit will not receive its end, so
   * everything stored of them is void. recheck: the commit may revoke access, so nothing of this
   * batch or a later one is sent before access is checked again. recheck-presence, recheck-send:
   * the commit may end what a presence view or send view allows. touched: the commit changes rows
   * that the pattern's view joins; it makes nothing void.
   */
  readonly kind: 'truncate' | 'changed' | 'dropped' | 'cut' | 'touched' | RecheckKind;
  readonly payload?: (channel: string) => Payload;
}

/** Whether a mark asks to check again what a view allows. It voids nothing that is stored. */
export function isRecheck({ kind }: Pick<Mark, 'kind'>): boolean {
  return kind === RECHECKS.channel_access || kind === RECHECKS.channel_presence || kind === RECHECKS.channel_send;
}

/** The entries and marks that one commit, or a part of one, appends. */
export interface Batch {
  /**
   * The number of this part of its commit, from 1. 0: the batch has the whole commit, or its end.
   */
  readonly part: number;
  /** Sequence of its first entry or mark. */
  readonly firstSequence: number;
  readonly xid: number;
  /**
   * End of the last whole commit before this one. To receive this batch again, the WAL must be read
   * from here.
   */
  readonly after: Lsn;
  readonly entries: readonly Entry[];
  readonly marks: readonly Mark[];
  /** ms since 1970. */
  readonly committedAt: number;
  /** The trace that the commit belongs to (W3C traceparent), if any was named so far. */
  readonly trace?: string;
}

/** Returns the sequence of the batch's last entry or mark. */
export function lastSequenceOf({ firstSequence, entries, marks }: Batch): number {
  return Math.max(firstSequence, entries.at(-1)?.sequence ?? 0, marks.at(-1)?.sequence ?? 0);
}
