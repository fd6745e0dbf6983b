/**
 * Asks Postgres whether an access view has a row for some of its conditions. No row leaves the
 * database: each answer is a boolean. The queries are read-only and have a timeout.
 */
import type pg from 'pg';
import { queryFault } from '../../access/query-fault.ts';
import type { AccessParts } from '../../channels/served/served.ts';
import { SnoError } from '../../errors.ts';
import { createParsingPool } from '../../postgres/connect.ts';

/** Undefined: the database did not answer. A text: why the view cannot be evaluated. */
export type Found = boolean | undefined | { readonly fault: string };

/** Maximum explanations at the same time. Each uses a connection. */
const AT_A_TIME_MAX = 2;
/** How long to wait for the server beyond the statement's own timeout, in ms. */
const SILENCE_MS = 5_000;
const CANCELED = '57014';

export class Prober {
  readonly #pool: pg.Pool;
  #running = 0;

  /** It connects when it is used, and disconnects soon afterwards. */
  constructor(databaseUrl: string, timeoutSeconds: number) {
    const statementMs = timeoutSeconds * 1_000;
    this.#pool = createParsingPool(databaseUrl, 'explain', AT_A_TIME_MAX, {
      statementMs,
      timeoutMs: statementMs + SILENCE_MS,
    });
    this.#pool.on('error', () => undefined);
  }

  /** Throws `admin_busy` if too many explanations run. Rejects if Postgres cannot be reached. */
  async with<Result>(work: (probe: Probe) => Promise<Result>): Promise<Result> {
    if (this.#running >= AT_A_TIME_MAX)
      throw new SnoError('admin_busy', `${AT_A_TIME_MAX} explanations are being made already`);
    this.#running++;
    let client: pg.PoolClient | undefined;
    let broken: Error | undefined;
    try {
      client = await this.#pool.connect();
      client.on('error', ignore);
      return await work(new Probe(client));
    } catch (error) {
      broken = error as Error;
      throw error;
    } finally {
      this.#running--;
      client?.off('error', ignore);
      client?.release(broken);
    }
  }

  close(): Promise<void> {
    return this.#pool.end();
  }
}

const ignore = () => undefined;

export class Probe {
  readonly #client: pg.PoolClient;

  constructor(client: pg.PoolClient) {
    this.#client = client;
  }

  /**
   * Whether the view has a row that fits the conditions of these indexes. `values`: one for each
   * condition of the view. `relation`: a query in place of the view.
   */
  exists(parts: AccessParts, indexes: readonly number[], values: readonly string[], relation?: string): Promise<Found> {
    const { from, view, pinned, conditions } = parts;
    const where = indexes.map((index) => conditions[index]).join(' and ');
    const source = relation === undefined ? view : `(${relation}) viewed`;
    const names = values.map((_, index) => `$${index + 1}::text as p${index + 1}`).join(', ');
    return this.#ask(
      `select exists (select from ${source}${where === '' ? '' : ` where ${where}`}) as found
       from ${from} cross join (select ${names}) asked where ${pinned}`,
      values,
    );
  }

  /** Whether a text is a value of a type, as Postgres prints it. */
  async isCanonical(type: string, text: string): Promise<boolean | undefined> {
    const found = await this.#ask(`select ($1::text::${type})::text collate "C" = $1::text collate "C" as found`, [
      text,
    ]);
    return typeof found === 'boolean' ? found : undefined;
  }

  /** The SELECT of an access view, for people, and as it can be run. Undefined: unknown. */
  async definitionOf(pattern: string): Promise<string | undefined> {
    try {
      const { rows } = await this.#client.query<{ readonly definition: string }>(
        `select pg_get_viewdef(c.oid, true) as definition from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'channel_access' and c.relname = $1 and c.relkind = 'v'`,
        [pattern],
      );
      return rows[0]?.definition.trim();
    } catch {
      return undefined;
    }
  }

  async #ask(sql: string, values: readonly string[]): Promise<Found> {
    await this.#client.query('begin transaction read only');
    try {
      const { rows } = await this.#client.query<{ readonly found: boolean | null }>(sql, [...values]);
      return rows[0]?.found === true;
    } catch (error) {
      const { code, message } = error as { readonly code?: unknown; readonly message: string };
      switch (queryFault(error)) {
        // A value that the type does not accept, such as a text for an integer.
        case 'value':
          return false;
        case 'view':
          return { fault: message };
        case 'passing':
          if (code === CANCELED) return undefined;
          throw error;
      }
    } finally {
      await this.#client.query('rollback');
    }
  }
}
