/**
 * The effects of a transaction in progress on channels, kept in a log until its commit. The commit,
 * even in parts, is the same as if its rows were read only then.
 *
 * Events are gathered by channel (gathering.ts), as long as they alone decide where parts end.
 * After a message or TRUNCATE, after subtransactions with too many channels, and if memory is
 * scarce, they are kept one by one.
 */

import type { EventSink } from '../channels/events.ts';
import type { RouterEvents } from '../channels/router.ts';
import { assert } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import { ByteWriter } from '../memory/byte-writer.ts';
import type { PatternCounts } from '../metrics/patterns.ts';
import { secondsOf } from '../postgres/commit-time.ts';
import type { SpoolLog } from '../spool/log.ts';
import { type GatheredChannel, Gathering, type GatheringMark, OPS } from './gathering.ts';

const KIND = { event: 0, truncate: 1, message: 2, trace: 3, relation: 4, old: 5, gathered: 6 } as const;

/**
 * A record: kind, operation, index of the pattern, and the lengths of what follows: the channel's
 * name (or a trace), a message's event, and data. The old values of an event come before it. The
 * connection that does not receive a message follows the channel's name behind a TAB.
 *
 * Gathered events of a channel have the number of events by operation, and old values, in place of
 * a message's event. In place of the operation: whether a part ends with them.
 */
const OP_AT = 1;
const PATTERN_AT = 2;
const NAME_AT = 4;
const EVENT_AT = 8;
const DATA_AT = 12;
const HEADER_BYTES = 16;
const COUNT_BYTES = 4;
const COUNTS_BYTES = OPS.length * COUNT_BYTES;
/**
 * Maximum channels in the marks of a transaction. Beyond it events are kept one by one, which needs
 * no marks.
 */
const MARKED_CHANNELS_MAX = 4_096;
/**
 * Number of channels of a part from which on gathering is given up if memory is still scarce after
 * its events were written.
 */
const SCARCE_CHANNELS_MIN = 256;
/** Measured bytes of memory of a channel in a mark. */
const MARKED_CHANNEL_BYTES = 128;
const NO_TEXT = '';
const TAB = '\t';
const NO_BYTES = Buffer.alloc(0);

type Counted = Parameters<RouterEvents['counted']>[0];

/** Where gathered events lie: old values from `old` on, events from `events` to `end`. */
export interface GatheredPlaces {
  readonly old: number;
  readonly events: number;
  readonly end: number;
}

/** Receives events one by one, or gathered by channel. */
export interface GatheredSink extends EventSink {
  /** Bytes after which a part of a commit ends: see isPartFull. */
  readonly partBytesMax: number;
  /**
   * The channel's events in `source`, each with a comma after it, and the records of their old
   * values.
   */
  gathered(pattern: string, channel: ByteWriter, source: Buffer, places: GatheredPlaces): void;
  /** A part ends with the events that were gathered last. */
  endGatheredPart(): void;
}

/** The destination of the effects. */
export interface RecordingTarget {
  readonly sink: GatheredSink;
  /** A table's description, as a message of the WAL. */
  relation(message: Buffer): void;
  readonly events: Pick<RouterEvents, 'counted' | 'countsOf' | 'committed'>;
}

/** How much had been recorded at some time. */
export interface RecordingMark {
  readonly length: number;
  readonly rows: number;
  /** Undefined: events are kept one by one. */
  readonly gathering: GatheringMark | undefined;
}

export class Recording implements EventSink {
  readonly bytes: ByteWriter;
  readonly log: SpoolLog;
  readonly #gathering: Gathering;
  /** Whether events are gathered by channel. */
  #isGathering = true;
  #markedChannels = 0;
  readonly #patterns: string[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #counts: PatternCounts[] = [];
  readonly #name = new ByteWriter(256);
  /** The old values of the event that comes next. */
  readonly #old = new ByteWriter(0);
  #op: Counted = 'insert';
  #rows = 0;
  #target: RecordingTarget | undefined;
  #committedAt = 0;
  #isFresh = true;
  #isVoid = false;

  /** `partBytesMax`: of the sink that receives the effects. */
  constructor(log: SpoolLog, partBytesMax: number) {
    this.log = log;
    this.#gathering = new Gathering(partBytesMax, (channels, endsPart) => this.#putSet(channels, endsPart));
    this.bytes = this.#gathering.bytes;
  }

  /** Whether some effect could not be kept, so that the rows must be read at the commit. */
  get isVoid(): boolean {
    return this.#isVoid;
  }

  /** Whether the commit is new. False: it was handled before. */
  get isFresh(): boolean {
    return this.#isFresh;
  }

  /** Drops everything: the rows must be read at the commit. */
  giveUp(): void {
    this.#isVoid = true;
    this.#gathering.drop();
    this.log.close();
  }

  /** Returns a mark to cut to. */
  mark(): RecordingMark {
    let gathering: GatheringMark | undefined;
    if (this.#isGathering) {
      this.#gathering.endSet();
      this.#markedChannels += this.#gathering.channels;
      if (this.#markedChannels <= MARKED_CHANNELS_MAX) gathering = this.#gathering.mark();
      else this.#stopGathering();
    }
    return { length: this.log.length, rows: this.#rows, gathering };
  }

  /** Drops what was added after the mark. */
  cut({ length, rows, gathering }: RecordingMark): void {
    this.#rows = rows;
    if (this.#isVoid) return;
    if (this.#isGathering && gathering !== undefined) this.#gathering.restore(gathering);
    this.log.cut(length);
  }

  /** Call when nothing is added for a while. */
  rest(): void {
    if (this.#isVoid) return;
    const { log } = this;
    this.#countMemory();
    if (this.#isGathering && log.isCrowded) {
      this.#gathering.shrink();
      this.#countMemory();
      if (log.isCrowded && this.#gathering.channels >= SCARCE_CHANNELS_MIN) this.#stopGathering();
    }
    log.rest();
  }

  /** Call when everything has been added. */
  finish(): void {
    if (this.#isGathering) this.#gathering.endSet();
  }

  /** Counts a row that has been read. */
  countRow(): void {
    this.#rows++;
  }

  /** Notes the operation of the next event. */
  counted(op: Counted): void {
    this.#op = op;
  }

  /** Records a table's description: `buffer[start, end)`. */
  relation(buffer: Buffer, start: number, end: number): void {
    this.#put(KIND.relation, NO_TEXT, NO_BYTES, 0, NO_TEXT, buffer, start, end);
  }

  /**
   * Call before the commit is applied: the next `begin`, and all that follows, go to the target.
   */
  aim(target: RecordingTarget): void {
    this.#target = target;
  }

  begin(xid: number, commitLsn: Lsn, committedAt: number): boolean {
    this.#committedAt = secondsOf(committedAt);
    this.#isFresh = this.#target?.sink.begin(xid, commitLsn, committedAt) ?? true;
    return this.#isFresh;
  }

  event(pattern: string, channel: ByteWriter, start: number, old?: ByteWriter): void {
    if (this.#isGathering && !this.#isVoid) {
      this.#gathering.add(OPS.indexOf(this.#op as (typeof OPS)[number]), pattern, channel, start, old);
      return;
    }
    if (old !== undefined) this.#put(KIND.old, NO_TEXT, NO_BYTES, 0, NO_TEXT, old.buffer, 0, old.length);
    this.#put(
      KIND.event,
      pattern,
      channel.buffer,
      channel.length,
      NO_TEXT,
      this.bytes.buffer,
      start,
      this.bytes.length,
    );
    this.bytes.clear();
  }

  truncate(pattern: string): void {
    this.#stopGathering();
    this.#put(KIND.truncate, pattern, NO_BYTES, 0, NO_TEXT, NO_BYTES, 0, 0);
  }

  message(pattern: string, channel: string, event: string, start: number, except?: string): void {
    const name = Buffer.from(except === undefined ? channel : `${channel}${TAB}${except}`);
    const data = Buffer.from(this.bytes.buffer.subarray(start, this.bytes.length));
    this.bytes.length = start;
    this.#stopGathering();
    this.#put(KIND.message, pattern, name, name.length, event, data, 0, data.length);
  }

  trace(traceparent: string): void {
    const text = Buffer.from(traceparent);
    this.#put(KIND.trace, NO_TEXT, text, text.length, NO_TEXT, NO_BYTES, 0, 0);
  }

  incomplete(): void {
    this.giveUp();
  }

  redefined(): void {
    this.giveUp();
  }

  touched(): void {
    this.giveUp();
  }

  recheck(): void {
    this.giveUp();
  }

  commit(endLsn: Lsn): void {
    const target = this.#target;
    assert(target !== undefined, 'a recording is aimed before its commit');
    target.sink.commit(endLsn);
    target.events.committed(this.#rows);
  }

  /** Applies a chunk of the log. */
  apply(chunk: Buffer): void {
    const target = this.#target;
    assert(target !== undefined, 'a recording is aimed before it is applied');
    for (let at = 0; at < chunk.length; ) {
      const name = at + HEADER_BYTES;
      const event = name + chunk.readUInt32LE(at + NAME_AT);
      const data = event + chunk.readUInt32LE(at + EVENT_AT);
      const end = data + chunk.readUInt32LE(at + DATA_AT);
      this.#apply(target, chunk, at, { name, event, data, end });
      at = end;
    }
  }

  #apply(
    { sink, relation, events }: RecordingTarget,
    chunk: Buffer,
    at: number,
    { name, event, data, end }: { name: number; event: number; data: number; end: number },
  ): void {
    const index = chunk.readUInt16LE(at + PATTERN_AT);
    const pattern = this.#patterns[index] as string;
    const kind = chunk[at];
    if (kind === KIND.relation) return relation(chunk.subarray(data, end));
    if (kind === KIND.old) return this.#old.copy(chunk, data, end);
    if (kind === KIND.trace) return sink.trace(chunk.toString('latin1', name, event));
    if (kind === KIND.gathered) {
      for (let op = 0; op < OPS.length; op++)
        this.#count(events, OPS[op] as Counted, index, chunk.readUInt32LE(event + op * COUNT_BYTES));
      this.#name.length = 0;
      this.#name.copy(chunk, name, event);
      sink.gathered(pattern, this.#name, chunk, { old: event + COUNTS_BYTES, events: data, end });
      if (chunk[at + OP_AT] === 1) sink.endGatheredPart();
      return;
    }
    const op = kind === KIND.event ? OPS[chunk[at + OP_AT] as number] : kind === KIND.message ? 'message' : 'truncate';
    this.#count(events, op as Counted, index, 1);
    if (kind === KIND.truncate) return sink.truncate(pattern);
    const { bytes } = sink;
    const start = bytes.length;
    bytes.copy(chunk, data, end);
    if (kind === KIND.message) {
      const [channel = '', except] = chunk.toString('utf8', name, event).split(TAB);
      return sink.message(pattern, channel, chunk.toString('utf8', event, data), start, except);
    }
    this.#name.length = 0;
    this.#name.copy(chunk, name, event);
    sink.event(pattern, this.#name, start, this.#old.length === 0 ? undefined : this.#old);
    this.#old.clear();
  }

  #count(events: RecordingTarget['events'], op: Counted, index: number, count: number): void {
    if (count === 0) return;
    events.counted(op, count);
    const counts = this.#counts[index] ?? events.countsOf(this.#patterns[index] as string);
    this.#counts[index] = counts;
    counts.events += count;
    counts.lastEventAt = this.#committedAt;
  }

  /** From now on events are kept one by one. */
  #stopGathering(): void {
    if (!this.#isGathering) return;
    this.finish();
    this.#isGathering = false;
    this.#gathering.drop();
    this.#countMemory();
  }

  #countMemory(): void {
    this.log.countBeside(this.#gathering.memoryBytes + this.#markedChannels * MARKED_CHANNEL_BYTES);
  }

  #putSet(channels: readonly GatheredChannel[], endsPart: boolean): void {
    if (this.#isVoid) return;
    channels.forEach((channel, index) => {
      const { pattern, name, events, old, counts } = channel;
      const at = this.log.reserve(HEADER_BYTES + name.length + COUNTS_BYTES + channel.bytes);
      const { buffer } = this.log;
      buffer[at] = KIND.gathered;
      buffer[at + OP_AT] = Number(endsPart && index === channels.length - 1);
      buffer.writeUInt16LE(this.#indexOf(pattern), at + PATTERN_AT);
      buffer.writeUInt32LE(name.length, at + NAME_AT);
      buffer.writeUInt32LE(COUNTS_BYTES + old.bytes, at + EVENT_AT);
      buffer.writeUInt32LE(events.bytes, at + DATA_AT);
      let to = at + HEADER_BYTES;
      to += buffer.write(name, to, 'latin1');
      for (const count of counts) to = buffer.writeUInt32LE(count, to);
      this.#gathering.copyOld(channel, buffer, to);
      this.#gathering.copyEvents(channel, buffer, to + old.bytes);
    });
  }

  #put(
    kind: number,
    pattern: string,
    name: Buffer,
    nameBytes: number,
    event: string,
    data: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.#isVoid) return;
    const eventBytes = event === NO_TEXT ? 0 : Buffer.byteLength(event);
    const at = this.log.reserve(HEADER_BYTES + nameBytes + eventBytes + end - start);
    const { buffer } = this.log;
    buffer[at] = kind;
    buffer[at + OP_AT] = OPS.indexOf(this.#op as (typeof OPS)[number]) & 3;
    buffer.writeUInt16LE(this.#indexOf(pattern), at + PATTERN_AT);
    buffer.writeUInt32LE(nameBytes, at + NAME_AT);
    buffer.writeUInt32LE(eventBytes, at + EVENT_AT);
    buffer.writeUInt32LE(end - start, at + DATA_AT);
    let to = at + HEADER_BYTES;
    to += name.copy(buffer, to, 0, nameBytes);
    if (eventBytes > 0) to += buffer.write(event, to);
    data.copy(buffer, to, start, end);
  }

  #indexOf(pattern: string): number {
    let index = this.#indexes.get(pattern);
    if (index === undefined) {
      index = this.#patterns.length;
      this.#patterns.push(pattern);
      this.#indexes.set(pattern, index);
    }
    return index;
  }
}
