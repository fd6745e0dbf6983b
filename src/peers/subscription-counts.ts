/**
 * Counts the subscriptions to channels, in all processes that serve clients together. No process
 * knows the subscriptions of the others: they are asked each time, and their answers added up.
 *
 * A process that does not answer may have clients, or may have ended. So a question fails with
 * `try_again` without its answer, until presence has dropped the process.
 */
import { type Clock, noTimer } from '../clock.ts';
import { SnoError } from '../errors.ts';
import type { PeerMessage } from './message.ts';
import type { Peers } from './peers.ts';

const KIND = 'subscriptions';
/** How long the other processes may take to answer, in ms. */
const ANSWER_MS_MAX = 2_000;
/** Maximum approximate bytes of one message. Far below the maximum message of NATS. */
const PART_BYTES_MAX = 256 * 1_024;
const COUNT_BYTES = 8;

/** The subscriptions to count. */
export interface SubscriptionQuery {
  /** The name of a channel. Undefined: all channels. */
  readonly channel?: string;
  /** Only names that begin with one of these texts are counted. */
  readonly prefixes: readonly string[];
}

/** The number of subscriptions by the name under which clients know the channel. */
export type Counts = ReadonlyMap<string, number>;

/** The subscribers of this process. */
export interface LocalSubscriptions {
  /** The name of each subscription as its client knows it: to a channel, or to all channels. */
  subscriptionNames(channel?: string): Iterable<string>;
}

export interface SubscriptionCountsOptions {
  readonly local: LocalSubscriptions;
  readonly peers: Peers;
  /** Resolves with the other processes that serve clients now. */
  readonly others: () => Promise<readonly string[]>;
  readonly clock: Pick<Clock, 'after'>;
}

/** A question of this process, until all have answered. */
interface Question {
  readonly sums: Map<string, number>;
  /** The processes whose last part has not arrived. */
  readonly missing: Set<string>;
  readonly end: () => void;
}

export class SubscriptionCounts {
  readonly #options: SubscriptionCountsOptions;
  readonly #questions = new Map<number, Question>();
  #asked = 0;

  constructor(options: SubscriptionCountsOptions) {
    this.#options = options;
    options.peers.on(KIND, (message) => this.#receive(message));
  }

  /** Returns `try_again` if a process does not answer in time. */
  async ask(query: SubscriptionQuery): Promise<Counts | SnoError> {
    const { peers, others, clock } = this.#options;
    const missing = new Set(await others());
    const sums = this.#count(query);
    if (missing.size === 0) return sums;
    const id = ++this.#asked;
    let cancel = noTimer;
    await new Promise<void>((end) => {
      this.#questions.set(id, { sums, missing, end });
      cancel = clock.after(ANSWER_MS_MAX, end);
      peers.send(KIND, { asks: id, ...query });
    });
    cancel();
    this.#questions.delete(id);
    if (missing.size === 0) return sums;
    return new SnoError('try_again', 'a process that serves clients did not answer in time');
  }

  #count({ channel, prefixes }: SubscriptionQuery): Map<string, number> {
    const counts = new Map<string, number>();
    for (const name of this.#options.local.subscriptionNames(channel))
      if (prefixes.some((prefix) => name.startsWith(prefix))) counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts;
  }

  #receive({ from, head }: PeerMessage): void {
    const { asks, channel, prefixes, to, answers, counts, isLast } = head;
    if (typeof asks === 'number' && Array.isArray(prefixes)) {
      const query = { prefixes: prefixes as string[], ...(typeof channel === 'string' ? { channel } : {}) };
      return this.#answer(from, asks, this.#count(query));
    }
    if (to !== this.#options.peers.id) return;
    const question = this.#questions.get(answers as number);
    if (question?.missing.has(from) !== true) return;
    const { sums, missing, end } = question;
    for (const [name, count] of counts as [string, number][]) sums.set(name, (sums.get(name) ?? 0) + count);
    if (isLast !== true) return;
    missing.delete(from);
    if (missing.size === 0) end();
  }

  /** Sends the counts in messages of limited size. */
  #answer(to: string, answers: number, all: Counts): void {
    const { peers } = this.#options;
    let counts: [string, number][] = [];
    let bytes = 0;
    for (const [name, count] of all) {
      if (bytes > PART_BYTES_MAX) {
        peers.send(KIND, { to, answers, counts, isLast: false });
        counts = [];
        bytes = 0;
      }
      counts.push([name, count]);
      bytes += name.length + COUNT_BYTES;
    }
    peers.send(KIND, { to, answers, counts, isLast: true });
  }
}
