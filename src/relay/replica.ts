/** The stream's head as another process told it, at the current step. */

import type { Batch } from '../commit/entry.ts';
import type { Head } from '../commit/head.ts';
import { formatPosition, type Position } from '../position.ts';

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

export class Replica implements Head {
  #state = NOTHING;
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

  get forgotten(): readonly string[] {
    return this.#state.forgotten;
  }

  isOpen(pattern: string, channel: string): boolean {
    return this.#open.has(channel) || this.#state.forgotten.includes(pattern);
  }

  moveTo(state: HeadState): void {
    this.#state = state;
    if (state.openXid === 0) this.#open.clear();
  }

  /** Call before the batch is delivered, with the head as of that batch. */
  take({ entries }: Batch): void {
    for (const { channel, sequence } of entries) if (sequence > this.#state.wholeSequence) this.#open.add(channel);
  }
}
