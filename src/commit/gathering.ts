/**
 * Gathers the events of a transaction in progress by channel, while they are read. At the commit
 * the events of a channel are then copied together.
 *
 * A commit must have the same parts however its rows were read. So parts end here at the same event
 * as in the commit builder. Memory keeps less than a part: its events are written in sets.
 */
import { ByteWriter } from '../memory/byte-writer.ts';
import { appendOldValues } from '../memory/old-values.ts';
import { Chain, NONE } from './channel-events.ts';
import { isPartFull } from './part-limit.ts';
import { Runs } from './runs.ts';

const COMMA = 0x2c;
/** Bytes of `},`, which ends an event. */
const EVENT_END_BYTES = 2;
/** Bytes of events and old values after which a set is written. */
const SET_BYTES = 1 << 20;
/** The same of one channel: a chunk of a log has room for its record. */
const CHANNEL_BYTES = 192 * 1024;
/** Capacity that is kept from set to set. */
const CAPACITY_BYTES = 2 * SET_BYTES;
/** The same if memory is scarce. */
const SCARCE_CAPACITY_BYTES = 4_096;
/** Measured bytes of memory that a channel needs beside its events. */
const CHANNEL_ENTRY_BYTES = 320;

export const OPS = ['insert', 'update', 'delete'] as const;

/** A channel of the part that is being gathered. */
export class GatheredChannel {
  readonly pattern: string;
  readonly name: string;
  /** Bytes of its events in earlier sets of the part. */
  earlierBytes = 0;
  /** Its events in this set, each with a comma after it. */
  readonly events = new Chain();
  /** The records of their old values. */
  readonly old = new Chain();
  /** Number of events in this set, by operation as in OPS. */
  readonly counts: [number, number, number] = [0, 0, 0];

  constructor(pattern: string, name: string) {
    this.pattern = pattern;
    this.name = name;
  }

  get bytes(): number {
    return this.events.bytes + this.old.bytes;
  }

  endSet(): void {
    this.earlierBytes += this.events.bytes;
    this.events.clear();
    this.old.clear();
    this.counts.fill(0);
  }
}

/** How much of a part had been gathered at some time. */
export interface GatheringMark {
  readonly earlierBytes: number;
  readonly channels: readonly (readonly [pattern: string, name: string, earlierBytes: number])[];
}

/** Writes a set. `endsPart`: a part of the commit ends with it. */
export type WriteSet = (channels: readonly GatheredChannel[], endsPart: boolean) => void;

export class Gathering {
  /** An event is appended here before `add`. */
  readonly bytes = new ByteWriter(4_096);
  readonly #old = new ByteWriter(0);
  readonly #partBytesMax: number;
  readonly #write: WriteSet;
  #runs = new Runs();
  #oldRuns = new Runs();
  /** The channels of the part, by name. */
  readonly #channels = new Map<string, GatheredChannel>();
  /** The channels of the set, in the order of their first events. */
  #set: GatheredChannel[] = [];
  /** Bytes of events and old values in earlier sets of the part. */
  #earlierBytes = 0;

  /** `partBytesMax`: see isPartFull. */
  constructor(partBytesMax: number, write: WriteSet) {
    this.#partBytesMax = partBytesMax;
    this.#write = write;
  }

  /** Bytes of memory that it needs, also when a set has just been written. */
  get memoryBytes(): number {
    const entries = this.channels * CHANNEL_ENTRY_BYTES + this.#runs.memoryBytes + this.#oldRuns.memoryBytes;
    return this.bytes.buffer.length + this.#old.buffer.length + entries;
  }

  get #size(): number {
    return this.bytes.length + this.#old.length;
  }

  /** Number of channels of the part. */
  get channels(): number {
    return this.#channels.size;
  }

  /**
   * The event in `bytes` from `start` on belongs to this channel. `op`: an index of OPS. `old`: the
   * record of the row's old values.
   */
  add(op: number, pattern: string, name: ByteWriter, start: number, old?: ByteWriter): void {
    this.bytes.byte(COMMA);
    const end = this.bytes.length;
    const channel = this.#channel(pattern, name);
    const { events, counts } = channel;
    if (events.first === NONE) this.#set.push(channel);
    if (old !== undefined) {
      const at = this.#old.length;
      appendOldValues(this.#old, old, channel.earlierBytes + events.bytes + end - EVENT_END_BYTES - start);
      this.#oldRuns.add(channel.old, at, this.#old.length);
    }
    this.#runs.add(events, start, end);
    (counts[op] as number)++;
    const size = this.#size;
    if (isPartFull(this.#earlierBytes + size, this.channels, this.#partBytesMax)) this.#endPart();
    else if (size > SET_BYTES || channel.bytes > CHANNEL_BYTES) this.endSet();
  }

  /** Copies a channel's events of the set into `target` at `at`. */
  copyEvents({ events }: GatheredChannel, target: Buffer, at: number): void {
    this.#runs.copy(events, this.bytes.buffer, target, at);
  }

  /** Copies a channel's old values of the set into `target` at `at`. */
  copyOld({ old }: GatheredChannel, target: Buffer, at: number): void {
    this.#oldRuns.copy(old, this.#old.buffer, target, at);
  }

  /** Writes what is kept, if anything. The part goes on. */
  endSet(): void {
    if (this.#set.length > 0) this.#writeSet(false);
  }

  /** Writes what is kept, and gives back memory. The part goes on, so its channels stay. */
  shrink(): void {
    this.endSet();
    this.#release();
  }

  /** Call after `endSet`. */
  mark(): GatheringMark {
    const channels = [...this.#channels.values()].map(
      ({ pattern, name, earlierBytes }) => [pattern, name, earlierBytes] as const,
    );
    return { earlierBytes: this.#earlierBytes, channels };
  }

  /** Drops everything since the mark. */
  restore({ earlierBytes, channels }: GatheringMark): void {
    this.#set = [];
    this.#clearSet();
    this.#channels.clear();
    this.#earlierBytes = earlierBytes;
    for (const [pattern, name, bytes] of channels) {
      const channel = new GatheredChannel(pattern, name);
      channel.earlierBytes = bytes;
      this.#channels.set(name, channel);
    }
  }

  /** Drops everything, and gives back memory. */
  drop(): void {
    this.#set = [];
    this.#release();
    this.#channels.clear();
    this.#earlierBytes = 0;
  }

  #endPart(): void {
    this.#writeSet(true);
    this.#channels.clear();
    this.#earlierBytes = 0;
  }

  #writeSet(endsPart: boolean): void {
    const set = this.#set;
    this.#set = [];
    this.#write(set, endsPart);
    for (const channel of set) channel.endSet();
    this.#earlierBytes += this.#size;
    this.#clearSet();
  }

  #clearSet(capacityMax = CAPACITY_BYTES): void {
    this.bytes.clear(capacityMax);
    this.#old.clear(capacityMax);
    this.#runs.clear();
    this.#oldRuns.clear();
  }

  #release(): void {
    this.#clearSet(SCARCE_CAPACITY_BYTES);
    this.#runs = new Runs();
    this.#oldRuns = new Runs();
  }

  #channel(pattern: string, { buffer, length }: ByteWriter): GatheredChannel {
    const name = buffer.toString('latin1', 0, length);
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = new GatheredChannel(pattern, name);
      this.#channels.set(name, channel);
    }
    return channel;
  }
}
