/**
 * Commits that the journal has dropped. A snapshot that does not see one of them cannot be used:
 * the journal lacks that commit's changes.
 */
import { Deque } from '../deque.ts';

/** A dropped commit: its 32-bit xid, and when it was dropped, in ms since 1970. */
export interface EvictedCommit {
  readonly xid: number;
  readonly at: number;
}

/** Maximum dropped commits that are remembered. */
const COMMITS_MAX = 16_384;
/** How long a dropped commit is remembered, in ms. */
const AGE_MAX_MS = 3_600_000;

/** Tells which transactions a snapshot sees. */
export interface SnapshotSight {
  sees(xid: number): boolean;
}

export class EvictedCommits {
  readonly #now: () => number;
  /** The last answer. Clients that join at the same time ask about the same snapshot. */
  #last: { readonly sight: SnapshotSight; readonly isUnseen: boolean } | undefined;
  readonly #commits = new Deque<EvictedCommit>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** The commits that are remembered, oldest first. */
  get list(): readonly EvictedCommit[] {
    const since = this.#now() - AGE_MAX_MS;
    return [...this.#commits].filter(({ at }) => at >= since);
  }

  /** Forgets all commits, and takes those that another process remembers. */
  replace(commits: readonly EvictedCommit[]): void {
    this.#commits.clear();
    this.#last = undefined;
    for (const commit of commits) this.#push(commit);
  }

  /** xid 0 is no transaction. The parts of a commit come one after the other, and count once. */
  add(xid: number): void {
    if (xid !== 0 && this.#commits.last()?.xid !== xid) this.#push({ xid, at: this.#now() });
  }

  /** Whether the snapshot lacks one of these commits. */
  hasUnseen(sight: SnapshotSight): boolean {
    if (this.#last?.sight === sight) return this.#last.isUnseen;
    const since = this.#now() - AGE_MAX_MS;
    let isUnseen = false;
    for (const { xid, at } of this.#commits) {
      isUnseen = at >= since && !sight.sees(xid);
      if (isUnseen) break;
    }
    this.#last = { sight, isUnseen };
    return isUnseen;
  }

  #push(commit: EvictedCommit): void {
    this.#last = undefined;
    this.#commits.push(commit);
    if (this.#commits.length > COMMITS_MAX) this.#commits.shift();
  }
}
