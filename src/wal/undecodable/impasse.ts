import type { Lsn } from '../../lsn.ts';

/** Minimum failures before a position is given up, however long they take. */
const FAILURES_MIN = 3;

/** Decides when the stream has failed for long enough without progress to give the WAL up. */
export class Impasse {
  readonly #giveUpMs: number;
  #head: Lsn | undefined;
  #since = 0;
  #failures = 0;

  /** `giveUpMs` 0: never. */
  constructor(giveUpMs: number) {
    this.#giveUpMs = giveUpMs;
  }

  /** Postgres could not decode the WAL after `head`. Returns whether that WAL must be given up. */
  failed(head: Lsn, now: number): boolean {
    if (head !== this.#head) {
      this.#head = head;
      this.#since = now;
      this.#failures = 0;
    }
    this.#failures++;
    return this.#giveUpMs > 0 && this.#failures >= FAILURES_MIN && now - this.#since >= this.#giveUpMs;
  }
}
