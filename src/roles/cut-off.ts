/**
 * Notices that this process is cut off from the stream while others go on: then it cannot hear that
 * access was revoked. Silence alone does not say so, since NATS may be down for all. Postgres knows
 * which process reads the WAL, and a process that can publish nothing leaves the slot soon. So the
 * others go on if the same process has held the slot for a while.
 */
import type pg from 'pg';
import type { Logger } from '../logger.ts';
import { type Lsn, parseLsn } from '../lsn.ts';
import { readerOf } from '../wal/slot-holder.ts';

export interface CutOffWatchOptions {
  readonly pool: pg.Pool;
  readonly slot: string;
  readonly silenceMsMax: number;
  /** Time since the last message of the stream, in ms. */
  readonly silenceMs: () => number;
  /** Everything before it has arrived here. */
  readonly arrived: () => Lsn;
  /** Whether the stream has more than has arrived here. Rejects if NATS does not answer. */
  readonly hasMore: () => Promise<boolean>;
  readonly now: () => number;
  readonly logger: Logger;
  readonly onCutOff: () => void;
  readonly onBack: () => void;
}

const CHECK_MS = 1_000;
const ANSWER_MS = 2_000;
/** Silence after which Postgres is asked, in ms. The reader of the WAL is not silent so long. */
const ASK_AFTER_MS = 3_000;
/**
 * How long a process that publishes nothing may hold the slot at most after ASK_AFTER_MS of
 * silence, in ms: it gives up 7.5 s after the last message, and needs a moment to leave.
 */
const HELD_MS = 7_000;

export class CutOffWatch {
  readonly #options: CutOffWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #isCutOff = false;
  #isAsking = false;
  /** The process that holds the slot, and when it was first seen during this silence. */
  #reader: { readonly pid: number; readonly since: number } | undefined;

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
    if (this.#isCutOff) {
      if (silenceMs() >= silenceMsMax) return;
      this.#isCutOff = false;
      logger.info('the stream arrives again: clients are served');
      return onBack();
    }
    if (silenceMs() < ASK_AFTER_MS) this.#reader = undefined;
    if (silenceMs() < Math.min(ASK_AFTER_MS, silenceMsMax) || this.#isAsking) return;
    this.#isAsking = true;
    const isCutOff = (await this.#othersGoOn()) && silenceMs() >= silenceMsMax && (await this.#lacksMore());
    this.#isAsking = false;
    if (!isCutOff || silenceMs() < silenceMsMax) return;
    this.#isCutOff = true;
    logger.error(
      { code: 'relay_unreachable', silentMs: Math.round(silenceMs()) },
      'this process is cut off from the stream: its clients are closed, since it would not hear that access was revoked',
    );
    onCutOff();
  }

  /** Whether another process publishes. Also if Postgres does not tell. */
  async #othersGoOn(): Promise<boolean> {
    const { pool, slot, arrived, now } = this.#options;
    try {
      const reader = await within(ANSWER_MS, readerOf(pool, slot));
      if (reader === undefined || this.#reader?.pid !== reader.pid)
        this.#reader = reader === undefined ? undefined : { pid: reader.pid, since: now() };
      if (reader === undefined) return false;
      // Few roles may see how far another process has read.
      if (reader.published !== undefined && (parseLsn(reader.published) ?? 0) <= arrived()) return false;
      return now() - (this.#reader?.since ?? now()) >= HELD_MS;
    } catch {
      return true;
    }
  }

  /** Whether the stream has more, or does not answer. */
  async #lacksMore(): Promise<boolean> {
    try {
      return await within(ANSWER_MS, this.#options.hasMore());
    } catch {
      return true;
    }
  }
}

/** Rejects if there is no answer in time. */
async function within<Answer>(ms: number, answer: Promise<Answer>): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const silent = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), ms);
  });
  try {
    return await Promise.race([answer, silent]);
  } finally {
    clearTimeout(timer);
  }
}
