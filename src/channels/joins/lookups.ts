/** Reads lookups from Postgres, all by one snapshot. */
import type pg from 'pg';
import { Visibility } from '../../markers/visibility.ts';
import { timed } from '../../postgres/connect.ts';
import { quoteIdentifier } from '../../postgres/quote.ts';
import type { Missing } from './joins.ts';
import type { KnownIndex, KnownTable, Row, RowSet } from './known-rows.ts';

/** How long to wait for the tables' locks, which a rewrite of a table holds, in ms. */
const LOCK_MS_MAX = 1_000;
/** How long the server may work on one query, in ms, and how long its answer may take. */
const STATEMENT_MS_MAX = 10_000;
const ANSWER_MS_MAX = 15_000;

/** More rows than are allowed were found. */
export class TooManyRowsFound extends Error {}

type Answer = Readonly<Record<string, string | null>>;

export class LookupSession {
  readonly #client: pg.PoolClient;
  readonly #rowsMax: number;
  readonly visibility: Visibility;
  #rowCount = 0;

  private constructor(client: pg.PoolClient, visibility: Visibility, rowsMax: number) {
    this.#client = client;
    this.visibility = visibility;
    this.#rowsMax = rowsMax;
  }

  /** Takes a snapshot. The tables cannot be rewritten until `end`. */
  static async open(pool: pg.Pool, tables: Iterable<KnownTable>, rowsMax: number): Promise<LookupSession> {
    const client = await pool.connect();
    try {
      const names = [...tables].map(nameOf).join(', ');
      const begin =
        `begin isolation level repeatable read read only; set local lock_timeout = ${LOCK_MS_MAX}; ` +
        `set local statement_timeout = ${STATEMENT_MS_MAX}; ` +
        // rows that policies hide would be missing
        `set local row_security = off; lock table ${names} in access share mode`;
      await client.query(timed(begin, ANSWER_MS_MAX));
      const seen = 'select pg_current_snapshot()::text as snapshot';
      const { rows } = await client.query<{ snapshot: string }>(timed(seen, ANSWER_MS_MAX));
      return new LookupSession(client, new Visibility(rows[0]?.snapshot ?? ''), rowsMax);
    } catch (error) {
      client.release(error as Error);
      throw error;
    }
  }

  /** Throws TooManyRowsFound beyond the rows that this session may find. */
  async find(missing: Missing): Promise<Map<KnownIndex, Map<string, RowSet>>> {
    const found = new Map<KnownIndex, Map<string, RowSet>>();
    for (const [index, values] of missing) found.set(index, await this.#findIn(index, [...values.keys()]));
    return found;
  }

  async end(): Promise<void> {
    try {
      await this.#client.query(timed('rollback', ANSWER_MS_MAX));
      this.#client.release();
    } catch (error) {
      this.#client.release(error as Error);
    }
  }

  async #findIn(index: KnownIndex, values: readonly string[]): Promise<Map<string, RowSet>> {
    const found = new Map<string, RowSet>(values.map((value) => [value, new Map()]));
    const columns = index.positions.map((_, at) => values.map((value) => value.split('\0')[at] ?? ''));
    const limit = this.#rowsMax - this.#rowCount + 1;
    const query = timed(queryOf(index, limit), ANSWER_MS_MAX, columns);
    const { rows } = await this.#client.query<Answer>(query);
    this.#rowCount += rows.length;
    if (this.#rowCount > this.#rowsMax)
      throw new TooManyRowsFound(`more than ${this.#rowsMax} rows were found at once`);
    const { table } = index;
    for (const answer of rows) {
      const row: Row = table.columns.map((_, at) => answer[`c${at}`] ?? null);
      found.get(values[Number(answer['n']) - 1] as string)?.set(table.keyOf(row), row);
    }
    return found;
  }
}

function nameOf({ table }: KnownTable): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
}

/** `$1`... are arrays of texts, one for each column of the index. */
function queryOf(index: KnownIndex, limit: number): string {
  const { table, positions, types } = index;
  const outputs = table.columns.map(({ name }, at) => `t.${quoteIdentifier(name)} as c${at}`);
  const arrays = positions.map((_, at) => `$${at + 1}::text[]`);
  const values = positions.map((_, at) => `v${at}`);
  const conditions = positions.map(
    (position, at) => `t.${quoteIdentifier(table.columns[position]?.name ?? '')} = u.v${at}::${types[at]}`,
  );
  return (
    `select u.n, ${outputs.join(', ')} from unnest(${arrays.join(', ')}) with ordinality u(${[...values, 'n'].join(', ')}) ` +
    `join ${nameOf(table)} t on ${conditions.join(' and ')} limit ${limit}`
  );
}
