/**
 * The checks of access that one connection waits for. While there are any, nothing that was committed after the first commit that
 * they are about is written, of no channel.
 *
 * One check is under way at a time. Commits that come meanwhile gather for the next, so that a steady stream of them
 * neither asks without end nor keeps the connection silent: with each answer it may go on up to the first commit that was
 * not there when the next check began.
 */
import type { Subscription } from './subscription.ts';

interface Check {
  readonly subscriptions: Set<Subscription>;
  /** What must come before it can be asked. */
  readonly seen: Promise<unknown>[];
  /** Sequence of the last entry before the first of the commits. */
  upTo: number;
  readonly answered: Promise<void>;
  readonly answer: () => void;
}

/** Whose checks they are. */
export interface VigilHost {
  /** Ends the subscriptions that are not allowed any more; resolves when that is known of each. Never rejects. */
  check(subscriptions: Iterable<Subscription>): Promise<unknown>;
  /** The limit is another. */
  pump(): void;
}

export class Vigil {
  readonly #host: VigilHost;
  #running: Check | undefined;
  #next: Check | undefined;
  #isBusy = false;

  constructor(host: VigilHost) {
    this.#host = host;
  }

  /** Sequence up to which entries may be written. */
  get limit(): number {
    return Math.min(this.#running?.upTo ?? Number.POSITIVE_INFINITY, this.#next?.upTo ?? Number.POSITIVE_INFINITY);
  }

  /** Resolves when everything that was asked for until now has been answered; undefined: it has. */
  get answered(): Promise<void> | undefined {
    return (this.#next ?? this.#running)?.answered;
  }

  /** Commits after `upTo` may have taken the right to these subscriptions away: asks once `seen` resolves. */
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
      await this.#host.check(check.subscriptions);
      this.#running = undefined;
      check.answer();
      this.#host.pump();
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
