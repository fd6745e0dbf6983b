/** The evidence of a run, and the facts that follow from it without any frame. */
import type { History } from './model.ts';
import type { Subscriber } from './subscriber.ts';
import { type Transaction, transactionOf } from './writers.ts';

/** A fault that justifies resets, and when it began (performance.now()). */
export interface Incident {
  readonly kind: 'slot lost' | 'promoted' | 'publication altered' | 'database away' | 'stream away' | 'cut off';
  readonly at: number;
}

export interface Bounds {
  /** Larger commits are sent in parts of about so many bytes. */
  readonly commitBytes: number;
  /** Bytes of the journal, from which a connected client reads what it has missed. */
  readonly journalBytes: number;
  /** Bytes of what a client can resume from. */
  readonly replayBytes: number;
  readonly replaySeconds: number;
  readonly replayWalBytes: number;
}

export interface Evidence {
  /** The histories that ended by a promotion, then the present one. */
  readonly histories: readonly History[];
  readonly transactions: ReadonlyMap<number, Transaction>;
  readonly incidents: readonly Incident[];
  readonly bounds: Bounds;
  readonly subscribers: readonly Subscriber[];
}

/** A commit, with the writer's record of it. */
interface Dated {
  readonly lsn: number;
  readonly askedAt: number;
  readonly answeredAt: number;
  /** Approximate bytes of its frames in the journal. */
  readonly bytes: number;
}

/** Bytes of an event in addition to its data, and of a frame in addition to its events. */
const EVENT_BYTES = 30;
const FRAME_BYTES = 350;
/** Assumed accuracy of the oracle's clocks and estimates. */
const TOLERANCE = 0.8;

/** The commits of each timeline, by the time at which they were requested. */
export class Calendar {
  readonly #evidence: Evidence;
  /** By history: the commits that the history before it lacks. */
  readonly #own: readonly (readonly Dated[])[];
  /** By history: the lowest LSN of this commit and all later requests. */
  readonly #least: readonly (readonly number[])[];

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
    const { histories } = evidence;
    this.#own = histories.map((history, index) => {
      const before = new Set(histories[index - 1]?.commits.map(({ lsn, xid }) => `${lsn} ${xid}`));
      const bytes = journalBytes(history, evidence.bounds.commitBytes);
      return history.commits
        .filter(({ lsn, xid }) => !before.has(`${lsn} ${xid}`))
        .flatMap(({ lsn, changes }): Dated[] => {
          const transaction = this.#transaction(changes);
          if (transaction === undefined) return [];
          const { askedAt, answeredAt = Number.POSITIVE_INFINITY } = transaction;
          return [{ lsn, askedAt, answeredAt, bytes: bytes.get(lsn) ?? 0 }];
        })
        .sort((a, b) => a.askedAt - b.askedAt);
    });
    this.#least = this.#own.map((commits) => {
      let least = Number.POSITIVE_INFINITY;
      return commits
        .map(({ lsn }) => lsn)
        .reduceRight<number[]>((list, lsn) => {
          least = Math.min(least, lsn);
          list.unshift(least);
          return list;
        }, []);
    });
  }

  /** The lowest LSN of all commits requested after `at`. Infinite if no commit was. */
  firstAskedAfter(at: number): number {
    const timeline = this.#evidence.incidents.filter(
      ({ kind, at: since }) => kind === 'promoted' && since <= at,
    ).length;
    const commits = this.#own[timeline] ?? [];
    let [low, high] = [0, commits.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((commits[middle] as Dated).askedAt <= at) low = middle + 1;
      else high = middle;
    }
    return this.#least[timeline]?.[low] ?? Number.POSITIVE_INFINITY;
  }

  /** Whether the journal could not keep what follows a position, at the time `at`. */
  isBeyondJournal(lsn: number, at: number): boolean {
    return this.isBeyondBounds(lsn, at, this.#evidence.bounds.journalBytes);
  }

  /** Whether a position was really beyond the replay bounds at the time `at`. */
  isBeyondBounds(lsn: number, at: number, replayBytes = this.#evidence.bounds.replayBytes): boolean {
    const { replaySeconds, replayWalBytes } = this.#evidence.bounds;
    return this.#own.some((commits) => {
      const missed = commits.filter((commit) => commit.lsn > lsn && commit.askedAt <= at);
      const age = at - Math.min(...missed.map(({ askedAt }) => askedAt));
      const wal = Math.max(...missed.map((commit) => commit.lsn)) - lsn;
      const bytes = missed.reduce((sum, commit) => sum + commit.bytes, 0);
      return (
        age >= replaySeconds * 1_000 * TOLERANCE ||
        wal >= replayWalBytes * TOLERANCE ||
        bytes >= replayBytes * TOLERANCE
      );
    });
  }

  #transaction(changes: History['commits'][number]['changes']): Transaction | undefined {
    const entry = entriesOf(changes)[0];
    return entry === undefined ? undefined : this.#evidence.transactions.get(transactionOf(entry));
  }
}

/** By commit: approximate bytes of its frames in the journal. */
function journalBytes(history: History, commitBytes: number): Map<number, number> {
  const bytes = new Map<number, number>();
  for (const { lsn, rows, message } of history.everything()) {
    let events = message?.length ?? 0;
    for (const [key, data] of rows ?? []) events += EVENT_BYTES + key.length + (data?.length ?? 0);
    const frames = Math.max(1, Math.ceil(events / commitBytes));
    bytes.set(lsn, (bytes.get(lsn) ?? 0) + events + frames * FRAME_BYTES);
  }
  return bytes;
}

function entriesOf(changes: History['commits'][number]['changes']): number[] {
  return changes.flatMap(({ table, after }) => (table === 'ledger' ? [Number(after?.['entry'])] : []));
}

/**
 * Checks the oracle itself: the WAL must have each reported commit completely and once, and no
 * other commit.
 */
export function* disagreements({ histories, transactions, incidents }: Evidence): Generator<string> {
  const found = new Set<number>();
  const commits = new Map(
    histories.flatMap((history) => history.commits.map((commit) => [commit.lsn, commit] as const)),
  );
  for (const { lsn, changes } of commits.values()) {
    const entries = entriesOf(changes);
    if (entries.length === 0) continue;
    const number = transactionOf(entries[0] as number);
    const transaction = transactions.get(number);
    if (transaction === undefined) yield `the WAL has transaction ${number} at ${lsn}, which nobody asked to commit`;
    else if (transaction.outcome === 'rolled back') yield `the WAL has transaction ${number}, which was rolled back`;
    else if (transaction.entries.join() !== [...entries].sort((a, b) => a - b).join())
      yield `the WAL has of transaction ${number} the entries ${entries}, not ${transaction.entries}`;
    found.add(number);
  }
  const lost = incidents.filter(({ kind }) => kind === 'promoted').length > 0;
  for (const [number, { outcome, isDurable }] of transactions) {
    // commits that a standby lacked when it took over are lost, including some that the old primary
    // had confirmed
    const mustBeThere = outcome === 'committed' && isDurable && !lost;
    if (mustBeThere && !found.has(number)) yield `transaction ${number} was committed, and the WAL has not got it`;
  }
}
