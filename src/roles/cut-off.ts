/**
 * Notices that this process is cut off from the stream while others go on: then it cannot hear that
 * access was revoked. Silence alone does not say so, since NATS may be down for all. Postgres knows
 * what the process that reads the WAL has published.
 */
import type pg from 'pg';
import type { Logger } from '../logger.ts';
import { type Lsn, parseLsn } from '../lsn.ts';
import { publishedLsn } from '../wal/slot-holder.ts';

export interface CutOffWatchOptions {
  readonly pool: pg.Pool;
  readonly slot: string;
  readonly silenceMsMax: number;
  /** Time since the last message of the stream, in ms. */
  readonly silenceMs: () => number;
  /** Everything before it has arrived here. */
  readonly arrived: () => Lsn;
  readonly logger: Logger;
  readonly onCutOff: () => void;
  readonly onBack: () => void;
}

const CHECK_MS = 1_000;
const ANSWER_MS = 2_000;

export class CutOffWatch {
  readonly #options: CutOffWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #isCutOff = false;
  #isAsking = false;

  constructor(options: CutOffWatchOptions) {
    this.#options = options;
  }

  get isCutOff(): boolean {
    return this.#isCutOff;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#check(), CHECK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #check(): Promise<void> {
    const { silenceMs, silenceMsMax, logger, onCutOff, onBack } = this.#options;
    if (silenceMs() < silenceMsMax) {
      if (!this.#isCutOff) return;
      this.#isCutOff = false;
      logger.info('the stream arrives again: clients are served');
      return onBack();
    }
    if (this.#isCutOff || this.#isAsking) return;
    this.#isAsking = true;
    const goesOn = await this.#goesOn();
    this.#isAsking = false;
    if (!goesOn || silenceMs() < silenceMsMax) return;
    this.#isCutOff = true;
    logger.error(
      { code: 'relay_unreachable', silentMs: Math.round(silenceMs()) },
      'this process is cut off from the stream: its clients are closed, since it would not hear that access was revoked',
    );
    onCutOff();
  }

  /** Whether more has been published than has arrived here. Also if Postgres does not tell. */
  async #goesOn(): Promise<boolean> {
    const { pool, slot, arrived } = this.#options;
    const silent = new Promise<never>((_resolve, reject) => {
      setTimeout(() => reject(new Error('no answer')), ANSWER_MS);
    });
    try {
      const text = await Promise.race([publishedLsn(pool, slot), silent]);
      // No process reads the slot: nothing is published.
      return text !== undefined && (parseLsn(text) ?? 0) > arrived();
    } catch {
      return true;
    }
  }
}
