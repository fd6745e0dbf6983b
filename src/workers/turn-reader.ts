/** Reads turns that `TurnWriter` wrote. The results keep no reference to the turn's bytes. */
import { deserialize } from 'node:v8';
import type { Catalog } from '../channels/catalog/catalog.ts';
import type { Batch, Entry, Mark } from '../commit/entry.ts';
import { assert } from '../errors.ts';
import { Slab } from '../memory/arena.ts';
import type { Position } from '../position.ts';
import { textFrame } from '../websocket/frame.ts';
import { type HeadState, MARK_KINDS, STEP_CODES, type Step } from './wire.ts';

/** Frames are kept by the worker's journal. */
const KEPT = new Slab();
/** The empty channel name in a mark's frame; it is replaced by the real name. */
const NO_CHANNEL = '"channel":""';
const NO_TURN = 'main and its workers are of one version';

export function readTurn(bytes: Buffer): readonly Step[] {
  return new TurnReader(bytes).steps();
}

class TurnReader {
  readonly #bytes: Buffer;
  #at = 0;
  readonly #texts: string[] = [];

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  steps(): Step[] {
    const steps: Step[] = [];
    while (this.#at < this.#bytes.length) steps.push(this.#step());
    return steps;
  }

  #step(): Step {
    const kind = STEP_CODES[this.#byte()];
    assert(kind !== undefined, NO_TURN);
    switch (kind) {
      case 'begin':
        return { kind, head: this.#head(), ...this.#clone<Omit<Extract<Step, { kind: 'begin' }>, 'kind' | 'head'>>() };
      case 'batch':
        return { kind, head: this.#head(), batch: this.#batch() };
      case 'marker':
        return { kind, head: this.#head(), id: this.#text() };
      case 'defined':
        return { kind, catalog: this.#clone<Catalog>() };
      case 'known':
        return { kind, isKnown: this.#byte() === 1 };
      case 'head':
        return { kind, head: this.#head() };
    }
  }

  #batch(): Batch {
    return {
      firstSequence: this.#double(),
      xid: this.#integer(),
      after: this.#double(),
      committedAt: this.#double(),
      entries: this.#list(() => this.#entry()),
      marks: this.#list(() => this.#mark()),
    };
  }

  #entry(): Entry {
    const channel = this.#text();
    const pattern = this.#text();
    const xid = this.#integer();
    const sequence = this.#double();
    const { lsn, index } = this.#position();
    const length = this.#integer();
    // Copied: otherwise one frame that waits in a slow socket would keep the whole turn in memory.
    const frame = KEPT.allocate(length);
    this.#bytes.copy(frame, 0, this.#at, this.#at + length);
    this.#at += length;
    return { channel, pattern, frame, xid, sequence, lsn, index };
  }

  #mark(): Mark {
    const kind = MARK_KINDS[this.#byte()];
    assert(kind !== undefined, NO_TURN);
    const pattern = this.#text();
    const channel = this.#text();
    const xid = this.#integer();
    const sequence = this.#double();
    const position = this.#position();
    const payload = this.#text();
    return {
      kind,
      pattern,
      ...(channel === '' ? {} : { channel }),
      xid,
      sequence,
      ...position,
      ...(payload === '' ? {} : { frame: (name: string) => frameOf(payload, name) }),
    };
  }

  #head(): HeadState {
    return {
      epoch: this.#text(),
      head: this.#position(),
      frontier: this.#position(),
      wholeSequence: this.#double(),
      openXid: this.#integer(),
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

  #clone<Value>(): Value {
    return deserialize(this.#binary()) as Value;
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

function frameOf(payload: string, channel: string): Buffer {
  return textFrame(
    payload.replace(NO_CHANNEL, () => `"channel":"${channel}"`),
    KEPT,
  );
}
