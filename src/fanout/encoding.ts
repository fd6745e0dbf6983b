/**
 * Turns payloads and frames into bytes for clients. Each wire form of a protocol has one encoding
 * object, for as long as the service runs. All connections that use the form share the object, so
 * fan-out makes bytes once for all of them.
 *
 * Snö's own websocket frames, plain and compressed: gateway/sno/encodings.ts. Server-sent events:
 * gateway/sse/encoding.ts.
 */
import { type Entry, isUnfinished } from '../commit/entry.ts';
import type { Payload } from '../memory/payload.ts';
import type { ServerFrame } from '../protocol.ts';

/** The types of frames that are not stored in the journal. */
export type UnstoredType = 'message' | 'presence';

/**
 * Each method returns whole frames, or whole units of another protocol. An encoding with `tail`
 * leaves the end of entries to it. The bytes are shared, and must not be changed afterwards. An
 * empty buffer: the protocol sends nothing.
 */
export interface Encoding {
  /** Encodes `changes` or a `message`. Encodings that do work here keep it with EncodedForms. */
  entry(entry: Entry): Buffer;
  /**
   * Returns the bytes to send directly after an entry, such as its id. Undefined: none. They may
   * differ by connection, so that all connections share the entry's own bytes. Called in the order
   * of the entries, and again for an entry that did not fit. `endsCommit`: no later entry of the
   * same commit goes to this connection.
   */
  tail?(entry: Entry, endsCommit: boolean): Buffer | undefined;
  /** Set if the encoding belongs to one connection: its results are not kept for others. */
  readonly isPrivate?: boolean;
  /** Encodes a piece of a snapshot. A promise: it is made on another thread. */
  snapshot(payload: Payload, channel: string): Buffer | Promise<Buffer>;
  /**
   * Encodes a payload that no entry holds: a `message` of a client, `presence`, or `changes` that
   * were made for this encoding from an entry. A tail follows only these.
   */
  unstored(type: UnstoredType | 'changes', payload: Payload): Buffer;
  /** Encodes all other frames, such as `subscribed`, `reset` and `heartbeat`. */
  control(frame: ServerFrame): Buffer;
}

/**
 * Whether an entry is the last of its commit on a connection. `next` is the entry that the
 * connection receives after it. Undefined: no entry has followed yet.
 */
function endsCommit(entry: Entry, next: Entry | undefined): boolean {
  if (isUnfinished(entry)) return false;
  return next === undefined || next.lsn !== entry.lsn || next.xid !== entry.xid || entry.xid === 0;
}

/** Calls `tail`. `next`: the entry that follows on the connection. Undefined: there is no tail. */
export function tailOf(encoding: Pick<Encoding, 'tail'>, entry: Entry, next: Entry | undefined): Buffer | undefined {
  return encoding.tail?.(entry, endsCommit(entry, next));
}
