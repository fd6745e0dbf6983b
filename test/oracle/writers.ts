/**
 * Writers run random transactions on real connections, and record their commits. They survive all
 * faults of the server. If a commit was not answered, only the WAL shows its outcome.
 *
 * `items` is changed in every way: rows are inserted, updated, moved between rooms, leave the
 * view's WHERE and return, and are deleted. `owners` are joined to them: they change, come and go,
 * and block items. `ledger` only grows: each transaction inserts some rows there, by which it is
 * found in the WAL.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { until } from '../support/wait.ts';
import { OWNERS } from './joined.ts';
import { ROOMS } from './model.ts';
import type { Random } from './random.ts';

const IDS = 200;
const ENTRIES_PER_TRANSACTION = 10;
const ENTRIES_PER_WRITER = 10_000_000;
const LARGE_BYTES = 200_000;
const PAUSE_MAX_MS = 20;
const SLOW_PAUSE_MAX_MS = 1_000;

/** A writer's record of one transaction. */
export interface Transaction {
  /** Ledger entries, which identify the transaction. */
  readonly entries: readonly number[];
  /** Whether its commit is answered only once it is in the WAL. */
  readonly isDurable: boolean;
  /** On the clock of performance.now(): when the commit was requested, and when it was answered. */
  readonly askedAt: number;
  answeredAt?: number;
  outcome: 'committed' | 'rolled back' | 'unknown';
}

/** The transaction number of a ledger entry. */
export const transactionOf = (entry: number): number => Math.floor(entry / ENTRIES_PER_TRANSACTION);

/**
 * Deadlocks, unique violations and serialization failures roll a transaction back, so none of its
 * changes may be seen.
 */
const REFUSED = new Set(['40P01', '23505', '40001']);

export class Writers {
  /** Transactions by their number. */
  readonly transactions = new Map<number, Transaction>();
  committed = 0;
  /** Unexpected errors: neither a rollback nor a broken connection. */
  readonly faults: string[] = [];
  readonly #connect: () => Promise<pg.Client>;
  readonly #running: Promise<void>[] = [];
  #pauseMaxMs = PAUSE_MAX_MS;
  #isStopped = false;

  /** `connect` resolves as soon as a server accepts writes. */
  constructor(connect: () => Promise<pg.Client>) {
    this.#connect = connect;
  }

  start(randoms: readonly Random[]): void {
    for (const [writer, random] of randoms.entries()) this.#running.push(this.#write(writer, random));
  }

  /** Commits rarely from now on, so that a service that is behind catches up. */
  slowDown(): void {
    this.#pauseMaxMs = SLOW_PAUSE_MAX_MS;
  }

  /** Resolves when `count` more transactions have been committed. */
  async more(count: number): Promise<void> {
    const wanted = this.committed + count;
    await until(() => this.committed >= wanted, `${count} more commits`, 120_000);
  }

  /** Ends each writer after its transaction. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  async #write(writer: number, random: Random): Promise<void> {
    let client: pg.Client | undefined;
    for (let number = 1; !this.#isStopped; number++) {
      try {
        client ??= await this.#connect();
        await this.#transact(client, random, writer, number);
        // leaves processor time for the service
        await delay(random.below(this.#pauseMaxMs));
      } catch (error) {
        if (!isBroken(error)) this.faults.push(`writer ${writer}: ${String(error)}`);
        await client?.end().catch(() => undefined);
        client = undefined;
      }
    }
    await client?.end().catch(() => undefined);
  }

  async #transact(client: pg.Client, random: Random, writer: number, number: number): Promise<void> {
    const first = (writer + 1) * ENTRIES_PER_WRITER + number * ENTRIES_PER_TRANSACTION;
    const entries = Array.from({ length: 1 + random.below(3) }, (_, index) => first + index);
    const isDurable = random.chance(0.8);
    const commits = random.chance(0.85);
    try {
      await client.query(isDurable ? 'begin' : 'begin; set local synchronous_commit = off');
      for (let count = 1 + random.below(4); count > 0; count--) await change(client, random);
      if (random.chance(0.3)) await takenBack(client, random, first + ENTRIES_PER_TRANSACTION - 1);
      for (const entry of entries) await enter(client, random, entry, writer);
      const transaction: Transaction = { entries, isDurable, askedAt: performance.now(), outcome: 'unknown' };
      this.transactions.set(transactionOf(first), transaction);
      await client.query(commits ? 'commit' : 'rollback');
      transaction.outcome = commits ? 'committed' : 'rolled back';
      transaction.answeredAt = performance.now();
      if (commits) this.committed++;
    } catch (error) {
      if (!REFUSED.has((error as { code?: string }).code ?? '')) throw error;
      await client.query('rollback');
    }
  }
}

/** Whether the connection is broken, or the server is stopping or starting. */
function isBroken(error: unknown): boolean {
  const { code = '', message } = error as { readonly code?: string; readonly message: string };
  return /^(57P0|08|ECONN|EPIPE)/.test(code) || /terminated|ended|not queryable|timeout/i.test(message);
}

async function enter(client: pg.Client, random: Random, entry: number, writer: number): Promise<void> {
  const room = random.below(ROOMS);
  const isSaid = random.chance(0.2);
  await client.query('insert into ledger (entry, room, writer, said) values ($1, $2, $3, $4)', [
    entry,
    room,
    writer,
    isSaid,
  ]);
  if (isSaid) await say(client, room, entry);
}

async function say(client: pg.Client, room: number, entry: number): Promise<void> {
  await client.query("select sno.publish($1, json_build_object('entry', $2::bigint), event => 'said')", [
    `talk:${room}`,
    entry,
  ]);
}

type Change = (client: pg.Client, random: Random, id: number) => Promise<unknown>;

const changeOwner: Change = (client, random, id) =>
  (OWNER_CHANGES[random.below(OWNER_CHANGES.length)] as Change)(client, random, id);

/** Kinds of changes; one that is listed more often is more likely. */
const put: Change = (client, random, id) =>
  client.query(
    `insert into items (id, room, amount, note, owner) values ($1, $2, $3, $4, $5)
     on conflict (id) do update set amount = excluded.amount, note = excluded.note`,
    [
      id,
      random.below(ROOMS),
      random.below(20) - 5,
      random.chance(0.1) ? null : `"näte" ${id}\n`,
      random.chance(0.1) ? null : random.below(OWNERS),
    ],
  );
const CHANGES: readonly Change[] = [
  put,
  put,
  (client, random, id) => client.query('update items set owner = $2 where id = $1', [id, random.below(OWNERS)]),
  changeOwner,
  (client, random, id) =>
    client.query('update items set note = $2 where id = $1', [
      id,
      random.chance(0.03) ? 'x'.repeat(random.below(LARGE_BYTES)) : `note ${random.below(1_000)}`,
    ]),
  (client, random, id) => client.query('update items set room = $2 where id = $1', [id, random.below(ROOMS)]),
  (client, _random, id) => client.query('update items set done = not done where id = $1', [id]),
  (client, _random, id) => client.query('delete from items where id = $1', [id]),
  (client, _random, id) =>
    client.query('update items set amount = amount % 40 + 1 where id between $1 and $1 + 10', [id]),
  (client, random, id) =>
    client.query('update items set id = $2 where id = $1 and not exists (select from items where id = $2)', [
      id,
      random.below(IDS),
    ]),
];

const OWNER_CHANGES: readonly Change[] = [
  (client, random, id) =>
    client.query('insert into owners values ($1, $2, $3) on conflict (id) do update set name = excluded.name', [
      random.below(OWNERS),
      `owner ${random.below(1_000)}`,
      random.chance(0.5) ? id : null,
    ]),
  (client, random, id) => client.query('update owners set blocks = $2 where id = $1', [random.below(OWNERS), id]),
  (client, random) => client.query('delete from owners where id = $1', [random.below(OWNERS)]),
  (client, random) =>
    client.query('update owners set id = $2 where id = $1 and not exists (select from owners where id = $2)', [
      random.below(OWNERS),
      random.below(OWNERS),
    ]),
];

async function change(client: pg.Client, random: Random): Promise<void> {
  await (CHANGES[random.below(CHANGES.length)] as Change)(client, random, random.below(IDS));
}

/** Writes rows and rolls back to a savepoint: no subscriber may receive them. */
async function takenBack(client: pg.Client, random: Random, entry: number): Promise<void> {
  await client.query('savepoint here');
  await change(client, random);
  await client.query('insert into ledger (entry, room, writer, said) values ($1, $2, -1, false)', [
    entry,
    random.below(ROOMS),
  ]);
  await say(client, random.below(ROOMS), entry);
  await client.query('rollback to savepoint here');
}
