/**
 * Counts by channel pattern. Patterns are names of views, so the database limits them, and no
 * client can add one. PATTERNS_MAX limits them too: all further patterns share the counts of OTHER.
 *
 * Code that counts often keeps the counts of its pattern: counting is then one addition.
 */

/** Maximum patterns with counts of their own. */
const PATTERNS_MAX = 1_000;
/** The label of all further patterns. It is no pattern: a pattern has no parentheses. */
const OTHER = '(other)';

/** The counts of one pattern's channels, in this process. */
export class PatternCounts {
  /** Each event counts once, however many subscribers it has. */
  events = 0;
  /** Frames with events that were passed to client sockets. */
  deliveries = 0;
  /** Errors that clients received for a channel of the pattern. */
  denials = 0;
  resets = 0;
  /** Current subscriptions. */
  subscriptions = 0;
  /** When the last event was committed, in seconds since 1970. 0: no event yet. */
  lastEventAt = 0;
}

export class Patterns {
  readonly #counts = new Map<string, PatternCounts>();

  of(pattern: string): PatternCounts {
    const known = this.#counts.get(pattern);
    if (known !== undefined) return known;
    if (this.#counts.size >= PATTERNS_MAX && pattern !== OTHER) return this.of(OTHER);
    const counts = new PatternCounts();
    this.#counts.set(pattern, counts);
    return counts;
  }

  [Symbol.iterator](): Iterator<readonly [pattern: string, counts: PatternCounts]> {
    return this.#counts.entries();
  }
}
