/**
 * Decides how many channels of a view one read may have. Small channels that are read together must
 * not wait long for each other. After a slow batch, or one with a large channel, the view's next
 * batches are smaller. They grow again while reads are fast.
 */

/** Maximum channels of a batch. */
const CHANNELS_MAX = 256;
/** Channels of a view's first batch. */
const CHANNELS_FIRST = 16;
/** How long the rows of a batch should take at most, in ms. */
const TARGET_MS = 100;
/** The same if the process or the database is so busy that even a round trip takes long. */
const TARGET_MS_MAX = 1_000;
/** Maximum views and channels that are remembered. */
const VIEWS_MAX = 1_000;
const OWN_MAX = 10_000;

/** A finished read. */
export interface Pacing {
  readonly channels: number;
  /** How long it took until its transaction had begun: two round trips, whatever it reads. */
  readonly beginMs: number;
  /** How long it took from there until its last row. */
  readonly rowsMs: number;
  /** Whether it had no error, and no channel that is too large. */
  readonly isSmooth: boolean;
}

export class BatchPace {
  /** Maximum channels of the next batch, by the batch's query. */
  readonly #views = new Map<string, number>();
  /**
   * Names of channels that need a read of their own: they are large, or their last own read failed.
   */
  readonly #own = new Set<string>();

  /** Maximum channels of the view's next batch. */
  channelsMax(many: string): number {
    return this.#views.get(many) ?? CHANNELS_FIRST;
  }

  needsOwn(channel: string): boolean {
    return this.#own.has(channel);
  }

  finished(many: string, { channels, beginMs, rowsMs, isSmooth }: Pacing): void {
    const before = this.channelsMax(many);
    if (this.#views.size >= VIEWS_MAX) this.#views.clear();
    // If round trips are slow, a smaller batch would not be faster.
    const targetMs = Math.min(TARGET_MS_MAX, Math.max(TARGET_MS, beginMs));
    let next = channels >> 1;
    if (isSmooth && rowsMs > targetMs) next = Math.floor((channels * targetMs) / rowsMs);
    else if (isSmooth) next = rowsMs < targetMs / 2 ? 2 * before : before;
    this.#views.set(many, Math.min(CHANNELS_MAX, Math.max(1, next)));
  }

  /** Whether the channel needs a read of its own from now on. */
  setOwn(channel: string, needsOwn: boolean): void {
    this.#own.delete(channel);
    if (!needsOwn) return;
    const [oldest] = this.#own;
    if (oldest !== undefined && this.#own.size >= OWN_MAX) this.#own.delete(oldest);
    this.#own.add(channel);
  }
}
