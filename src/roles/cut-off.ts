/**
 * Detects that this process is cut off from the stream while other processes continue. Then it
 * would not learn that access was revoked. Silence alone does not prove it, since NATS may be down
 * for all. The slot does: a process that cannot publish leaves the slot within `unpublishedMs`. So
 * a slot that keeps its holder for longer is read by a process that publishes, unless the stream
 * answers that it has nothing more.
 */

import type pg from 'pg';
import { ERRORS } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { steadyNow } from '../steady-clock.ts';
import { holderOf } from '../wal/slot-holder.ts';

export interface CutOffWatchOptions {
  readonly pool: pg.Pool;
  readonly slot: string;
  readonly silenceMsMax: number;
  /** How long the holder of the slot may publish nothing, in ms. */
  readonly unpublishedMs: number;
  /** Time since the last message of the stream, in ms. */
  readonly silenceMs: () => number;
  /** Whether the stream has more than has arrived here. Rejects if NATS does not answer. */
  readonly hasMore: () => Promise<boolean>;
  readonly logger: Logger;
  readonly onCutOff: () => void;
  readonly onBack: () => void;
}

const CHECK_MS = 500;
/** Silence that is unusual, in ms: the stream has a message at least every two seconds. */
const SILENT_MS = 2_500;
const ANSWER_MS = 2_000;
/** Stands for the holder of the slot if Postgres does not answer. */
const UNKNOWN = 'unknown';

export class CutOffWatch {
  readonly #options: CutOffWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #isCutOff = false;
  #isAsking = false;
  /** The process that holds the slot during this silence, and since when it was seen there. */
  #holder: { readonly pid: string | undefined; readonly since: number } | undefined;

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
    const { silenceMs, silenceMsMax, unpublishedMs, logger, onCutOff } = this.#options;
    if (silenceMs() < SILENT_MS) return this.#hear();
    if (this.#isCutOff || this.#isAsking) return;
    this.#isAsking = true;
    const askedAt = steadyNow();
    const pid = await this.#holderNow();
    const before = this.#holder;
    const holder = before !== undefined && before.pid === pid ? before : { pid, since: askedAt };
    this.#holder = holder;
    const isHeld = pid !== undefined && steadyNow() - holder.since >= unpublishedMs;
    const isCutOff = isHeld && silenceMs() >= silenceMsMax && (await this.#lacksMore());
    this.#isAsking = false;
    if (!isCutOff || silenceMs() < silenceMsMax) return;
    this.#isCutOff = true;
    logger.error(
      { code: 'relay_unreachable', silentMs: Math.round(silenceMs()), hint: ERRORS.relay_unreachable.hint },
      'this process is cut off from the stream: its clients are closed, since it would not hear that access was revoked',
    );
    onCutOff();
  }

  #hear(): void {
    this.#holder = undefined;
    if (!this.#isCutOff) return;
    this.#isCutOff = false;
    this.#options.logger.info('the stream arrives again: clients are served');
    this.#options.onBack();
  }

  /** Undefined: no process reads the slot. */
  async #holderNow(): Promise<string | undefined> {
    const { pool, slot } = this.#options;
    try {
      return (await within(ANSWER_MS, holderOf(pool, slot)))?.pid;
    } catch {
      return UNKNOWN;
    }
  }

  /** Whether messages are missing here: the stream has more, or does not answer. */
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
