/** Reads steps that `StepWriter` wrote. The results keep no reference to the steps' bytes. */
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch, Entry, Mark } from '../commit/entry.ts';
import { assert } from '../errors.ts';
import type { EvictedCommit } from '../journal/evicted-commits.ts';
import { Arena } from '../memory/arena.ts';
import { memoryOf, type Payload, PayloadArena, roomOf } from '../memory/payload.ts';
import type { Position } from '../position.ts';
import type { ResetReason } from '../protocol.ts';
import type { Beginning, StreamFollower } from './follower.ts';
import { MARK_KINDS, STEP_KINDS, type StepKind } from './format.ts';
import type { HeadState } from './replica.ts';

/** Receives the steps. Each step that moves the head is preceded by `moveTo`. */
export interface StepReceiver extends Omit<StreamFollower, 'flush'> {
  moveTo(head: HeadState): void;
}

/** The follower's journal keeps payloads. */
const KEPT = new PayloadArena();
const OLD_KEPT = new Arena();
/** The empty channel name in a mark's payload; it is replaced by the real name. */
const NO_CHANNEL = '"channel":""';
const never = () => false;
const NO_STEPS = 'bytes of a known version are valid steps';

export function readSteps(bytes: Buffer, receiver: StepReceiver): void {
  new StepReader(bytes).read(receiver);
}

export class StepReader {
  readonly #bytes: Buffer;
  #at = 0;
  readonly #texts: string[] = [];

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /**
   * Reads until `isEnough`, but ends only between the batches of two `append`: other steps belong
   * to those beside them. Returns whether all steps have been read.
   */
  read(receiver: StepReceiver, isEnough: () => boolean = never): boolean {
    for (let before: StepKind | undefined; this.#at < this.#bytes.length; ) {
      const next = this.#nextKind();
      if (before === 'append' && next === 'append' && isEnough()) return false;
      this.#step(next, receiver);
      before = next;
    }
    return true;
  }

  #nextKind(): StepKind {
    const kind = STEP_KINDS[this.#bytes[this.#at] as number];
    assert(kind !== undefined, NO_STEPS);
    return kind;
  }

  #step(kind: StepKind, receiver: StepReceiver): void {
    this.#at++;
    switch (kind) {
      case 'begin':
        receiver.moveTo(this.#head());
        return receiver.begin(this.#beginning());
      case 'append':
        receiver.moveTo(this.#head());
        return receiver.append(this.#batch());
      case 'marker':
        receiver.moveTo(this.#head());
        return receiver.marker(this.#text());
      case 'define':
        return receiver.define(this.#definitions());
      case 'setKnown':
        return receiver.setKnown(this.#byte() === 1);
      case 'head':
        return receiver.moveTo(this.#head());
    }
  }

  #beginning(): Beginning {
    return {
      reason: this.#text() as ResetReason,
      definitions: this.#definitions(),
      isKnown: this.#byte() === 1,
      oldest: this.#position(),
      evicted: this.#list((): EvictedCommit => ({ xid: this.#integer(), at: this.#double() })),
    };
  }

  #definitions(): ServedDefinitions {
    return JSON.parse(this.#binary().toString()) as ServedDefinitions;
  }

  #batch(): Batch {
    const head = {
      part: this.#integer(),
      firstSequence: this.#double(),
      xid: this.#integer(),
      after: this.#double(),
      committedAt: this.#double(),
    };
    const trace = this.#text();
    const rest = { entries: this.#list(() => this.#entry()), marks: this.#list(() => this.#mark()) };
    return trace === '' ? { ...head, ...rest } : { ...head, trace, ...rest };
  }

  #entry(): Entry {
    const channel = this.#text();
    const pattern = this.#text();
    const xid = this.#integer();
    const sequence = this.#double();
    const { lsn, index } = this.#position();
    const length = this.#integer();
    // Copied: otherwise one payload that waits in a slow socket would keep all steps in memory.
    const payload = KEPT.allocate(length);
    this.#bytes.copy(memoryOf(payload), roomOf(payload), this.#at, this.#at + length);
    this.#at += length;
    const old = this.#old();
    const except = this.#text();
    return { channel, pattern, payload, old, except: except === '' ? undefined : except, xid, sequence, lsn, index };
  }

  #old(): Buffer | undefined {
    const bytes = this.#binary();
    if (bytes.length === 0) return undefined;
    const kept = OLD_KEPT.allocate(bytes.length);
    bytes.copy(kept);
    return kept;
  }

  #mark(): Mark {
    const kind = MARK_KINDS[this.#byte()];
    assert(kind !== undefined, NO_STEPS);
    const pattern = this.#text();
    const channel = this.#text();
    const xid = this.#integer();
    const sequence = this.#double();
    const position = this.#position();
    const text = this.#text();
    const name = this.#text();
    return {
      kind,
      pattern,
      ...(channel === '' ? {} : { channel }),
      ...(name === '' ? {} : { claim: { name, text: this.#text(), type: this.#text() } }),
      xid,
      sequence,
      ...position,
      ...(text === '' ? {} : { payload: (name: string) => payloadFor(text, name) }),
    };
  }

  #head(): HeadState {
    return {
      epoch: this.#text(),
      head: this.#position(),
      frontier: this.#position(),
      wholeSequence: this.#double(),
      openXid: this.#integer(),
      openParts: this.#integer(),
      sequence: this.#double(),
      forgotten: this.#list(() => this.#text()),
    };
  }

  #position(): Position {
    return { lsn: this.#double(), index: this.#double() };
  }

  #list<Item>(read: () => Item): Item[] {
    const count = this.#integer();
    const items: Item[] = [];
    for (let index = 0; index < count; index++) items.push(read());
    return items;
  }

  #binary(): Buffer {
    const length = this.#integer();
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  #text(): string {
    const number = this.#integer();
    const known = this.#texts[number];
    if (known !== undefined) return known;
    const length = this.#integer();
    const text = this.#bytes.toString('utf8', this.#at, this.#at + length);
    this.#at += length;
    this.#texts.push(text);
    return text;
  }

  #byte(): number {
    return this.#bytes[this.#at++] as number;
  }

  #integer(): number {
    const value = this.#bytes.readUInt32LE(this.#at);
    this.#at += 4;
    return value;
  }

  #double(): number {
    const value = this.#bytes.readDoubleLE(this.#at);
    this.#at += 8;
    return value;
  }
}

function payloadFor(text: string, channel: string): Payload {
  return KEPT.text(text.replace(NO_CHANNEL, () => `"channel":"${channel}"`));
}
