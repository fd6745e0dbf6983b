/**
 * The subscribers whose access a commit may revoke, by pattern and channel. They are gathered while
 * the commit is read, and each is reported once.
 */

/**
 * Maximum channels of a pattern in a commit. Beyond it, all channels of the pattern are rechecked.
 */
const CHANNELS_MAX = 1_000;
/** Nothing is ever added to it. */
const EVERY: Set<string> = new Set();
const NOBODY: readonly Recheck[] = [];

/** The subscribers of one channel, or of every channel of the pattern. */
export interface Recheck {
  readonly pattern: string;
  readonly channel?: string;
}

export class Rechecks {
  /** All since the commit's beginning. EVERY: all channels of the pattern. */
  readonly #channels = new Map<string, Set<string>>();
  /** Rechecks that have not been reported yet. */
  #untold: Recheck[] = [];

  /** Without a channel: every channel of the pattern. */
  add(pattern: string, channel?: string): void {
    const channels = this.#channels.get(pattern);
    if (channels === EVERY || (channel !== undefined && channels?.has(channel))) return;
    if (channel === undefined || (channels?.size ?? 0) >= CHANNELS_MAX) {
      this.#channels.set(pattern, EVERY);
      this.#untold = this.#untold.filter((one) => one.pattern !== pattern);
      this.#untold.push({ pattern });
      return;
    }
    this.#untold.push({ pattern, channel });
    if (channels === undefined) this.#channels.set(pattern, new Set([channel]));
    else channels.add(channel);
  }

  /** Returns and removes the rechecks to report now. */
  take(): readonly Recheck[] {
    if (this.#untold.length === 0) return NOBODY;
    const untold = this.#untold;
    this.#untold = [];
    return untold;
  }

  clear(): void {
    if (this.#channels.size > 0) this.#channels.clear();
    if (this.#untold.length > 0) this.#untold = [];
  }
}
