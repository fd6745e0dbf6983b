/**
 * The demo's SQL box: runs what a visitor typed, as the role `demo_visitor`, on one connection, one
 * run at a time.
 *
 * A run is one transaction unless its text says otherwise. The session is reset after each run, so
 * that no run affects the next. A run that does not end in time loses its connection.
 */
import pg from 'pg';

export const ROWS_MAX = 50;
const ROWS_READ_MAX = 100_000;
const CELL_CHARACTERS_MAX = 500;
/**
 * How long a run may take, in ms, beyond the role's statement_timeout, which a visitor can change.
 */
const RUN_TIMEOUT_MS = 8_000;
const WAITING_MAX = 20;

export interface Statement {
  /** `UPDATE`, `SELECT` and so on. */
  readonly command: string;
  /** Rows affected or found. Null if the command counts none. */
  readonly count: number | null;
  readonly columns: readonly string[];
  /** The first ROWS_MAX rows, as Postgres prints their values. */
  readonly rows: readonly (readonly (string | null)[])[];
}

export interface SqlFault {
  readonly message: string;
  /** SQLSTATE. Missing if the error is not from Postgres. */
  readonly code?: string;
  /** Position in the text, in characters from 1. */
  readonly position?: number;
  readonly detail?: string;
  readonly hint?: string;
}

export type Outcome =
  | {
      readonly ok: true;
      readonly statements: readonly Statement[];
      /**
       * The transaction that the run committed, as `changes` frames name it. Null: it wrote
       * nothing, or its text has its own commit or rollback.
       */
      readonly xid: number | null;
      readonly elapsed_ms: number;
    }
  | { readonly ok: false; readonly error: SqlFault };

const XID = 'select pg_current_xact_id_if_assigned()::xid::text as xid';

export class SqlBox {
  readonly #url: string;
  readonly #timeoutMs: number;
  #client: pg.Client | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #isClosed = false;

  /** `url` connects as the visitor. */
  constructor(url: string, timeoutMs = RUN_TIMEOUT_MS) {
    this.#url = url;
    this.#timeoutMs = timeoutMs;
  }

  /** Never rejects: errors are part of the outcome. */
  async run(text: string): Promise<Outcome> {
    if (this.#waiting >= WAITING_MAX)
      return { ok: false, error: { message: `${WAITING_MAX} runs are already waiting` } };
    this.#waiting++;
    const outcome = this.#last.then(() => this.#run(text)).finally(() => this.#waiting--);
    this.#last = outcome;
    return outcome;
  }

  /** Closes the connection. A running run fails. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#client?.end();
    await this.#last;
  }

  async #run(text: string): Promise<Outcome> {
    const startedAt = performance.now();
    let client: pg.Client | undefined;
    let overdue = false;
    try {
      client = await this.#connected();
      const { processID } = client as unknown as { processID: number };
      const timer = setTimeout(() => {
        overdue = true;
        void this.#terminate(processID);
      }, this.#timeoutMs);
      try {
        await client.query('begin');
        const statements = await execute(client, text);
        const { rows } = await client.query<{ xid: string | null }>(XID);
        await client.query('commit');
        const xid = rows[0]?.xid ?? null;
        return {
          ok: true,
          statements,
          xid: xid === null ? null : Number(xid),
          elapsed_ms: performance.now() - startedAt,
        };
      } finally {
        clearTimeout(timer);
        await this.#wipe(client);
      }
    } catch (error) {
      const message = `the run took longer than ${this.#timeoutMs / 1_000} s and was ended`;
      return { ok: false, error: overdue ? { message } : faultOf(error) };
    }
  }

  async #connected(): Promise<pg.Client> {
    if (this.#isClosed) throw new Error('the SQL box is closed');
    if (this.#client !== undefined) return this.#client;
    const client = new pg.Client({ connectionString: this.#url, application_name: 'demo sql box', types: AS_TEXT });
    // A connection that ends while idle is replaced at the next run; one that ends in a run fails
    // that run.
    const forget = () => {
      if (this.#client === client) this.#client = undefined;
    };
    client.on('error', forget).on('end', forget);
    await client.connect();
    this.#client = client;
    return client;
  }

  /** Resets the session, or closes it if that fails. */
  async #wipe(client: pg.Client): Promise<void> {
    try {
      await client.query('rollback');
      await client.query('discard all');
    } catch {
      if (this.#client === client) this.#client = undefined;
      await client.end().catch(() => {});
    }
  }

  /** A role may end its own sessions, so no other privilege is needed. */
  async #terminate(processId: number): Promise<void> {
    const client = new pg.Client({ connectionString: this.#url, application_name: 'demo sql box' });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query('select pg_terminate_backend($1)', [processId]);
    } catch {
      // The server has ended, and the run with it.
    } finally {
      await client.end().catch(() => {});
    }
  }
}

/** Every value as Postgres printed it. */
const AS_TEXT = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig;

/**
 * Runs all statements of the text (simple protocol). Rows beyond ROWS_MAX are counted by Postgres
 * and dropped here.
 */
function execute(client: pg.Client, text: string): Promise<Statement[]> {
  return new Promise((resolve, reject) => {
    const kept = new Map<pg.Result, (string | null)[][]>();
    let read = 0;
    const query: NodeJS.EventEmitter & pg.Submittable = new pg.Query({ text, rowMode: 'array' } as pg.QueryArrayConfig);
    query.on('row', (row: (string | null)[], result: pg.Result) => {
      const rows = kept.get(result) ?? [];
      kept.set(result, rows);
      if (rows.length < ROWS_MAX) rows.push(row.map(shortened));
      // A simple query can only be stopped by closing the connection.
      if (++read === ROWS_READ_MAX) {
        reject(new Error(`more than ${ROWS_READ_MAX} rows: add a LIMIT`));
        void client.end();
      }
    });
    query.on('error', reject);
    query.on('end', (results: pg.Result | pg.Result[]) => {
      const statements = (Array.isArray(results) ? results : [results]).filter(({ command }) => command !== null);
      resolve(
        statements.map((result) => ({
          command: result.command,
          count: result.rowCount,
          columns: result.fields.map(({ name }) => name),
          rows: kept.get(result) ?? [],
        })),
      );
    });
    client.query(query);
  });
}

function shortened(cell: string | null): string | null {
  return cell !== null && cell.length > CELL_CHARACTERS_MAX ? `${cell.slice(0, CELL_CHARACTERS_MAX)}…` : cell;
}

function faultOf(error: unknown): SqlFault {
  if (!(error instanceof pg.DatabaseError)) return { message: error instanceof Error ? error.message : String(error) };
  const { message, code, position, detail, hint } = error;
  return {
    message,
    ...(code !== undefined && { code }),
    ...(position !== undefined && { position: Number(position) }),
    ...(detail !== undefined && { detail }),
    ...(hint !== undefined && { hint }),
  };
}
