/**
 * Read your writes: a connection waits until what it shows includes a certain commit.
 *
 * The client names the commit by what the app's server could learn of it: an LSN at or after its
 * end, or its transaction id. The stream has passed the commit when a marker arrives that was put
 * into the WAL after it (markers/markers.ts). So a quiet channel, or a commit that concerns no
 * channel, is answered as soon as any other.
 */
import { type Lsn, parseLsn } from '../lsn.ts';
import type { Markers } from '../markers/markers.ts';
import type { Position } from '../position.ts';
import type { HubOptions } from './options.ts';

/** A commit as a client names it. */
export interface CommitReference {
  /** The client's own text, for the answer. */
  readonly text: string;
  /** An LSN at or after the commit's end. */
  readonly lsn?: Lsn;
  /** The commit's transaction id, in 32 bits. */
  readonly xid?: number;
}

/** What `Reaches` needs from the hub. */
export interface ReachHost {
  /** The stream has delivered everything committed before it. */
  readonly frontier: Pick<Position, 'lsn'>;
  readonly options: Pick<HubOptions, 'visible' | 'waitingCommitsMax'>;
  readonly markers: Pick<Markers, 'expect'>;
}

/** The connection that waits. */
export interface ReachWaiter {
  /**
   * The stream has delivered a commit. `isAtOnce`: during `ask`; otherwise in the middle of the
   * stream.
   */
  onReached(isAtOnce: boolean): void;
}

const XID = /^\d{1,20}$/;

/**
 * Parses `0/16B3748` or `741`, as printed by `pg_current_wal_insert_lsn()` and
 * `pg_current_xact_id()`. Returns undefined for anything else.
 */
export function parseCommitReference(text: string): CommitReference | undefined {
  // The WAL has the lower half of a transaction id.
  if (XID.test(text)) return { text, xid: Number(BigInt.asUintN(32, BigInt(text))) };
  const lsn = parseLsn(text);
  return lsn === undefined ? undefined : { text, lsn };
}

/** The commits that one connection waits for. */
export class Reaches {
  readonly #host: ReachHost;
  readonly #waiter: ReachWaiter;
  readonly #waiting = new Map<string, object>();
  #reached: string[] = [];

  constructor(host: ReachHost, waiter: ReachWaiter) {
    this.#host = host;
    this.#waiter = waiter;
  }

  /** Returns false if the connection already waits for as many commits as it may. */
  ask(commit: CommitReference): boolean {
    const { text, lsn, xid } = commit;
    const { options } = this.#host;
    if (lsn !== undefined && this.#host.frontier.lsn >= lsn) {
      this.#reached.push(text);
      this.#waiter.onReached(true);
      return true;
    }
    if (this.#waiting.has(text)) return true;
    if (this.#waiting.size >= options.waitingCommitsMax) return false;
    const wait = {};
    this.#waiting.set(text, wait);
    const isWanted = () => this.#waiting.get(text) === wait;
    if (xid === undefined) this.#expect(text, isWanted);
    else void options.visible(xid, isWanted).then(() => this.#expect(text, isWanted));
    return true;
  }

  /** Returns and removes the reached commits that the client has not been told about. */
  take(): readonly string[] {
    return this.#reached.splice(0);
  }

  /** Called when another history begins or the connection ends. */
  clear(): void {
    this.#waiting.clear();
    this.#reached = [];
  }

  #expect(text: string, isWanted: () => boolean): void {
    if (!isWanted()) return;
    this.#host.markers.expect(() => {
      if (!isWanted()) return;
      this.#waiting.delete(text);
      this.#reached.push(text);
      this.#waiter.onReached(false);
    });
  }
}
