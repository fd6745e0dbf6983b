/**
 * Watches over the WAL that Postgres keeps for the slot, so that it never fills the primary's disk: measures it, warns with the
 * time that is left, and at the bound has it given up, where that is the policy.
 *
 *     fine --more than half of the bound--> filling --the bound--> full
 *
 * It works while this process runs and the database answers. Otherwise Postgres's max_slot_wal_keep_size alone bounds the slot.
 */
import { ERRORS, SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { sizeText } from '../size.ts';
import { Growth } from './growth.ts';
import type { SlotState } from './slot-state.ts';

export interface GuardianOptions {
  /** How much may be held; 0: as much as it takes. */
  readonly boundBytes: number;
  /** At the bound: `hold` goes on and warns, `give_up` begins anew. */
  readonly policy: 'hold' | 'give_up';
  /** Undefined where there is no slot; rejects where the database cannot be asked. */
  readonly measure: () => Promise<SlotState | undefined>;
  /** The oldest open transaction, in words. */
  readonly oldestTransaction: () => Promise<string | undefined>;
  /** Has the slot opened anew, where it is given up if it still holds too much. */
  readonly reopen: (why: SnoError) => void;
  readonly logger: Logger;
  readonly now: () => number;
}

type Level = 'fine' | 'filling' | 'full';

/** A part of the bound above which it is warned. */
const FILLING = 0.5;
const REPEAT_MS = 60_000;

/** What is held, against the nearer of two ends: Snö's own bound, and Postgres's. */
export interface Room {
  readonly level: Level;
  /** Undefined where nothing bounds it. */
  readonly leftBytes: number | undefined;
}

/** `boundBytes` 0: none. */
export function roomOf({ heldBytes, safeBytes, walStatus }: SlotState, boundBytes: number): Room {
  const own = boundBytes === 0 ? Number.POSITIVE_INFINITY : Math.max(0, boundBytes - heldBytes);
  const leftBytes = Math.min(own, safeBytes ?? Number.POSITIVE_INFINITY);
  const isLosing = walStatus === 'unreserved' || walStatus === 'lost';
  const share = leftBytes === Number.POSITIVE_INFINITY ? 0 : heldBytes / (heldBytes + leftBytes);
  return {
    level: isLosing || own === 0 ? 'full' : share > FILLING ? 'filling' : 'fine',
    leftBytes: leftBytes === Number.POSITIVE_INFINITY ? undefined : leftBytes,
  };
}

export class Guardian {
  readonly #options: GuardianOptions;
  readonly #growth = new Growth();
  #state: SlotState | undefined;
  #leftBytes: number | undefined;
  #level: Level = 'fine';
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: GuardianOptions) {
    this.#options = options;
  }

  /** As last measured; undefined while it is not known. */
  get state(): SlotState | undefined {
    return this.#state;
  }

  /** Until the bound, at the rate of the last minute; undefined where it does not grow, or nothing bounds it. */
  get secondsLeft(): number | undefined {
    const rate = this.#growth.bytesPerSecond;
    if (rate === undefined || rate <= 0 || this.#leftBytes === undefined) return undefined;
    return this.#leftBytes / rate;
  }

  /** Measures, and does what follows. Never rejects. */
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

  /** At each change for the worse, and again each minute while it lasts; once when it is over. */
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
      return `, the bound being ${sizeText(boundBytes)} (SNO_SLOT_WAL_BYTES)${policy === 'hold' ? ', and goes on by SNO_SLOT_WAL_POLICY=hold until the disk is full' : ', and is given up'}`;
    const left = `, with room for ${sizeText(this.#leftBytes ?? 0)} more`;
    return secondsLeft === undefined ? left : `${left}, which is ${timeText(secondsLeft)} at the present rate`;
  }

  /** Why so much is held, in words. */
  async #cause({ isActive, heldBytes, unconfirmedBytes }: SlotState): Promise<string> {
    if (!isActive) return 'nobody reads it';
    if (unconfirmedBytes > heldBytes / 2) return 'Snö is behind, since the database writes faster than it can read';
    const oldest = await this.#options.oldestTransaction().catch(() => undefined);
    if (oldest !== undefined) return `a transaction keeps it back, the oldest one is ${oldest}`;
    return 'an open transaction kept it back; Postgres lets go of it soon';
  }
}

function timeText(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}
