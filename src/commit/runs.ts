/**
 * Locates each channel's events in the bytes of a commit. Adjacent events form runs, a linked list
 * per channel over reused arrays, so that an event allocates nothing.
 */
import { NONE, type Share } from './channel-events.ts';

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

  /** Adds the event in the bytes from `start` to `end` to a channel. */
  add(share: Share, start: number, end: number): void {
    share.bytes += end - start;
    if (share.last !== NONE && this.#ends[share.last] === start) {
      this.#ends[share.last] = end;
      return;
    }
    const run = this.#count++;
    this.#starts[run] = start;
    this.#ends[run] = end;
    this.#nexts[run] = NONE;
    if (share.first === NONE) {
      share.first = run;
      this.#channels++;
    } else this.#nexts[share.last] = run;
    share.last = run;
  }

  /** Copies a channel's events into `target` at `at`. Returns where they end. */
  copy(share: Share, source: Buffer, target: Buffer, at: number): number {
    let end = at;
    for (let run = share.first; run !== NONE; run = this.#nexts[run] as number)
      end += source.copy(target, end, this.#starts[run] as number, this.#ends[run] as number);
    return end;
  }

  clear(): void {
    this.#count = 0;
    this.#channels = 0;
  }
}
