/**
 * Reads one channel's rows in one consistent view of the database, as payloads of limited size. The
 * rows are read by COPY, no faster than the client accepts them. So memory limits neither the
 * number nor the size of rows.
 */
import type { Socket } from 'node:net';
import type pg from 'pg';
import type { ResolvedChannel, SnapshotQuery } from '../../channels/served/served.ts';
import { snapshotValue } from '../../channels/served/served.ts';
import { SnoError } from '../../errors.ts';
import { Visibility } from '../../markers/visibility.ts';
import type { Payload } from '../../memory/payload.ts';
import { timed } from '../../postgres/connect.ts';
import { quoteLiteral } from '../../postgres/quote.ts';
import { RowPayloads } from './row-payloads.ts';

/** The destination of a snapshot's rows. */
export interface RowSink {
  /**
   * Called once, before the first piece, with the snapshot's visibility. False: the snapshot can't
   * be used, so no row is read.
   */
  begin(visibility: Visibility): boolean;
  /**
   * Receives the payload of a `snapshot` frame. The promise resolves when the next one may follow;
   * undefined: it may follow now.
   */
  piece(payload: Payload): Promise<void> | undefined;
}

/** A snapshot read in progress. */
export interface SnapshotRead {
  /**
   * Resolves when all rows were read. Rejects with `channel_unknown` if a value does not fit its
   * type, and with `try_again` if the database can't be queried. Rejects with any error if the read
   * was cancelled.
   */
  readonly done: Promise<void>;
  /** Cancels the query too. */
  cancel(): void;
}

export interface SnapshotReaderOptions {
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

const LOCK_TIMEOUT_MS = 10_000;
const SILENCE_MS = 30_000;
/** Whether a backend works on a query and does not wait for us. */
const IS_AT_IT =
  "select from pg_stat_activity where pid = $1 and state = 'active' and wait_event_type is distinct from 'Client'";
/**
 * SQLSTATE classes for a value that does not fit its column's type: data exceptions, and
 * constraints of a domain.
 */
const DATA_EXCEPTION = /^2[23]/;

/** What pg's Client has beyond its types. */
type CopyClient = pg.PoolClient & {
  readonly processID: number;
  readonly connection: {
    readonly stream: Socket;
    on(event: 'copyData', listener: (message: { readonly chunk: Buffer }) => void): void;
    off(event: 'copyData', listener: (message: { readonly chunk: Buffer }) => void): void;
  };
};

export function startSnapshot(options: SnapshotReaderOptions, channel: ResolvedChannel, sink: RowSink): SnapshotRead {
  const read = new Read(options, channel, sink);
  return { done: read.run(), cancel: () => void read.cancel() };
}

class Read {
  readonly #options: SnapshotReaderOptions;
  readonly #channel: ResolvedChannel;
  readonly #sink: RowSink;
  #client: CopyClient | undefined;
  #isCancelled = false;
  /** A cancel may hit the connection's next query: the connection must not be reused. */
  #isCancelSent = false;
  /** Number of payloads that must be accepted before more rows are read. */
  #unaccepted = 0;
  /** Counts received rows and resumed reads. `lookedAt` is the count at the last look. */
  #heard = 0;
  #lookedAt = -1;
  /**
   * At the last look nothing had arrived and the server was not working: it may just have finished.
   */
  #isMissed = false;

  constructor(options: SnapshotReaderOptions, channel: ResolvedChannel, sink: RowSink) {
    this.#options = options;
    this.#channel = channel;
    this.#sink = sink;
  }

  get #silenceMs(): number {
    return this.#options.silenceMs ?? SILENCE_MS;
  }

  async run(): Promise<void> {
    const { name, view } = this.#channel;
    if (view === undefined)
      throw new SnoError('snapshot_unavailable', `the channel ${name} has no rows: it carries published messages only`);
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
        await this.#read(client, view.snapshot);
      }
      await client.query(timed('rollback', this.#silenceMs));
    } catch (error) {
      broken = error as Error;
      const { code } = error as { readonly code?: unknown };
      if (typeof code === 'string' && DATA_EXCEPTION.test(code))
        throw new SnoError(
          'channel_unknown',
          `the channel ${name} does not exist: a value is not valid for its column's type`,
        );
      throw new SnoError('try_again', `the snapshot of ${name} could not be read`, { cause: error });
    } finally {
      this.#client = undefined;
      client.release(broken ?? this.#isCancelSent);
    }
  }

  async cancel(): Promise<void> {
    this.#isCancelled = true;
    const client = this.#client;
    if (client === undefined) return;
    this.#isCancelSent = true;
    // A working server does not notice a closed connection; a sending server does not react to a
    // cancel.
    await this.#options.control.query('select pg_cancel_backend($1)', [client.processID]).catch(() => undefined);
    if (this.#client === client) client.connection.stream.destroy();
  }

  async #read(client: CopyClient, { sql, relation }: SnapshotQuery): Promise<void> {
    const { values, name } = this.#channel;
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
    const seen = `select pg_current_snapshot()::text as snapshot${settings.join('')}`;
    const { rows } = await client.query<{ snapshot: string }>(timed(seen, this.#silenceMs, [...values]));
    const [row] = rows as [{ snapshot: string }];
    if (this.#isCancelled || !this.#sink.begin(new Visibility(row.snapshot))) return;
    const payloads = new RowPayloads(name);
    const receive = ({ chunk }: { readonly chunk: Buffer }) => {
      this.#heard++;
      const payload = payloads.add(chunk);
      if (payload !== undefined) this.#give(client, payload);
    };
    client.connection.on('copyData', receive);
    const looking = setInterval(() => void this.#look(client), this.#silenceMs);
    try {
      await client.query(`copy (${sql}) to stdout (format binary)`);
    } finally {
      clearInterval(looking);
      client.connection.off('copyData', receive);
    }
    if (!this.#isCancelled) void this.#sink.piece(payloads.last());
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
      // The next look will show it.
      .catch(() => ({ rowCount: 1 }));
    this.#isMissed = rowCount === 0 && heard === this.#heard && this.#unaccepted === 0 && this.#client === client;
    if (this.#isMissed && wasMissed) client.connection.stream.destroy();
  }

  #give(client: CopyClient, payload: Payload): void {
    if (this.#isCancelled) return;
    const accepted = this.#sink.piece(payload);
    if (accepted === undefined) return;
    // Rows already read with this one still arrive.
    if (this.#unaccepted++ === 0) client.connection.stream.pause();
    void accepted.then(() => {
      this.#heard++;
      if (--this.#unaccepted === 0) client.connection.stream.resume();
    });
  }
}
