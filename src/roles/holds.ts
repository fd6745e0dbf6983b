/** What holds the stream: it is paused until everything that holds it has released it. */

/** Why the stream is held. */
export type Hold = 'lookahead' | 'workers' | 'relay' | 'commit' | 'spool';

export class Holds {
  readonly #holds = new Set<Hold>();

  get isHeld(): boolean {
    return this.#holds.size > 0;
  }

  add(why: Hold): void {
    this.#holds.add(why);
  }

  /** Returns false if it did not hold the stream. */
  delete(why: Hold): boolean {
    return this.#holds.delete(why);
  }

  /** Whether something else holds the stream too. */
  isHeldBeside(why: Hold): boolean {
    return this.#holds.size > Number(this.#holds.has(why));
  }
}
