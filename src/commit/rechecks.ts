/**
 * The subscribers for whom a commit may end what an access, presence or send view allows, by
 * pattern and channel. They are gathered while the commit is read, and each is reported once.
 */
import type { AccessSchema } from '../channels/catalog/catalog.ts';

/**
 * Maximum channels of a pattern in a commit. Beyond it, all channels of the pattern are rechecked.
 */
const CHANNELS_MAX = 1_000;
/** Stands for all channels of a pattern. Nothing is ever added to it. */
const EVERY: Set<string> = new Set();
const NO_RECHECKS: readonly Recheck[] = [];

/** The subscribers of one channel, or of every channel of the pattern. */
export interface Recheck {
  /** The schema of the view whose answer may have changed. */
  readonly schema: AccessSchema;
  readonly pattern: string;
  readonly channel?: string;
}

export class Rechecks {
  /** The channels since the commit's beginning, by view. EVERY: all channels of the pattern. */
  readonly #channels = new Map<string, Set<string>>();
  /** Rechecks that have not been reported yet. */
  #unreported: Recheck[] = [];

  /** Adds the subscribers of a channel, or of every channel of the pattern. */
  add(schema: AccessSchema, pattern: string, channel?: string): void {
    const view = `${schema}:${pattern}`;
    const channels = this.#channels.get(view);
    if (channels === EVERY || (channel !== undefined && channels?.has(channel))) return;
    if (channel === undefined || (channels?.size ?? 0) >= CHANNELS_MAX) {
      this.#channels.set(view, EVERY);
      this.#unreported = this.#unreported.filter((one) => one.pattern !== pattern || one.schema !== schema);
      this.#unreported.push({ schema, pattern });
      return;
    }
    this.#unreported.push({ schema, pattern, channel });
    if (channels === undefined) this.#channels.set(view, new Set([channel]));
    else channels.add(channel);
  }

  /** Returns and removes the rechecks to report now. */
  take(): readonly Recheck[] {
    if (this.#unreported.length === 0) return NO_RECHECKS;
    const unreported = this.#unreported;
    this.#unreported = [];
    return unreported;
  }

  clear(): void {
    if (this.#channels.size > 0) this.#channels.clear();
    if (this.#unreported.length > 0) this.#unreported = [];
  }
}
