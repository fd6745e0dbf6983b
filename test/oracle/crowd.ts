/** The clients and the writers of a run. At its end, every client must have all commits. */
import type pg from 'pg';
import { until, WAIT_MS } from '../support/wait.ts';
import { CHANNELS, ROOMS } from './model.ts';
import type { Random } from './random.ts';
import { Subscriber } from './subscriber.ts';
import { type Transaction, transactionOf, Writers } from './writers.ts';

export interface CrowdOptions {
  /** Connects a writer as soon as a server accepts writes. */
  readonly connect: () => Promise<pg.Client>;
  /** The port of a subscriber's next connection. `index`: the subscriber's number. */
  readonly url: (index: number) => string;
  readonly ca: string;
  readonly token: string;
}

/** Ledger entries of the commit that ends a run. */
const LAST_ENTRY = 10;
/** How long subscribers may take to join, and to receive the last commits: longer in the soak. */
const JOIN_MS = Math.max(120_000, WAIT_MS);

export class Crowd {
  readonly subscribers: Subscriber[] = [];
  readonly writers: Writers;
  readonly #options: CrowdOptions;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.writers = new Writers(options.connect);
  }

  subscribe(random: Random): Subscriber {
    const { url, ca, token } = this.#options;
    const index = this.subscribers.length;
    const channels = CHANNELS.filter(() => random.chance(0.35));
    const subscriber = new Subscriber({
      url: () => url(index),
      ca,
      token,
      channels: channels.length > 0 ? channels : [CHANNELS[random.below(CHANNELS.length)] as string],
      perMessageDeflate: random.chance(0.6),
      snapshot: random.chance(0.75),
      framesUntilRejoining: random.chance(0.4) ? 20 + random.below(60) : 0,
      old: index % 2 === 1,
    });
    this.subscribers.push(subscriber);
    return subscriber;
  }

  /** Waits while writers commit and some subscribers leave and rejoin. */
  async everybodyHasJoined(): Promise<void> {
    await until(() => this.subscribers.every(({ hasJoined }) => hasJoined), 'everybody has joined everything', JOIN_MS);
  }

  /**
   * Called after the writers have ended. Commits to every channel, and waits until every subscriber
   * has the commits.
   */
  async finish(): Promise<void> {
    const isEachLive = () => this.subscribers.every(({ isLive }) => isLive);
    // a subscriber that joined after the last message would never receive it
    for (const subscriber of this.subscribers) subscriber.settle();
    await until(isEachLive, 'everybody is subscribed to everything', JOIN_MS);
    const rooms = Array.from({ length: ROOMS }, (_, room) => room);
    const transaction: Transaction = {
      entries: rooms.map((room) => LAST_ENTRY + room),
      isDurable: true,
      askedAt: performance.now(),
      outcome: 'unknown',
    };
    this.writers.transactions.set(transactionOf(LAST_ENTRY), transaction);
    const client = await this.#options.connect();
    await client.query('begin');
    await client.query(
      `insert into ledger select ${LAST_ENTRY} + room, room, 0, true from generate_series(0, ${ROOMS - 1}) room`,
    );
    await client.query(
      `insert into owners values (1000, 'the last', null);
       insert into items (id, room, amount, owner) select 1000 + room, room, 1, 1000 from generate_series(0, ${ROOMS - 1}) room`,
    );
    await client.query(
      `select sno.publish('talk:' || room, json_build_object('entry', ${LAST_ENTRY} + room), event => 'said') from generate_series(0, ${ROOMS - 1}) room`,
    );
    await client.query('commit');
    await client.end();
    transaction.outcome = 'committed';
    transaction.answeredAt = performance.now();
    await this.#everybodyHas(transaction.askedAt);
  }

  /**
   * The last commit's frames name the row or the entry that it wrote. Each note is checked only
   * once: a subscriber far behind has many notes, and repeated checks would slow its reading.
   */
  async #everybodyHas(since: number): Promise<void> {
    const marks = /"id":100[0-9]\b|"entry":1[0-9]\b/;
    const looks = new Map(
      this.subscribers.map((subscriber) => [subscriber, { missing: new Set(subscriber.options.channels), next: 0 }]),
    );
    const has = (subscriber: Subscriber) => {
      const look = looks.get(subscriber);
      if (look === undefined) return false;
      for (; look.next < subscriber.record.length; look.next++) {
        const note = subscriber.record[look.next];
        if (note?.what !== 'frame' || note.at < since) continue;
        if (marks.test(JSON.stringify(note.frame))) look.missing.delete(note.frame.channel ?? '');
      }
      return look.missing.size === 0 && subscriber.isLive;
    };
    const told = 'everybody has the last commit';
    await until(() => this.subscribers.every(has), told, JOIN_MS).catch((error: Error) => {
      const late = this.subscribers.filter((subscriber) => !has(subscriber));
      throw new Error(`${error.message}; ${late.map((subscriber) => subscriber.standing).join('; ')}`);
    });
  }

  /** Closes all clients, and ends the writers. */
  async end(): Promise<void> {
    for (const subscriber of this.subscribers) subscriber.close();
    await this.writers.stop();
  }
}
