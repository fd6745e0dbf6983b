/**
 * The access checks that one connection waits for. While a check is pending, nothing committed
 * after its first commit is written, on any channel.
 *
 * One check runs at a time. Commits that arrive meanwhile gather for the next check. So a steady
 * stream of commits neither causes endless checks nor silences the connection. With each answer,
 * the connection may continue up to the first commit that arrived after the next check began to
 * gather.
 */
import type { Subscription } from '../subscription.ts';
import { type CheckedConnection, checkAccess } from './check.ts';

interface Check {
  readonly subscriptions: Set<Subscription>;
  /** Resolve when queries see the commits: wait for all of them before checking. */
  readonly seen: Promise<unknown>[];
  /** Sequence of the last entry before the first of the commits. */
  upTo: number;
  readonly answered: Promise<void>;
  readonly answer: () => void;
}

/** The connection that the checks are for. */
export interface HeldConnection extends CheckedConnection {
  /** Called when the limit has changed. */
  pump(): void;
}

export class AccessHold {
  readonly #connection: HeldConnection;
  #running: Check | undefined;
  #next: Check | undefined;
  #isBusy = false;

  constructor(connection: HeldConnection) {
    this.#connection = connection;
  }

  /** Sequence up to which entries may be written. */
  get limit(): number {
    return Math.min(this.#running?.upTo ?? Number.POSITIVE_INFINITY, this.#next?.upTo ?? Number.POSITIVE_INFINITY);
  }

  /** Resolves when all checks requested so far are answered. Undefined: none is pending. */
  get answered(): Promise<void> | undefined {
    return (this.#next ?? this.#running)?.answered;
  }

  /**
   * Commits after `upTo` may have revoked access to these subscriptions. Access is checked once
   * `seen` resolves.
   */
  add(subscriptions: Iterable<Subscription>, seen: Promise<unknown>, upTo: number): void {
    this.#next ??= newCheck(upTo);
    const next = this.#next;
    next.upTo = Math.min(next.upTo, upTo);
    next.seen.push(seen);
    for (const subscription of subscriptions) next.subscriptions.add(subscription);
    if (!this.#isBusy) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    for (let check = this.#next; check !== undefined; check = this.#next) {
      this.#running = check;
      this.#next = undefined;
      await Promise.all(check.seen);
      await Promise.all([...check.subscriptions].map((each) => checkAccess(this.#connection, each)));
      this.#running = undefined;
      check.answer();
      this.#connection.pump();
    }
    this.#isBusy = false;
  }
}

function newCheck(upTo: number): Check {
  let answer = () => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  return { subscriptions: new Set(), seen: [], upTo, answered, answer };
}
