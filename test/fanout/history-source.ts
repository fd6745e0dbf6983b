/** A history over an array of batches, as a store that several machines share would have it. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Batch, Entry } from '../../src/commit/entry.ts';
import { type OlderHistory, PositionTooOld } from '../../src/fanout/history/older-history.ts';
import { comparePositions, type Position } from '../../src/position.ts';

/** The sequences that another process leaves out. */
export const GAP = 1_000_000;

export class ArrayHistory implements OlderHistory {
  readonly #batches: Batch[] = [];
  /** Number of batches that are no longer kept. */
  #dropped = 0;
  /** Batches that are delivered at a time. */
  pieceBatches = 2;
  /** Earlier batches that a read delivers too. */
  extra = 0;
  /** Whether a refused read tells from where on it could be read. */
  tellsOldest = false;
  /** Thrown by the next reads. */
  error: Error | undefined;
  /** The positions of all reads. */
  readonly reads: Position[] = [];
  /** Number of batches that were delivered. */
  delivered = 0;
  /** Reads wait for it, if set. */
  gate: Promise<void> | undefined;

  add(batch: Batch): void {
    this.#batches.push(batch);
  }

  /** Drops the oldest batches. */
  drop(count: number): void {
    this.#dropped = Math.min(this.#batches.length, this.#dropped + count);
  }

  /** The newest batches were lost, and written again with other sequences. */
  renumber(count: number, by = GAP): void {
    const moved = ({ sequence, ...rest }: Entry) => ({ ...rest, sequence: sequence + by });
    for (let index = this.#batches.length - count; index < this.#batches.length; index++) {
      const batch = this.#batches[index] as Batch;
      this.#batches[index] = { ...batch, firstSequence: batch.firstSequence + by, entries: batch.entries.map(moved) };
    }
  }

  /** Whether everything after the position is still kept. */
  has(position: Position): boolean {
    return this.#first(position) >= this.#dropped;
  }

  async *read(_epoch: string, after: Position): AsyncIterable<readonly Batch[]> {
    this.reads.push(after);
    const end = this.#batches.length;
    await (this.gate ?? turn());
    if (this.error !== undefined) throw this.error;
    if (!this.has(after)) throw new PositionTooOld(this.tellsOldest ? this.#oldest() : undefined);
    let next = Math.max(this.#dropped, this.#first(after) - this.extra);
    while (next < end) {
      if (next < this.#dropped) throw new PositionTooOld(this.tellsOldest ? this.#oldest() : undefined);
      const piece = this.#batches.slice(next, next + this.pieceBatches);
      next += piece.length;
      this.delivered += piece.length;
      yield piece;
      await (this.gate ?? turn());
    }
  }

  /** The index of the first batch after the position, or of the first part of its commit. */
  #first(position: Position): number {
    let index = this.#batches.findIndex((batch) => comparePositions(endOf(batch), position) > 0);
    if (index === -1) return this.#batches.length;
    while (index > 0 && (this.#batches[index - 1] as Batch).part > 0) index--;
    return index;
  }

  /** Everything after this position is kept. */
  #oldest(): Position {
    const last = this.#batches[this.#dropped - 1];
    return last === undefined ? { lsn: 0, index: 0 } : endOf(last);
  }
}

function endOf({ entries, marks }: Batch): Position {
  const positions: Position[] = [...entries, ...marks];
  return positions.reduce((one, other) => (comparePositions(one, other) > 0 ? one : other));
}
