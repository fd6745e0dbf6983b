/** The events that handles receive. */
import type { ChangeEvent, ChangesFrame, MessageFrame } from '../protocol.ts';

/** Everything that one transaction did to one channel. */
export interface Commit<Row = unknown> {
  readonly channel: string;
  /** Where to continue after it; opaque to the app. */
  readonly position: string;
  /** The commit's end LSN, as Postgres prints it. */
  readonly lsn: string;
  readonly xid: number;
  /** ISO 8601 with microseconds, UTC. */
  readonly committedAt: string;
  /** The W3C traceparent that the transaction named by `sno.trace`. */
  readonly trace?: string;
  readonly events: readonly ChangeEvent<Row>[];
}

/** A change of a live view. `old`: the row as the view had it, for updates and deletes. */
export type Change<Row = unknown> = ChangeEvent<Row> & { readonly old?: Row };

/** A message that the app published, or another client sent. */
export interface Message<Data = unknown> {
  readonly channel: string;
  /** Undefined: another client sent it. */
  readonly position?: string;
  /** Set if another client sent it: the user that its token names; null if it names none. */
  readonly from?: string | null;
  readonly event: string;
  readonly data: Data;
  /** As in a commit. */
  readonly trace?: string;
}

/** Joins the parts of a commit, at least one. Position, LSN and time are those of the last part. */
export function toCommit(parts: readonly ChangesFrame[]): Commit {
  const { channel, position, lsn, xid, committed_at: committedAt, trace } = parts.at(-1) as ChangesFrame;
  const commit = { channel, position, lsn, xid, committedAt, events: parts.flatMap(({ events }) => events) };
  return trace === undefined ? commit : { ...commit, trace };
}

export function toMessage({ type: _, ...message }: MessageFrame): Message {
  return message;
}
