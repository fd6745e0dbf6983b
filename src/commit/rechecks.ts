/**
 * The subscribers for whom a commit may end what an access, presence or send view allows, by
 * pattern and channel. They are gathered while the commit is read, and each is reported once.
 */
import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ClaimValue } from '../channels/events.ts';

/**
 * Maximum rechecks of a pattern in a commit. Beyond it, all channels of the pattern are rechecked.
 */
const RECHECKS_MAX = 1_000;
/** Stands for all channels of a pattern. Nothing is ever added to it. */
const EVERY: Set<string> = new Set();
const NO_RECHECKS: readonly Recheck[] = [];

/** The subscribers of one channel, or of every channel of the pattern. */
export interface Recheck {
  /** The schema of the view whose answer may have changed. */
  readonly schema: AccessSchema;
  readonly pattern: string;
  readonly channel?: string;
  /** Only the clients with this value of the claim. */
  readonly claim?: ClaimValue;
}

export class Rechecks {
  /** All since the commit's beginning, by view. EVERY: all subscriptions of the pattern. */
  readonly #known = new Map<string, Set<string>>();
  /** Rechecks that have not been reported yet. */
  #unreported: Recheck[] = [];

  /** Without a channel: every channel of the pattern. Without a claim: all clients. */
  add(schema: AccessSchema, pattern: string, channel?: string, claim?: ClaimValue): void {
    const view = `${schema}:${pattern}`;
    const known = this.#known.get(view);
    if (known === EVERY) return;
    if ((channel === undefined && claim === undefined) || (known?.size ?? 0) >= RECHECKS_MAX) {
      this.#known.set(view, EVERY);
      this.#unreported = this.#unreported.filter((one) => one.pattern !== pattern || one.schema !== schema);
      this.#unreported.push({ schema, pattern });
      return;
    }
    const whom = claim === undefined ? `${channel}` : JSON.stringify([channel, claim.name, claim.text]);
    if (known?.has(whom)) return;
    this.#unreported.push({
      schema,
      pattern,
      ...(channel === undefined ? {} : { channel }),
      ...(claim === undefined ? {} : { claim }),
    });
    if (known === undefined) this.#known.set(view, new Set([whom]));
    else known.add(whom);
  }

  /** Returns and removes the rechecks to report now. */
  take(): readonly Recheck[] {
    if (this.#unreported.length === 0) return NO_RECHECKS;
    const unreported = this.#unreported;
    this.#unreported = [];
    return unreported;
  }

  clear(): void {
    if (this.#known.size > 0) this.#known.clear();
    if (this.#unreported.length > 0) this.#unreported = [];
  }
}
