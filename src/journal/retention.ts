/**
 * Decides which WAL Postgres may drop: the WAL that would not refill the journal after a restart
 * anyway.
 *
 * The slot trails the oldest entry of the journal, and the head as it was one replay window ago. So
 * clients that were away for less can resume after a restart, even if nothing was committed. It
 * trails by at most a number of bytes of WAL, and never passes the last whole commit.
 */

import { Deque } from '../deque.ts';
import type { Lsn } from '../lsn.ts';
import type { Acknowledger } from '../wal/source.ts';
import type { Journal } from './journal.ts';

export interface RetentionOptions {
  readonly journal: Pick<Journal, 'walNeeded'>;
  /**
   * End of the last whole commit, or a later LSN up to which no further commit is known to exist.
   */
  readonly head: () => Lsn;
  readonly windowMs: number;
  readonly walBytesMax: number;
  readonly now: () => number;
}

/** Number of samples per replay window. */
const SAMPLES = 128;

export class Retention implements Acknowledger {
  readonly #options: RetentionOptions;
  readonly #samples = new Deque<{ readonly at: number; readonly head: Lsn }>();
  #floor: Lsn = 0;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** A stream starts here: nothing before it will be requested. */
  startFrom(lsn: Lsn): void {
    this.#samples.clear();
    this.#floor = lsn;
  }

  written(): Lsn {
    return this.#options.head();
  }

  flushed(): Lsn {
    const { journal, walBytesMax } = this.#options;
    const head = this.#options.head();
    const trailing = Math.min(journal.walNeeded ?? head, this.#windowStart(head));
    this.#floor = Math.min(head, Math.max(this.#floor, trailing, head - walBytesMax));
    return this.#floor;
  }

  /** Returns the head as it was a window ago, or as it was first seen if that is more recent. */
  #windowStart(head: Lsn): Lsn {
    const { windowMs, now } = this.#options;
    const at = now();
    const last = this.#samples.last();
    if (last === undefined || at - last.at >= windowMs / SAMPLES) this.#samples.push({ at, head });
    // The newest sample that is a window old is the start. Earlier samples are not needed.
    for (
      let second = this.#samples.at(1);
      second !== undefined && at - second.at >= windowMs;
      second = this.#samples.at(1)
    ) {
      this.#samples.shift();
    }
    const first = this.#samples.first();
    return first !== undefined && at - first.at >= windowMs ? first.head : Math.min(first?.head ?? head, this.#floor);
  }
}
