/**
 * The changes in messages that wait to be passed on, in the order of the WAL. A change costs no
 * object until a question needs it: then its message is read again.
 */
import { readRowsAgain } from '../../decode/pgoutput.ts';
import type { Change, KnownTable } from './known-rows.ts';
import type { WalRows } from './rows-of-wal.ts';

/** A change of a table, possibly one that cannot be undone. */
export interface WindowEntry {
  /** The number of its message. */
  readonly message: number;
  readonly xid: number;
  /** Whether its commit is handled for the first time. */
  readonly isFresh: boolean;
  readonly table: KnownTable;
  /** Undefined: it cannot be undone. */
  readonly change: Change | undefined;
  /** The reason why `change` is undefined. */
  readonly lost: Lost | undefined;
}

/** A TRUNCATE, a change of definitions, or a row that the WAL does not contain whole. */
export type Lost = 'truncate' | 'definitions' | 'row';

/** A change that cannot be undone. */
export interface LostChange {
  readonly table: KnownTable;
  readonly lost: Lost;
}

/** A message, and the commit that it belongs to. */
export interface MessageOfCommit {
  readonly number: number;
  readonly xid: number;
  readonly isFresh: boolean;
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Numbers kept for each change: number of the message, xid, isFresh, start, end. */
const NUMBERS = 5;
/** Number of passed changes whose places are kept for later ones. */
const PASSED_MAX = 4_096;
/** The buffer of a change that waits no more: its message's own can be freed. */
const NO_BYTES: Buffer = Buffer.alloc(0);

export class WaitingChanges {
  /** NUMBERS for each change, also for those that were passed. */
  #numbers: number[] = [];
  #buffers: Buffer[] = [];
  #sources: (WalRows | LostChange)[] = [];
  /** Indexes of the first change that waits, and after the last. */
  #first = 0;
  #end = 0;
  /** The entries of the first waiting changes, as far as they were needed. */
  #entries: WindowEntry[] = [];

  get length(): number {
    return this.#end - this.#first;
  }

  push(source: WalRows | LostChange, { number, xid, isFresh, buffer, start, end }: MessageOfCommit): void {
    const index = this.#end++;
    const at = NUMBERS * index;
    this.#numbers[at] = number;
    this.#numbers[at + 1] = xid;
    this.#numbers[at + 2] = isFresh ? 1 : 0;
    this.#numbers[at + 3] = start;
    this.#numbers[at + 4] = end;
    this.#buffers[index] = buffer;
    this.#sources[index] = source;
  }

  /** Drops the changes in messages before this number. Returns their transactions. */
  pass(message: number): Iterable<number> {
    const xids = new Set<number>();
    const { length } = this;
    while (this.#first < this.#end && this.#number(this.#first, 0) < message) {
      xids.add(this.#number(this.#first, 1));
      this.#buffers[this.#first++] = NO_BYTES;
    }
    if (this.#entries.length > 0) this.#entries = this.#entries.slice(length - this.length);
    if (this.#first === this.#end) this.clear();
    else if (this.#first > PASSED_MAX) this.#compact();
    return xids;
  }

  clear(): void {
    this.#entries = [];
    // passed changes must not keep much memory
    if (this.#end > PASSED_MAX) {
      this.#numbers = [];
      this.#buffers = [];
      this.#sources = [];
    } else {
      this.#buffers.fill(NO_BYTES, this.#first, this.#end);
    }
    this.#first = 0;
    this.#end = 0;
  }

  /** All changes that wait. */
  get entries(): readonly WindowEntry[] {
    for (let index = this.#first + this.#entries.length; index < this.#end; index++)
      this.#entries.push(this.#entryAt(index));
    return this.#entries;
  }

  #entryAt(index: number): WindowEntry {
    const source = this.#sources[index] as WalRows | LostChange;
    const { table } = source;
    const of = {
      message: this.#number(index, 0),
      xid: this.#number(index, 1),
      isFresh: this.#number(index, 2) === 1,
      table,
    };
    if ('lost' in source) return { ...of, change: undefined, lost: source.lost };
    const [start, end] = [this.#number(index, 3), this.#number(index, 4)];
    const tuples = readRowsAgain(this.#buffers[index] as Buffer, start, end, source.relation);
    const { oldRow, newRow } = source.change(tuples.oldRow, tuples.newRow);
    return { ...of, change: { table, oldRow: oldRow?.kept(), newRow: newRow?.kept() }, lost: undefined };
  }

  #number(index: number, which: number): number {
    return this.#numbers[NUMBERS * index + which] as number;
  }

  #compact(): void {
    this.#numbers = this.#numbers.slice(NUMBERS * this.#first, NUMBERS * this.#end);
    this.#buffers = this.#buffers.slice(this.#first, this.#end);
    this.#sources = this.#sources.slice(this.#first, this.#end);
    this.#end -= this.#first;
    this.#first = 0;
  }
}
