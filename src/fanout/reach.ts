/**
 * Read your writes: a connection that waits until what it shows includes a certain commit.
 *
 * The commit is named by what the app's server could learn of it: an LSN at or after its end, or its transaction id. The
 * stream is known to have passed it when a marker comes out that was put into the WAL after it (markers.ts). So a quiet
 * channel, or a commit that concerns no channel at all, is answered as soon as any other.
 */
import { type Lsn, parseLsn } from '../lsn.ts';
import type { Position } from '../position.ts';
import type { Markers } from './markers.ts';
import type { HubOptions } from './options.ts';

/** A commit as a client names it. */
export interface CommitReference {
  /** As it came, for the answer. */
  readonly text: string;
  /** Its end lies at or before it. */
  readonly lsn?: Lsn;
  /** Its transaction, in 32 bits. */
  readonly xid?: number;
}

/** What is asked of the whole. */
export interface ReachHost {
  /** Everything that committed before it has come out of the stream. */
  readonly frontier: Pick<Position, 'lsn'>;
  readonly options: Pick<HubOptions, 'visible' | 'waitingCommitsMax'>;
  readonly markers: Pick<Markers, 'expect'>;
}

/** Who waits. */
export interface ReachWaiter {
  /** A commit has come out of the stream: at once, or in the middle of the stream. */
  reached(isAtOnce: boolean): void;
}

const XID = /^\d{1,20}$/;

/** `0/16B3748` or `741`: what `pg_current_wal_insert_lsn()` and `pg_current_xact_id()` print. Undefined for anything else. */
export function parseCommitReference(text: string): CommitReference | undefined {
  // the WAL has the lower half of a transaction id
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

  /** False where too many are waited for. */
  ask(commit: CommitReference): boolean {
    const { text, lsn, xid } = commit;
    const { options } = this.#host;
    if (lsn !== undefined && this.#host.frontier.lsn >= lsn) {
      this.#reached.push(text);
      this.#waiter.reached(true);
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

  /** What has come out of the stream and was not told yet. */
  take(): readonly string[] {
    return this.#reached.splice(0);
  }

  /** Another history begins, or the connection is over. */
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
      this.#waiter.reached(false);
    });
  }
}
