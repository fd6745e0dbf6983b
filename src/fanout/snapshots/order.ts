/**
 * Checks whether a snapshot of a view that joins sees the commits to its tables in the order of the
 * WAL. A commit becomes visible after its record is in the WAL, so two commits may become visible
 * in the other order. A snapshot between the two matches no place in the WAL, and is taken again.
 */
import { Deque } from '../../deque.ts';
import type { Visibility } from '../../markers/visibility.ts';

/** Maximum commits that are remembered for each pattern. */
const COMMITS_MAX = 16_384;

/** A snapshot that commits are compared with, in their order. */
export interface SnapshotOrder {
  /** Whether it sees the commits in order. False: it sees one, but not an earlier one. */
  readonly isKept: boolean;
  /** Ends the comparison with further commits. */
  end(): void;
}

export class TouchedCommits {
  readonly #commits = new Map<string, Deque<number>>();
  readonly #watched = new Map<string, Set<Watch>>();

  /** Adds a commit that changes rows that the view of the pattern joins. */
  add(pattern: string, xid: number): void {
    let commits = this.#commits.get(pattern);
    if (commits === undefined) {
      commits = new Deque();
      this.#commits.set(pattern, commits);
    }
    commits.push(xid);
    if (commits.length > COMMITS_MAX) commits.shift();
    for (const watch of this.#watched.get(pattern) ?? []) watch.compare(xid);
  }

  /** Compares a snapshot with all remembered commits, and with those that follow. */
  watch(pattern: string, visibility: Visibility): SnapshotOrder {
    let watched = this.#watched.get(pattern);
    if (watched === undefined) {
      watched = new Set();
      this.#watched.set(pattern, watched);
    }
    const watch = new Watch(visibility, watched);
    watched.add(watch);
    for (const xid of this.#commits.get(pattern) ?? []) watch.compare(xid);
    return watch;
  }
}

/** A class, since there may be thousands at the same time: closures would cost more memory. */
class Watch implements SnapshotOrder {
  readonly #visibility: Visibility;
  readonly #among: Set<Watch>;
  #isBehind = false;
  #isKept = true;

  constructor(visibility: Visibility, among: Set<Watch>) {
    this.#visibility = visibility;
    this.#among = among;
  }

  get isKept(): boolean {
    return this.#isKept;
  }

  compare(xid: number): void {
    if (!this.#visibility.sees(xid)) this.#isBehind = true;
    else if (this.#isBehind) this.#isKept = false;
  }

  end(): void {
    this.#among.delete(this);
  }
}
