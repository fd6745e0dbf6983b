/**
 * Writers: random transactions on real connections, which remember what they committed.
 *
 * `items` is changed in every way: rows come, change, move between rooms, leave the view's WHERE and come back, go.
 * `ledger` only grows: each transaction writes some rows there, so that whoever follows a room can be asked whether it
 * got each commit once and whole.
 */
import type pg from 'pg';
import { Random } from '../oracle/random.ts';
import type { TestDatabase } from '../support/postgres.ts';

export const ROOMS = 5;

export const SCHEMA = `
  create table items (id int primary key, room int not null, amount numeric, note text, done boolean not null default false);
  alter table items replica identity full;
  create table ledger (entry bigint primary key, room int not null, writer int not null);
  alter table ledger replica identity full;
  create schema if not exists channels;
  create schema if not exists channel_access;
  create view channels."items:{room}" as select id, room, amount, note from items where not done and amount > 0;
  create view channel_access."items:{room}" as select generate_series(0, ${ROOMS - 1}) as room;
  -- to_char() is evaluated by Postgres, the other views in process
  create view channels."told:{room}" as select id, room, to_char(amount, 'FM990.0') as told from items where md5(note) < 'c' or note is null;
  create view channel_access."told:{room}" as select generate_series(0, ${ROOMS - 1}) as room;
  create view channels."ledger:{room}" as select entry, room, writer from ledger;
  create view channel_access."ledger:{room}" as select generate_series(0, ${ROOMS - 1}) as room;
`;

/** What one committed transaction wrote into the ledger: entries by room. */
export type Committed = ReadonlyMap<number, readonly string[]>;

/** By 32-bit xid, as changes frames tell it. */
export type Commits = Map<number, Committed>;

/** Runs `transactions` of each of `writers` writers at the same time; resolves with all that was committed. */
export async function write(
  database: TestDatabase,
  options: {
    readonly seed: number;
    readonly writers: number;
    readonly transactions: number;
    readonly onCommit?: (total: number) => void;
  },
): Promise<Commits> {
  const commits: Commits = new Map();
  await Promise.all(
    Array.from({ length: options.writers }, async (_, writer) => {
      const client = await database.connect();
      const random = new Random(options.seed * 1_000 + writer);
      for (let transaction = 0; transaction < options.transactions; transaction++) {
        const [xid, committed] = await transact(client, random, writer, transaction);
        if (xid !== undefined) {
          commits.set(xid, committed);
          options.onCommit?.(commits.size);
        }
      }
    }),
  );
  return commits;
}

/** Deadlocks and unique violations end a transaction as a rollback does: nothing of it may be seen. */
const EXPECTED = new Set(['40P01', '23505', '40001']);

async function transact(
  client: pg.Client,
  random: Random,
  writer: number,
  transaction: number,
): Promise<[number | undefined, Committed]> {
  const entries = new Map<number, string[]>();
  try {
    await client.query('begin');
    for (let count = 1 + random.below(4); count > 0; count--) await change(client, random);
    if (random.chance(0.3)) await undone(client, random);
    for (let count = 1 + random.below(3); count > 0; count--) {
      const room = random.below(ROOMS);
      const entry = String(writer * 1_000_000 + transaction * 10 + count);
      await client.query('insert into ledger (entry, room, writer) values ($1, $2, $3)', [entry, room, writer]);
      entries.set(room, [...(entries.get(room) ?? []), entry]);
    }
    const { rows } = await client.query<{ xid: string }>(
      'select (pg_current_xact_id()::text::numeric % 4294967296)::text as xid',
    );
    if (random.chance(0.15)) {
      await client.query('rollback');
      return [undefined, entries];
    }
    await client.query('commit');
    return [Number(rows[0]?.xid), entries];
  } catch (error) {
    if (!EXPECTED.has((error as { code: string }).code)) throw error;
    await client.query('rollback');
    return [undefined, entries];
  }
}

async function change(client: pg.Client, random: Random): Promise<void> {
  const id = random.below(200);
  const room = random.below(ROOMS);
  const amount = random.below(20) - 5;
  switch (random.below(8)) {
    case 0:
    case 1:
      await client.query(
        'insert into items (id, room, amount, note) values ($1, $2, $3, $4) on conflict (id) do update set amount = excluded.amount, note = excluded.note',
        [id, room, amount, random.chance(0.1) ? null : `"näte" ${id}\n`],
      );
      return;
    case 2:
      await client.query('update items set note = $2 where id = $1', [id, `note ${random.below(1_000)}`]);
      return;
    case 3:
      await client.query('update items set room = $2 where id = $1', [id, room]);
      return;
    case 4:
      await client.query('update items set done = not done where id = $1', [id]);
      return;
    case 5:
      await client.query('delete from items where id = $1', [id]);
      return;
    case 6:
      await client.query('update items set amount = amount + 1 where id between $1 and $1 + 10', [id]);
      return;
    default:
      await client.query('update items set id = $2 where id = $1 and not exists (select from items where id = $2)', [
        id,
        random.below(200),
      ]);
  }
}

/** What a savepoint takes back must never be seen. */
async function undone(client: pg.Client, random: Random): Promise<void> {
  await client.query('savepoint here');
  await change(client, random);
  await client.query('insert into ledger (entry, room, writer) values ($1, $2, -1)', [
    900_000_000 + random.below(90_000_000),
    random.below(ROOMS),
  ]);
  await client.query('rollback to savepoint here');
}
