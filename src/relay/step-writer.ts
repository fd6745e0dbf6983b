/** Encodes steps for followers in other processes; `readSteps` decodes them. See format.ts. */
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch, Entry, Mark } from '../commit/entry.ts';
import type { Head } from '../commit/head.ts';
import { ByteWriter } from '../memory/byte-writer.ts';
import { memoryOf, type Payload, roomOf, textOf } from '../memory/payload.ts';
import type { Position } from '../position.ts';
import type { Beginning, StreamFollower } from './follower.ts';
import { HEADER_BYTES, MARK_KINDS, STEP_KINDS } from './format.ts';

/** The head of the process that reads the WAL. */
export interface SourceHead extends Head {
  /** `headText` without the epoch. */
  readonly head: Position;
  /** Number of parts of the open commit that have been appended. */
  readonly openParts: number;
  /** The sequence of the last entry or mark. */
  readonly sequence: number;
  /** Patterns whose channels of the open commit are no longer tracked. */
  readonly forgotten: ReadonlySet<string>;
}

/** Maximum bytes of the buffer kept for the next turn. */
const CAPACITY_MAX = 1024 ** 2;
const INTEGER_BYTES = 4;
const DOUBLE_BYTES = 8;

export class StepWriter implements Omit<StreamFollower, 'flush'> {
  readonly #head: SourceHead;
  readonly #bytes = new ByteWriter(1 << 16);
  /** Each text's number in these steps. */
  readonly #texts = new Map<string, number>();

  /** `head` is written with each step, as it is then. */
  constructor(head: SourceHead) {
    this.#head = head;
    this.#bytes.length = HEADER_BYTES;
  }

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#bytes.length - HEADER_BYTES;
  }

  /** Returns the steps written since the last call, behind HEADER_BYTES that are free. */
  take(): Buffer {
    const { buffer, length } = this.#bytes;
    const steps = buffer.subarray(0, length);
    // A larger buffer is not reused.
    const taken = buffer.length > CAPACITY_MAX ? steps : Buffer.from(steps);
    this.#bytes.clear(CAPACITY_MAX);
    this.#bytes.length = HEADER_BYTES;
    this.#texts.clear();
    return taken;
  }

  begin({ reason, definitions, isKnown, oldest, evicted }: Beginning): void {
    this.#step('begin');
    this.#writeHead();
    this.#text(reason);
    this.#json(definitions);
    this.#bytes.byte(Number(isKnown));
    this.#position(oldest);
    this.#integer(evicted.length);
    for (const { xid, at } of evicted) {
      this.#integer(xid);
      this.#double(at);
    }
  }

  append({ part, firstSequence, xid, after, committedAt, trace = '', entries, marks }: Batch): void {
    this.#step('append');
    this.#writeHead();
    this.#integer(part);
    this.#double(firstSequence);
    this.#integer(xid);
    this.#double(after);
    this.#double(committedAt);
    this.#text(trace);
    this.#integer(entries.length);
    for (const entry of entries) this.#entry(entry);
    this.#integer(marks.length);
    for (const mark of marks) this.#mark(mark);
  }

  marker(id: string): void {
    this.#step('marker');
    this.#writeHead();
    this.#text(id);
  }

  define(definitions: ServedDefinitions): void {
    this.#step('define');
    this.#json(definitions);
  }

  setKnown(isKnown: boolean): void {
    this.#step('setKnown');
    this.#bytes.byte(Number(isKnown));
  }

  /** The head moved without another step. */
  head(): void {
    this.#step('head');
    this.#writeHead();
  }

  #step(kind: (typeof STEP_KINDS)[number]): void {
    this.#bytes.byte(STEP_KINDS.indexOf(kind));
  }

  #entry(entry: Entry): void {
    this.#text(entry.channel);
    this.#text(entry.pattern);
    this.#place(entry);
    this.#payload(entry.payload);
    this.#old(entry.old);
    this.#text(entry.except ?? '');
  }

  /** A mark's payload is written as text, with an empty channel name. */
  #mark(mark: Mark): void {
    this.#bytes.byte(MARK_KINDS.indexOf(mark.kind));
    this.#text(mark.pattern);
    this.#text(mark.channel ?? '');
    this.#place(mark);
    this.#text(mark.payload === undefined ? '' : textOf(mark.payload('')).toString());
    this.#text(mark.claim?.name ?? '');
    if (mark.claim === undefined) return;
    this.#text(mark.claim.text);
    this.#text(mark.claim.type);
  }

  #place(what: Entry | Mark): void {
    this.#integer(what.xid);
    this.#double(what.sequence);
    this.#position(what);
  }

  #writeHead(): void {
    const { epoch, head, frontier, wholeSequence, openXid, openParts, sequence, forgotten } = this.#head;
    this.#text(epoch);
    this.#position(head);
    this.#position(frontier);
    this.#double(wholeSequence);
    this.#integer(openXid);
    this.#integer(openParts);
    this.#double(sequence);
    this.#integer(forgotten.size);
    for (const pattern of forgotten) this.#text(pattern);
  }

  #position({ lsn, index }: Position): void {
    this.#double(lsn);
    this.#double(index);
  }

  #json(value: unknown): void {
    const start = this.#bytes.length;
    this.#integer(0);
    this.#bytes.utf8(JSON.stringify(value));
    this.#bytes.buffer.writeUInt32LE(this.#bytes.length - start - INTEGER_BYTES, start);
  }

  /** Writes the text's number in these steps. After a new number the text itself follows. */
  #text(text: string): void {
    const known = this.#texts.get(text);
    if (known !== undefined) return this.#integer(known);
    this.#integer(this.#texts.size);
    this.#texts.set(text, this.#texts.size);
    const start = this.#bytes.length;
    this.#integer(0);
    this.#bytes.utf8(text);
    this.#bytes.buffer.writeUInt32LE(this.#bytes.length - start - INTEGER_BYTES, start);
  }

  #payload(payload: Payload): void {
    const memory = memoryOf(payload);
    const room = roomOf(payload);
    this.#integer(memory.length - room);
    this.#bytes.copy(memory, room, memory.length);
  }

  #old(old: Buffer | undefined): void {
    this.#integer(old?.length ?? 0);
    if (old !== undefined) this.#bytes.append(old);
  }

  #integer(value: number): void {
    this.#bytes.reserve(INTEGER_BYTES);
    this.#bytes.length = this.#bytes.buffer.writeUInt32LE(value, this.#bytes.length);
  }

  #double(value: number): void {
    this.#bytes.reserve(DOUBLE_BYTES);
    this.#bytes.length = this.#bytes.buffer.writeDoubleLE(value, this.#bytes.length);
  }
}
