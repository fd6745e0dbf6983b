/** Reads lookups from Postgres, all with one snapshot. */
import type pg from 'pg';
import { Visibility } from '../../markers/visibility.ts';
import { timed } from '../../postgres/connect.ts';
import { quoteIdentifier } from '../../postgres/quote.ts';
import type { Missing } from './joins.ts';
import type { KnownIndex, KnownTable, RowSet } from './known-rows.ts';
import { KeptRow, stringOf } from './row.ts';

/** Maximum duration of one query on the server, and until its answer arrives, in ms. */
const STATEMENT_MS_MAX = 10_000;
const ANSWER_MS_MAX = 15_000;

/** Maximum bytes of the rows that one session finds. */
const FOUND_BYTES_MAX = 128 << 20;

/** The lookups of this index found more rows than are allowed. */
export class TooManyRowsFound extends Error {
  readonly index: KnownIndex;

  constructor(index: KnownIndex, limit: string) {
    super(`more than ${limit} were found at once`);
    this.index = index;
  }
}

interface SessionLimits {
  readonly rowsMax: number;
  /** Maximum wait for the tables' locks, in ms: a rewrite of a table holds them. */
  readonly lockMs: number;
}

type Answer = Readonly<Record<string, string | null>>;

export class LookupSession {
  readonly #client: pg.PoolClient;
  readonly #rowsMax: number;
  readonly visibility: Visibility;
  #rowCount = 0;
  #byteCount = 0;
  #isReleased = false;

  private constructor(client: pg.PoolClient, visibility: Visibility, rowsMax: number) {
    this.#client = client;
    this.visibility = visibility;
    this.#rowsMax = rowsMax;
  }

  /** Takes a snapshot. The tables cannot be rewritten until `end`. */
  static async open(
    pool: pg.Pool,
    tables: Iterable<KnownTable>,
    { rowsMax, lockMs }: SessionLimits,
  ): Promise<LookupSession> {
    const client = await pool.connect();
    try {
      const names = [...tables].map(nameOf).join(', ');
      const begin =
        `begin isolation level repeatable read read only; set local lock_timeout = ${lockMs}; ` +
        `set local statement_timeout = ${STATEMENT_MS_MAX}; ` +
        // fails instead of leaving out rows that policies hide
        `set local row_security = off${names === '' ? '' : `; lock table ${names} in access share mode`}; ` +
        'select pg_current_snapshot()::text as snapshot';
      // all in one message, since the stream waits: the last result is that of the SELECT
      const results = (await client.query(timed(begin, ANSWER_MS_MAX))) as unknown as pg.QueryResult[];
      const [seen] = (results.at(-1)?.rows ?? []) as { readonly snapshot: string }[];
      return new LookupSession(client, new Visibility(seen?.snapshot ?? ''), rowsMax);
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
      this.#release();
    } catch (error) {
      this.#release(error as Error);
    }
  }

  /** Closes the connection, even in the middle of a query. */
  destroy(error: Error): void {
    this.#release(error);
  }

  #release(error?: Error): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#client.release(error);
  }

  async #findIn(index: KnownIndex, values: readonly string[]): Promise<Map<string, RowSet>> {
    const found = new Map<string, RowSet>(values.map((value) => [value, new Map()]));
    const columns = index.positions.map((_, at) => values.map((value) => stringOf(value.split('\0')[at] ?? '')));
    const rowsMax = this.#rowsMax - this.#rowCount;
    const bytesMax = FOUND_BYTES_MAX - this.#byteCount;
    const query = timed(queryOf(index, rowsMax + 1, bytesMax), ANSWER_MS_MAX, columns);
    const { rows } = await this.#client.query<Answer>(query);
    if (rows.length > rowsMax) throw new TooManyRowsFound(index, `${this.#rowsMax} rows`);
    const bytes = Number(rows.at(-1)?.['bytes'] ?? 0);
    if (bytes > bytesMax) throw new TooManyRowsFound(index, `${FOUND_BYTES_MAX >> 20} MB of rows`);
    this.#rowCount += rows.length;
    this.#byteCount += bytes;
    const { table } = index;
    for (const answer of rows) {
      const row = KeptRow.of(table.columns.map((_, at) => answer[`c${at}`] ?? null));
      found.get(values[Number(answer['n']) - 1] as string)?.set(table.keyOf(row), row);
    }
    return found;
  }
}

function nameOf({ table }: KnownTable): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
}

/**
 * `$1`... are arrays of texts, one for each column of the index. `bytes` is the running total of
 * the rows' sizes. The result ends with the first row that exceeds `bytesMax`.
 */
function queryOf(index: KnownIndex, limit: number, bytesMax: number): string {
  const { table, positions, types, nullAt } = index;
  const outputs = table.columns.map(({ name }, at) => `t.${quoteIdentifier(name)} as c${at}`);
  const sizes = table.columns.flatMap(({ name, type, toastable }) =>
    toastable ? sizeOf(`t.${quoteIdentifier(name)}`, type) : [],
  );
  const size = [VALUE_BYTES * outputs.length, ...sizes].join(' + ');
  const arrays = positions.map((_, at) => `$${at + 1}::text[]`);
  const values = positions.map((_, at) => `v${at}`);
  const nameAt = (position: number) => `t.${quoteIdentifier(table.columns[position]?.name ?? '')}`;
  const conditions = [
    ...positions.map((position, at) => `${nameAt(position)} = u.v${at}::${types[at]}`),
    ...(nullAt === undefined ? [] : [`${nameAt(nullAt)} is null`]),
  ];
  const lookups =
    positions.length === 0
      ? '(values (1)) u(n)'
      : `unnest(${arrays.join(', ')}) with ordinality u(${[...values, 'n'].join(', ')})`;
  return (
    `select n, ${table.columns.map((_, at) => `c${at}`).join(', ')}, bytes from (` +
    `select u.n, ${outputs.join(', ')}, s.size, sum(s.size) over (rows unbounded preceding) as bytes ` +
    `from ${lookups} ` +
    `join ${table.table.kind === 'p' ? '' : 'only '}${nameOf(table)} t on ${conditions.join(' and ') || 'true'}, lateral (select ${size}) s(size)) f ` +
    `where bytes - size <= ${bytesMax} limit ${limit}`
  );
}

/** Minimum size of a value, in bytes. */
const VALUE_BYTES = 16;

/** SQL for the size of a value in bytes; for types other than text possibly compressed. */
function sizeOf(value: string, type: string): string {
  const isText = type === 'text' || type.startsWith('character varying');
  return `coalesce(${isText ? `octet_length(${value})` : `pg_column_size(${value})`}, 0)::bigint`;
}
