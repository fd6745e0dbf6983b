/**
 * One COPY in a transaction of its own, in one consistent view of the database. Its rows are read
 * no faster than `receive` accepts them. So memory limits neither their number nor their size.
 */
import type { Socket } from 'node:net';
import type pg from 'pg';
import { snapshotValue } from '../../channels/served/served.ts';
import { SnoError } from '../../errors.ts';
import { Visibility } from '../../markers/visibility.ts';
import { timed } from '../../postgres/connect.ts';
import { CopyReader } from '../../postgres/copy-reader.ts';
import { arrayText, quoteLiteral } from '../../postgres/quote.ts';

export interface CopyOptions {
  /** Connections for snapshots only, since snapshots wait for clients. */
  readonly pool: pg.Pool;
  /** Connections used to cancel queries. */
  readonly control: pg.Pool;
  readonly secondsMax: number;
  /**
   * How long a connection may be silent before Snö checks that the server still works on the
   * query, in ms.
   */
  readonly silenceMs?: number;
}

/** One read, and where its rows go. */
export interface CopyTask {
  readonly sql: string;
  /** The view or table that it reads, quoted. */
  readonly relation: string;
  /** The values of the settings `snapshotValue`. An array is passed as the text of an array. */
  readonly values: readonly (string | readonly string[])[];
  /** Ends the query if it takes longer. Undefined: `secondsMax` applies. */
  readonly statementMs?: number;
  /** Called once, before the first row. False: no row is read. */
  begin(visibility: Visibility): boolean;
  /**
   * Receives the content of a CopyData message: `buffer[start, end)`, valid during the call only.
   * The promise resolves when more rows may be read; undefined: they may be read now.
   */
  receive(buffer: Buffer, start: number, end: number): Promise<void> | undefined;
  /** Called after the last row, unless the read was cancelled. */
  end(): void;
}

const LOCK_TIMEOUT_MS = 10_000;
const SILENCE_MS = 30_000;
/** Whether a backend works on a query and does not wait for us. */
const IS_AT_IT =
  "select from pg_stat_activity where pid = $1 and state = 'active' and wait_event_type is distinct from 'Client'";

/** What pg's Client has beyond its types. */
type CopyClient = pg.PoolClient & {
  readonly processID: number;
  readonly connection: { readonly stream: Socket };
};

/** Where the rows of a connection's COPY go. */
interface Rows {
  take: (buffer: Buffer, start: number, end: number) => void;
}

const IGNORE: Rows['take'] = () => undefined;

/** By socket: each is read in place from its first COPY on. */
const rowsOf = new WeakMap<Socket, Rows>();

/** Reads the connection in place: pg itself would allocate a message and a slice for each row. */
function readInPlace(stream: Socket): Rows {
  const known = rowsOf.get(stream);
  if (known !== undefined) return known;
  const rows: Rows = { take: IGNORE };
  rowsOf.set(stream, rows);
  new CopyReader(stream, {
    onData: (buffer, start, end) => rows.take(buffer, start, end),
    onRead: () => undefined,
    onFault: (error) => stream.destroy(error),
  });
  return rows;
}

export class CopyRead {
  readonly #options: CopyOptions;
  readonly #task: CopyTask;
  #client: CopyClient | undefined;
  #isCancelled = false;
  /** A cancel may hit the connection's next query: the connection must not be reused. */
  #isCancelSent = false;
  /** Number of messages that must be accepted before more rows are read. */
  #unaccepted = 0;
  /** Counts received rows and resumed reads. `#lookedAt` is the count at the last check. */
  #heard = 0;
  #lookedAt = -1;
  /**
   * Whether, at the last check, nothing had arrived and the server was not working: it may just
   * have finished.
   */
  #isMissed = false;

  constructor(options: CopyOptions, task: CopyTask) {
    this.#options = options;
    this.#task = task;
  }

  get isCancelled(): boolean {
    return this.#isCancelled;
  }

  get #silenceMs(): number {
    return this.#options.silenceMs ?? SILENCE_MS;
  }

  /**
   * Resolves when all rows were received. Rejects with the database's error, with `try_again` if
   * the database can't be reached, and with any error if the read was cancelled.
   */
  async run(): Promise<void> {
    let client: CopyClient;
    try {
      client = (await this.#options.pool.connect()) as CopyClient;
    } catch (error) {
      throw new SnoError('try_again', 'the database could not be reached for a snapshot', { cause: error });
    }
    let broken: Error | undefined;
    try {
      if (!this.#isCancelled) {
        this.#client = client;
        await this.#read(client);
      }
    } catch (error) {
      broken = error as Error;
      throw error;
    } finally {
      this.#client = undefined;
      client.release(broken ?? this.#isCancelSent);
    }
  }

  /** Cancels the query too. */
  async cancel(): Promise<void> {
    this.#isCancelled = true;
    const client = this.#client;
    if (client === undefined || this.#isCancelSent) return;
    this.#isCancelSent = true;
    // A working server does not notice a closed connection; a sending server does not react to a
    // cancel.
    await this.#options.control.query('select pg_cancel_backend($1)', [client.processID]).catch(() => undefined);
    if (this.#client === client) client.connection.stream.destroy();
  }

  async #read(client: CopyClient): Promise<void> {
    const { sql, relation, values, statementMs } = this.#task;
    const copied = readInPlace(client.connection.stream);
    const begin =
      `begin isolation level repeatable read read only; set local lock_timeout = ${LOCK_TIMEOUT_MS}; ` +
      `set local statement_timeout = ${this.#options.secondsMax * 1_000}; ` +
      // A server that waits for us to read applies no timeout of its own: a frozen process would
      // keep lock and snapshot.
      `set local tcp_user_timeout = ${this.#options.secondsMax * 1_000}; ` +
      // A table that is rewritten after the snapshot was taken would look empty.
      `lock table ${relation} in access share mode`;
    await client.query(timed(begin, this.#silenceMs));
    const settings = values.map(
      (_, index) => `, set_config(${quoteLiteral(snapshotValue(index + 1))}, $${index + 1}, true)`,
    );
    if (statementMs !== undefined) settings.push(`, set_config('statement_timeout', '${statementMs}', true)`);
    const parameters = values.map((value) => (typeof value === 'string' ? value : arrayText(value)));
    const seen = `select pg_current_snapshot()::text as snapshot${settings.join('')}`;
    const { rows } = await client.query<{ snapshot: string }>(timed(seen, this.#silenceMs, parameters));
    const [row] = rows as [{ snapshot: string }];
    if (this.#isCancelled || !this.#task.begin(new Visibility(row.snapshot))) {
      await client.query(timed('rollback', this.#silenceMs));
      return;
    }
    copied.take = (buffer, start, end) => {
      this.#heard++;
      if (this.#isCancelled) return;
      const accepted = this.#task.receive(buffer, start, end);
      if (accepted !== undefined) this.#await(client, accepted);
    };
    const looking = setInterval(() => void this.#look(client), this.#silenceMs);
    try {
      await client.query(`copy (${sql}) to stdout (format binary); rollback`);
    } finally {
      copied.take = IGNORE;
      clearInterval(looking);
    }
    // The query is over: there is nothing to cancel.
    this.#client = undefined;
    if (!this.#isCancelled) this.#task.end();
  }

  /**
   * If nothing arrives, the server may be working, or the connection is dead and neither side
   * knows.
   */
  async #look(client: CopyClient): Promise<void> {
    const heard = this.#heard;
    const isSilent = heard === this.#lookedAt && this.#unaccepted === 0;
    this.#lookedAt = heard;
    const wasMissed = this.#isMissed;
    this.#isMissed = false;
    if (!isSilent) return;
    const { rowCount } = await this.#options.control
      .query(IS_AT_IT, [client.processID])
      // unknown: the next check decides
      .catch(() => ({ rowCount: 1 }));
    this.#isMissed = rowCount === 0 && heard === this.#heard && this.#unaccepted === 0 && this.#client === client;
    if (this.#isMissed && wasMissed) client.connection.stream.destroy();
  }

  #await(client: CopyClient, accepted: Promise<void>): void {
    // Rows already read with this one still arrive.
    if (this.#unaccepted++ === 0) client.connection.stream.pause();
    void accepted.then(() => {
      this.#heard++;
      if (--this.#unaccepted === 0) client.connection.stream.resume();
    });
  }
}
