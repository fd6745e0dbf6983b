/**
 * Read your writes: the waits of one live view, each until the view's rows include a commit.
 *
 * A commit that the view receives settles its wait in the same turn. About other commits, the
 * server is asked: those that do not concern the channel, came with a snapshot, or arrived before
 * the wait began.
 */
import { SnoClientError } from './error.ts';
import type { Commit } from './event.ts';

type TransactionId = string | number | bigint;

/**
 * A commit. Either the text of `pg_current_wal_insert_lsn()`, queried after the commit on the same
 * connection. Or the transaction's id: from `pg_current_xact_id()` within the transaction, or a
 * commit's `xid`.
 */
export type CommitId = TransactionId | { readonly xid: TransactionId };

export interface ReachedOptions {
  /**
   * Ends the wait: the promise rejects with the signal's reason. `AbortSignal.timeout(5_000)`
   * limits the wait.
   */
  readonly signal?: AbortSignal | undefined;
}

interface Wait {
  readonly commit: string;
  /** Without an error: the commit was reached. With an error: the wait failed. */
  settle(error?: SnoClientError): void;
}

/**
 * Number of transaction ids of recent commits that are kept: a commit often arrives before the
 * app's server has returned its id.
 */
const XIDS_KEPT = 256;
const COMMIT = /^(\d{1,20}|[\dA-F]{1,8}\/[\dA-F]{1,8})$/i;

export class Reached {
  readonly #ask: (commit: string) => void;
  readonly #waits = new Set<Wait>();
  readonly #xids = new Set<number>();
  /** Every commit of the channel up to it was delivered. */
  #lsn = -1;

  /** `ask`: asks the server for a commit, if the channel is live. */
  constructor(ask: (commit: string) => void) {
    this.#ask = ask;
  }

  async wait(id: CommitId, { signal }: ReachedOptions, error: SnoClientError | undefined): Promise<void> {
    const commit = textOf(id);
    signal?.throwIfAborted();
    if (error !== undefined) throw error;
    if (this.#includes(commit)) return;
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => wait.settle();
      const wait: Wait = {
        commit,
        settle: (failure) => {
          signal?.removeEventListener('abort', abort);
          this.#waits.delete(wait);
          if (failure === undefined) resolve();
          else reject(failure);
        },
      };
      signal?.addEventListener('abort', abort);
      this.#waits.add(wait);
      this.#ask(commit);
    });
    signal?.throwIfAborted();
  }

  /** Call when the view has received a commit. */
  received({ lsn, xid }: Commit): void {
    this.#lsn = lsnOf(lsn);
    this.#xids.add(xid);
    for (const oldest of this.#xids) {
      if (this.#xids.size <= XIDS_KEPT) break;
      this.#xids.delete(oldest);
    }
    for (const wait of [...this.#waits]) if (this.#includes(wait.commit)) wait.settle();
  }

  /** Call when the channel has become live: what the server was asked before is void. */
  joined(): void {
    for (const commit of new Set([...this.#waits].map((wait) => wait.commit))) this.#ask(commit);
  }

  /** Call when the server has answered that the view includes the commit. */
  answered(commit: string): void {
    for (const wait of [...this.#waits]) if (wait.commit === commit) wait.settle();
  }

  /** Forgets the commits received so far. */
  reset(): void {
    this.#lsn = -1;
    this.#xids.clear();
  }

  /** Rejects all waits: the view has ended. */
  end(error: SnoClientError): void {
    for (const wait of [...this.#waits]) wait.settle(error);
  }

  #includes(commit: string): boolean {
    return commit.includes('/') ? lsnOf(commit) <= this.#lsn : this.#xids.has(lowerHalf(commit));
  }
}

function textOf(id: CommitId): string {
  const text = String(typeof id === 'object' ? (id as { xid?: unknown } | null)?.xid : id);
  if (COMMIT.test(text)) return text;
  throw new SnoClientError(
    'commit_invalid',
    `${JSON.stringify(text)} is not a commit: pass the result of pg_current_wal_insert_lsn() or pg_current_xact_id(), as text.`,
  );
}

/** An LSN as the number of WAL bytes before it. */
function lsnOf(text: string): number {
  const [high = '', low = ''] = text.split('/');
  return Number.parseInt(high, 16) * 2 ** 32 + Number.parseInt(low, 16);
}

/** Commits come with the lower 32 bits of the 64 that a transaction id has. */
const lowerHalf = (xid: string): number => Number(BigInt.asUintN(32, BigInt(xid)));
