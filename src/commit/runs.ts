/**
 * Locates each channel's events, or their old values, in the bytes of a commit. Adjacent ones form
 * runs, a linked list per channel over reused arrays, so that an event allocates nothing.
 */
import { type Chain, NONE } from './channel-events.ts';

/** Bytes of memory that a run needs, in each of the three arrays. */
const RUN_BYTES = 3 * 8;
/** Fewer bytes are copied one by one: Buffer.copy makes an object. */
const SMALL_BYTES = 48;

export class Runs {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #nexts: number[] = [];
  #count = 0;
  #channels = 0;

  /** Number of channels with events. */
  get channels(): number {
    return this.#channels;
  }

  /** Bytes of memory of its arrays, which keep their size from commit to commit. */
  get memoryBytes(): number {
    return this.#starts.length * RUN_BYTES;
  }

  /** Adds the event in the bytes from `start` to `end` to a channel's. */
  add(chain: Chain, start: number, end: number): void {
    chain.bytes += end - start;
    if (chain.last !== NONE && this.#ends[chain.last] === start) {
      this.#ends[chain.last] = end;
      return;
    }
    const run = this.#count++;
    this.#starts[run] = start;
    this.#ends[run] = end;
    this.#nexts[run] = NONE;
    if (chain.first === NONE) {
      chain.first = run;
      this.#channels++;
    } else this.#nexts[chain.last] = run;
    chain.last = run;
  }

  /** Copies a channel's events into `target` at `at`. Returns where they end. */
  copy(chain: Chain, source: Buffer, target: Buffer, at: number): number {
    let to = at;
    for (let run = chain.first; run !== NONE; run = this.#nexts[run] as number) {
      const start = this.#starts[run] as number;
      const end = this.#ends[run] as number;
      if (end - start < SMALL_BYTES) for (let from = start; from < end; from++) target[to++] = source[from] as number;
      else to += source.copy(target, to, start, end);
    }
    return to;
  }

  clear(): void {
    this.#count = 0;
    this.#channels = 0;
  }
}
