/**
 * Monitors the WAL that Postgres keeps for the slot, so that it never fills the primary's disk. It
 * measures that WAL and warns with the time left. At the limit it gives the slot up, if
 * SNO_SLOT_WAL_POLICY is `give_up`.
 *
 * fine --more than half of the limit--> filling --the limit--> full
 *
 * It works while this process runs and the database answers. Otherwise only Postgres's
 * max_slot_wal_keep_size limits the slot.
 */
import { ERRORS, SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { sizeText, timeText } from '../size.ts';
import { GrowthRate } from './growth-rate.ts';
import type { SlotState } from './slot-state.ts';

export interface SlotMonitorOptions {
  /** Maximum bytes of WAL that the slot may hold. 0: no maximum. */
  readonly boundBytes: number;
  /** At the limit: `hold` continues and warns, `give_up` begins a new history. */
  readonly policy: 'hold' | 'give_up';
  /** Undefined if the slot is missing. Rejects if the database cannot be asked. */
  readonly measure: () => Promise<SlotState | undefined>;
  /** Describes the oldest open transaction. */
  readonly oldestTransaction: () => Promise<string | undefined>;
  /** Opens the slot anew. It is given up then if it still holds too much. */
  readonly reopen: (why: SnoError) => void;
  readonly logger: Logger;
  readonly now: () => number;
}

type Level = 'fine' | 'filling' | 'full';

/** Part of the limit above which a warning is logged. */
const FILLING = 0.5;
const REPEAT_MS = 60_000;

/** The WAL that may still be written before the nearer of two limits: Snö's own and Postgres's. */
export interface Room {
  readonly level: Level;
  /** Undefined: no limit. */
  readonly leftBytes: number | undefined;
}

/** Returns the room that a slot has. `boundBytes` 0: no limit of Snö's own. */
export function roomOf(
  { heldBytes, safeBytes, walStatus }: Pick<SlotState, 'heldBytes' | 'safeBytes' | 'walStatus'>,
  boundBytes: number,
): Room {
  const own = boundBytes === 0 ? Number.POSITIVE_INFINITY : Math.max(0, boundBytes - heldBytes);
  const leftBytes = Math.min(own, safeBytes ?? Number.POSITIVE_INFINITY);
  const isLosing = walStatus === 'unreserved' || walStatus === 'lost';
  const share = leftBytes === Number.POSITIVE_INFINITY ? 0 : heldBytes / (heldBytes + leftBytes);
  return {
    level: isLosing || own === 0 ? 'full' : share > FILLING ? 'filling' : 'fine',
    leftBytes: leftBytes === Number.POSITIVE_INFINITY ? undefined : leftBytes,
  };
}

export class SlotMonitor {
  readonly #options: SlotMonitorOptions;
  readonly #growth = new GrowthRate();
  #state: SlotState | undefined;
  #leftBytes: number | undefined;
  #level: Level = 'fine';
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: SlotMonitorOptions) {
    this.#options = options;
  }

  /** As last measured. Undefined while unknown. */
  get state(): SlotState | undefined {
    return this.#state;
  }

  /**
   * Seconds until the limit, at the rate of the last minute. Undefined if the slot does not grow,
   * or has no limit.
   */
  get secondsLeft(): number | undefined {
    const rate = this.#growth.bytesPerSecond;
    if (rate === undefined || rate <= 0 || this.#leftBytes === undefined) return undefined;
    return this.#leftBytes / rate;
  }

  /** How fast the held WAL grew over the last minute. Undefined while unknown. */
  get bytesPerSecond(): number | undefined {
    return this.#growth.bytesPerSecond;
  }

  /** Measures, then warns or reopens the slot if needed. Never rejects. */
  async check(): Promise<void> {
    const { measure, boundBytes, policy, reopen } = this.#options;
    try {
      this.#state = await measure();
    } catch {
      this.#state = undefined;
    }
    if (this.#state === undefined) return this.#growth.clear();
    this.#growth.add(this.#options.now(), this.#state.heldBytes);
    const { level, leftBytes } = roomOf(this.#state, boundBytes);
    this.#leftBytes = leftBytes;
    const isOver = boundBytes > 0 && this.#state.heldBytes >= boundBytes;
    await this.#say(level, this.#state);
    if (isOver && policy === 'give_up')
      reopen(new SnoError('slot_wal_exceeded', `the slot holds ${sizeText(this.#state.heldBytes)} of WAL`));
  }

  /**
   * Logs each change for the worse, repeats it each minute while it lasts, and logs once when it is
   * over.
   */
  async #say(level: Level, state: SlotState): Promise<void> {
    const { logger, now, boundBytes } = this.#options;
    const isWorse = level === 'full' ? this.#level !== 'full' : this.#level === 'fine';
    const isOver = level === 'fine' && this.#level !== 'fine';
    this.#level = level;
    const { heldBytes, walStatus } = state;
    if (isOver) logger.info({ heldBytes }, `the slot holds ${sizeText(heldBytes)} of WAL again`);
    if (level === 'fine' || (!isWorse && now() - this.#saidAt < REPEAT_MS)) return;
    this.#saidAt = now();
    const { secondsLeft } = this;
    const bytesPerSecond = Math.round(this.#growth.bytesPerSecond ?? 0);
    const facts = { code: 'slot_wal_exceeded', heldBytes, boundBytes, walStatus, secondsLeft, bytesPerSecond };
    const message = `the slot holds ${sizeText(heldBytes)} of WAL${this.#left(level)}: ${await this.#cause(state)}`;
    logger[level === 'full' ? 'error' : 'warn']({ ...facts, hint: ERRORS.slot_wal_exceeded.hint }, message);
  }

  #left(level: Level): string {
    const { boundBytes, policy } = this.#options;
    const { secondsLeft } = this;
    if (this.#state?.walStatus === 'unreserved' || this.#state?.walStatus === 'lost')
      return ', beyond max_slot_wal_keep_size, and Postgres gives it up at its next checkpoint';
    if (level === 'full')
      return `, above the bound of ${sizeText(boundBytes)} (SNO_SLOT_WAL_BYTES)${policy === 'hold' ? ', and Snö keeps it until the disk is full (SNO_SLOT_WAL_POLICY=hold)' : ', so Snö gives it up'}`;
    const left = `, with room for ${sizeText(this.#leftBytes ?? 0)} more`;
    return secondsLeft === undefined ? left : `${left}, which is ${timeText(secondsLeft)} at the current rate`;
  }

  /** Describes why so much WAL is held. */
  async #cause({ isActive, heldBytes, unconfirmedBytes }: SlotState): Promise<string> {
    if (!isActive) return 'no process reads it';
    if (unconfirmedBytes > heldBytes / 2) return 'Snö is behind, because the database writes faster than Snö can read';
    const oldest = await this.#options.oldestTransaction().catch(() => undefined);
    if (oldest !== undefined) return `a transaction holds it back, the oldest one is ${oldest}`;
    return 'an open transaction held it back; Postgres releases it soon';
  }
}
