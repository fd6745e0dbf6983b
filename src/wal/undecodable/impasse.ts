/**
 * Where the stream cannot pass. Decides when it has failed there for long enough to give the WAL
 * up, and keeps that until the stream is opened again. With JetStream each failure ends the stream
 * for good, so this lasts longer: see IngestStandby.
 */
import type { Lsn } from '../../lsn.ts';

/** Minimum failures before a position is given up, however long they take. */
const FAILURES_MIN = 3;

/** How far a history has been read. */
interface ReadTo {
  /** Undefined: none has begun. */
  readonly epoch: string | undefined;
  readonly head: Lsn;
}

export class Impasse {
  readonly #giveUpMs: number;
  #at: Lsn | undefined;
  #since = 0;
  #failures = 0;
  #givenUp: (ReadTo & { readonly why: string }) | undefined;

  /** `giveUpMs`: how long the stream may fail at one position, in ms. 0: for ever. */
  constructor(giveUpMs: number) {
    this.#giveUpMs = giveUpMs;
  }

  /**
   * Postgres could not decode the WAL at a position. Undefined: it is not known, but lies after the
   * head. The head may move from failure to failure, as far as Postgres reads before it decodes.
   */
  failed(position: Lsn | undefined, { epoch, head }: ReadTo, why: string, now: number): void {
    const at = position ?? head;
    if (at !== this.#at) {
      this.#at = at;
      this.#since = now;
      this.#failures = 0;
    }
    this.#failures++;
    if (this.#giveUpMs > 0 && this.#failures >= FAILURES_MIN && now - this.#since >= this.#giveUpMs)
      this.giveUp({ epoch, head: Math.max(at, head) }, why);
  }

  /** What follows can never be read. */
  giveUp({ epoch, head }: ReadTo, why: string): void {
    this.#givenUp = { epoch, head, why };
  }

  /** Why what follows is given up. Undefined: it is not, or another process has read further. */
  givenUp({ epoch, head }: ReadTo): string | undefined {
    const given = this.#givenUp;
    return given !== undefined && given.epoch === epoch && head <= given.head ? given.why : undefined;
  }

  /** The stream was opened: what was given up lies behind. */
  passed(): void {
    this.#givenUp = undefined;
  }
}
