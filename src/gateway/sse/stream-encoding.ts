/**
 * Events with ids for one stream of several channels. An id describes what the client holds once it
 * has received the event. The client may lose the connection after any event, even within a commit
 * that concerns several of its channels. So the id of an event before the commit's last one lists
 * the channels that have already received their part (stream-id.ts).
 *
 * Channels that are not in step (stream.ts) may be behind the others, so their events leave the id
 * as it is.
 */
import { type Entry, isUnfinished } from '../../commit/entry.ts';
import type { Encoding, UnstoredType } from '../../fanout/encoding.ts';
import { type Payload, textOf } from '../../memory/payload.ts';
import { COMMIT_END_INDEX, formatPosition, type Position, parsePosition } from '../../position.ts';
import type { ServerFrame } from '../../protocol.ts';
import { BLANK_LINE, eventOf, type IdPlace, idOnly, idTail, isMessage } from './encoding.ts';
import type { StreamIds, StreamState } from './stream-id.ts';

/** Maximum channels that an id names as ahead. Events beyond have no id until the commit's end. */
const AHEAD_MAX = 32;

export class StreamEncoding implements Encoding {
  readonly isPrivate = true;
  readonly #plain: Encoding;
  readonly #ids: StreamIds;
  readonly #epoch: () => string;
  readonly #place: IdPlace;
  #absent: ReadonlySet<string>;
  /** Everything up to it has been written, for channels that are in step. Undefined: unknown. */
  #position: string | undefined;
  readonly #ahead = new Map<string, Position>();
  /** Channels that have received parts of a commit, but not its last part. */
  readonly #open = new Set<string>();
  /** The LSN of the last commit of which a channel in step has received an event. */
  #reached = Number.POSITIVE_INFINITY;

  /** `state`: what the client holds at the start. Undefined: nothing. */
  constructor(plain: Encoding, ids: StreamIds, epoch: () => string, place: IdPlace, state: StreamState | undefined) {
    this.#plain = plain;
    this.#ids = ids;
    this.#epoch = epoch;
    this.#place = place;
    this.#position = state?.position;
    this.#absent = state?.absent ?? new Set();
    for (const [channel, place] of state?.ahead ?? []) this.#ahead.set(channel, place);
  }

  /** Sets the channels that ids do not count for. */
  leaveOut(channels: ReadonlySet<string>): void {
    this.#absent = channels;
    for (const channel of channels) {
      this.#ahead.delete(channel);
      this.#open.delete(channel);
    }
  }

  entry(entry: Entry): Buffer {
    return this.#plain.entry(entry);
  }

  tail(entry: Entry, endsCommit: boolean): Buffer {
    return this.#pass(entry, endsCommit) ? idTail(this.#id(), this.#place) : BLANK_LINE;
  }

  snapshot(payload: Payload, channel: string): Buffer | Promise<Buffer> {
    return this.#plain.snapshot(payload, channel);
  }

  unstored(type: UnstoredType | 'changes', payload: Payload): Buffer {
    return this.#plain.unstored(type, payload);
  }

  control(frame: ServerFrame): Buffer {
    if (frame.type !== 'heartbeat') return eventOf(frame);
    const { lsn = 0 } = parsePosition(frame.position) ?? {};
    // While a commit arrives in parts, the heartbeat's position is before it.
    if (this.#open.size === 0 && [...this.#ahead.values()].every((place) => place.lsn <= lsn)) {
      this.#completeTo(frame.position);
      this.#reached = lsn;
    }
    return this.#position === undefined ? Buffer.alloc(0) : idOnly(this.#id(), this.#place);
  }

  /** The client receives an entry. Returns whether an id says that it holds the entry. */
  #pass(entry: Entry, endsCommit: boolean): boolean {
    const { channel, lsn, index, xid } = entry;
    const isAbsent = this.#absent.has(channel);
    if (isAbsent && (!endsCommit || lsn < this.#reached)) return false;
    if (!isAbsent) this.#reached = lsn;
    if (endsCommit) {
      this.#completeTo(formatPosition(this.#epoch(), lsn, xid === 0 ? index : COMMIT_END_INDEX));
    } else {
      if (isUnfinished(entry) && !isMessage(textOf(entry.payload))) this.#open.add(channel);
      else if (!isUnfinished(entry)) this.#open.delete(channel);
      // Without the parts before it, the client could not apply the last one.
      if (this.#position === undefined || this.#open.has(channel)) return false;
      this.#ahead.set(channel, { lsn, index });
      if (this.#ahead.size > AHEAD_MAX) return false;
    }
    return true;
  }

  #completeTo(position: string): void {
    this.#position = position;
    this.#ahead.clear();
    this.#open.clear();
  }

  #id(): string {
    return this.#ids.write({ position: this.#position as string, absent: this.#absent, ahead: this.#ahead });
  }
}
