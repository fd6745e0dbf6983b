/**
 * Gathers the marks of the current commit: its effects on whole patterns, and on what clients are
 * allowed to do.
 */
import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ClaimValue } from '../channels/events.ts';
import type { Lsn } from '../lsn.ts';
import { COMMIT_END_INDEX } from '../position.ts';
import type { Share } from './channel-events.ts';
import { type Mark, RECHECKS } from './entry.ts';
import { type CommitFacts, truncatePayload } from './payloads.ts';
import { Rechecks } from './rechecks.ts';

/**
 * Maximum channels with incomplete rows in a commit. Beyond it, all channels of the pattern are
 * reset, not only these.
 */
const INCOMPLETE_CHANNELS_MAX = 10_000;
export class CommitMarks {
  /** Returns the next sequence. */
  readonly #next: () => number;
  readonly #truncated = new Set<string>();
  readonly #incomplete = new Set<Share>();
  readonly #redefined = new Map<string, 'changed' | 'dropped'>();
  readonly #rechecks = new Rechecks();
  /** Patterns whose views join tables that the commit changes. */
  readonly #touched = new Set<string>();

  constructor(next: () => number) {
    this.#next = next;
  }

  truncate(pattern: string): void {
    this.#truncated.add(pattern);
  }

  isTruncated(pattern: string): boolean {
    return this.#truncated.has(pattern);
  }

  incomplete(share: Share): void {
    this.#incomplete.add(share);
  }

  isIncomplete(share: Share): boolean {
    return this.#incomplete.has(share);
  }

  /** Whether more channels have incomplete rows than are tracked one by one. */
  get areIncompleteMany(): boolean {
    return this.#incomplete.size >= INCOMPLETE_CHANNELS_MAX;
  }

  touched(pattern: string): void {
    this.#touched.add(pattern);
  }

  recheck(schema: AccessSchema, pattern: string, channel?: string, claim?: ClaimValue): void {
    this.#rechecks.add(schema, pattern, channel, claim);
  }

  redefined(pattern: string, how: 'changed' | 'dropped'): void {
    this.#redefined.set(pattern, how);
  }

  /** Whether the subscribers of the channel are reset at the commit's end. */
  areReset(share: Share): boolean {
    return this.#redefined.has(share.pattern) || this.#incomplete.has(share);
  }

  /** The marks at the commit's end. */
  atEnd(facts: CommitFacts, lsn: Lsn): Mark[] {
    const marks: Mark[] = [];
    const { xid } = facts;
    for (const [pattern, kind] of this.#redefined)
      marks.push({ pattern, kind, sequence: this.#next(), xid, lsn, index: COMMIT_END_INDEX });
    marks.push(...this.rechecks(xid, lsn));
    for (const pattern of this.#touched)
      marks.push({ pattern, kind: 'touched', sequence: this.#next(), xid, lsn, index: COMMIT_END_INDEX });
    for (const { pattern, channel } of this.#incomplete)
      marks.push({ pattern, channel, kind: 'changed', sequence: this.#next(), xid, lsn, index: COMMIT_END_INDEX });
    for (const pattern of this.#truncated) {
      if (this.#redefined.has(pattern)) continue;
      const payload = (channel: string) => truncatePayload(facts, channel, lsn);
      marks.push({ pattern, kind: 'truncate', sequence: this.#next(), xid, lsn, index: 1, payload });
    }
    return marks;
  }

  /** Returns the recheck marks that were not returned before. */
  rechecks(xid: number, lsn: Lsn): Mark[] {
    const mark = { xid, lsn, index: COMMIT_END_INDEX };
    return this.#rechecks
      .take()
      .map(({ schema, ...whom }) => ({ kind: RECHECKS[schema], ...mark, ...whom, sequence: this.#next() }));
  }

  /** Returns marks for patterns with channels that are no longer tracked but may be subscribed. */
  cut(patterns: Iterable<string>, xid: number, lsn: Lsn): Mark[] {
    const mark = { kind: 'cut', xid, lsn, index: COMMIT_END_INDEX } as const;
    return [...patterns].map((pattern) => ({ ...mark, pattern, sequence: this.#next() }));
  }

  clear(): void {
    if (this.#truncated.size > 0) this.#truncated.clear();
    if (this.#redefined.size > 0) this.#redefined.clear();
    this.#rechecks.clear();
    if (this.#touched.size > 0) this.#touched.clear();
    if (this.#incomplete.size > 0) this.#incomplete.clear();
  }
}
