/** Whose access a commit may take away, by pattern and channel: gathered while it is read, each told of once. */

/** A commit that concerns more channels of a pattern is taken to concern all. */
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
  /** Since the commit's beginning; EVERY: all channels of the pattern. */
  readonly #channels = new Map<string, Set<string>>();
  /** Those of them that nobody was told of yet. */
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

  /** Those to be told of now. */
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
