/** The stream's head at the current step, as received from another process. */

import type { Batch } from '../commit/entry.ts';
import { formatPosition, type Position } from '../position.ts';
import type { SourceHead } from './step-writer.ts';

/** The head after a step, as data; see `Head`. */
export interface HeadState {
  readonly epoch: string;
  readonly head: Position;
  readonly frontier: Position;
  readonly wholeSequence: number;
  readonly openXid: number;
  /** Number of its parts that have been appended. */
  readonly openParts: number;
  /** The sequence of the last entry or mark. */
  readonly sequence: number;
  /** Patterns whose channels of the open commit are no longer tracked. */
  readonly forgotten: readonly string[];
}

const NONE: readonly string[] = [];
export const NOTHING: HeadState = {
  epoch: '',
  head: { lsn: 0, index: 0 },
  frontier: { lsn: 0, index: 0 },
  wholeSequence: 0,
  openXid: 0,
  openParts: 0,
  sequence: 0,
  forgotten: [],
};

export class Replica implements SourceHead {
  #state = NOTHING;
  #forgotten: ReadonlySet<string> = new Set();
  /** Channels for which the open commit has sent parts. */
  readonly #open = new Set<string>();

  get epoch(): string {
    return this.#state.epoch;
  }

  get frontier(): Position {
    return this.#state.frontier;
  }

  get headText(): string {
    const { epoch, head } = this.#state;
    return formatPosition(epoch, head.lsn, head.index);
  }

  get wholeSequence(): number {
    return this.#state.wholeSequence;
  }

  get openXid(): number {
    return this.#state.openXid;
  }

  get head(): Position {
    return this.#state.head;
  }

  get openParts(): number {
    return this.#state.openParts;
  }

  get sequence(): number {
    return this.#state.sequence;
  }

  get forgotten(): ReadonlySet<string> {
    return this.#forgotten;
  }

  isOpen(pattern: string, channel: string): boolean {
    return this.#open.has(channel) || this.#forgotten.has(pattern);
  }

  /** Applies the head of the current step. Returns the patterns that `forgotten` lists newly. */
  moveTo(state: HeadState): readonly string[] {
    this.#state = state;
    if (state.openXid === 0 && this.#open.size > 0) this.#open.clear();
    // Patterns are only added until the commit ends.
    if (state.forgotten.length === this.#forgotten.size) return NONE;
    const added = state.forgotten.filter((pattern) => !this.#forgotten.has(pattern));
    this.#forgotten = new Set(state.forgotten);
    return added;
  }

  /** Call before the batch is delivered, with the head as of that batch. */
  take({ entries }: Batch): void {
    for (const { channel, sequence } of entries) if (sequence > this.#state.wholeSequence) this.#open.add(channel);
  }
}
