/**
 * Reads one channel's rows in one consistent view of the database, as frames of limited size. By COPY: rows come as they are
 * found, and no faster than they are taken, so that no number and no size of rows has to fit into memory.
 */
import type { Socket } from 'node:net';
import type pg from 'pg';
import type { ResolvedChannel, SnapshotQuery } from '../channels/channel.ts';
import { snapshotValue } from '../channels/snapshot-query.ts';
import { SnoError } from '../errors.ts';
import { timed } from '../postgres/connect.ts';
import { quoteLiteral } from '../postgres/quote.ts';
import { RowFrames } from './row-frames.ts';
import { Visibility } from './visibility.ts';

/** Where a snapshot goes. */
export interface FrameSink {
  /** Called once, before the first frame: what the snapshot sees. False: nobody has use for it, so that no row need be read. */
  taken(visibility: Visibility): boolean;
  /** A `snapshot` frame. What is returned resolves when more may come; undefined: it may come now. */
  frame(frame: Buffer): Promise<void> | undefined;
}

/** A snapshot that is being read. */
export interface SnapshotRead {
  /**
   * Resolves when all was read. Rejects with `channel_unknown` for values that their types do not take, with `try_again` where
   * the database can't be asked, with anything where it was cancelled.
   */
  readonly done: Promise<void>;
  /** Stops the query too. */
  cancel(): void;
}

export interface SnapshotReaderOptions {
  /** Connections for snapshots alone, since they wait for clients. */
  readonly pool: pg.Pool;
  /** Where a query is cancelled from. */
  readonly control: pg.Pool;
  readonly secondsMax: number;
  /** After so long without a word on a connection it is found out whether the server is still there, in ms. */
  readonly silenceMs?: number;
}

const LOCK_TIMEOUT_MS = 10_000;
const SILENCE_MS = 30_000;
/** Whether a backend is at a query, and does not wait for us. */
const IS_AT_IT =
  "select from pg_stat_activity where pid = $1 and state = 'active' and wait_event_type is distinct from 'Client'";
/** SQLSTATE classes of a value that its column's type does not take: data exceptions, and constraints of a domain. */
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

export function startSnapshot(options: SnapshotReaderOptions, channel: ResolvedChannel, sink: FrameSink): SnapshotRead {
  const read = new Read(options, channel, sink);
  return { done: read.run(), cancel: () => void read.cancel() };
}

class Read {
  readonly #options: SnapshotReaderOptions;
  readonly #channel: ResolvedChannel;
  readonly #sink: FrameSink;
  #client: CopyClient | undefined;
  #isCancelled = false;
  /** A cancel may hit whatever the connection does next: it must not be used again. */
  #isCancelSent = false;
  /** How many frames were given that must be taken before more are read. */
  #untaken = 0;
  /** Counts what has come, and each time that more was let in; and what it was at the last look. */
  #heard = 0;
  #lookedAt = -1;
  /** At the last look nothing had come, and the server was not at it: it may just have been done. */
  #isMissed = false;

  constructor(options: SnapshotReaderOptions, channel: ResolvedChannel, sink: FrameSink) {
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
      throw new SnoError('snapshot_unavailable', `channel ${name} has no rows, it carries published messages only`);
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
        throw new SnoError('channel_unknown', `there is no channel ${name}: a value does not fit its column's type`);
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
    // a server that is working does not see that the connection closes, one that is sending does not hear the cancel
    await this.#options.control.query('select pg_cancel_backend($1)', [client.processID]).catch(() => undefined);
    if (this.#client === client) client.connection.stream.destroy();
  }

  async #read(client: CopyClient, { sql, relation }: SnapshotQuery): Promise<void> {
    const { values, name } = this.#channel;
    const begin =
      `begin isolation level repeatable read read only; set local lock_timeout = ${LOCK_TIMEOUT_MS}; ` +
      `set local statement_timeout = ${this.#options.secondsMax * 1_000}; ` +
      // a server that waits for us to read hears of no timeout of its own: a frozen process would keep lock and snapshot
      `set local tcp_user_timeout = ${this.#options.secondsMax * 1_000}; ` +
      // a table that is rewritten after the snapshot was taken would look empty
      `lock table ${relation} in access share mode`;
    await client.query(timed(begin, this.#silenceMs));
    const settings = values.map(
      (_, index) => `, set_config(${quoteLiteral(snapshotValue(index + 1))}, $${index + 1}, true)`,
    );
    const seen = `select pg_current_snapshot()::text as snapshot${settings.join('')}`;
    const { rows } = await client.query<{ snapshot: string }>(timed(seen, this.#silenceMs, [...values]));
    const [row] = rows as [{ snapshot: string }];
    if (this.#isCancelled || !this.#sink.taken(new Visibility(row.snapshot))) return;
    const frames = new RowFrames(name);
    const receive = ({ chunk }: { readonly chunk: Buffer }) => {
      this.#heard++;
      const frame = frames.add(chunk);
      if (frame !== undefined) this.#give(client, frame);
    };
    client.connection.on('copyData', receive);
    const looking = setInterval(() => void this.#look(client), this.#silenceMs);
    try {
      await client.query(`copy (${sql}) to stdout (format binary)`);
    } finally {
      clearInterval(looking);
      client.connection.off('copyData', receive);
    }
    if (!this.#isCancelled) void this.#sink.frame(frames.last());
  }

  /** Where nothing comes, the server may be working, or the connection is dead and neither side knows. */
  async #look(client: CopyClient): Promise<void> {
    const heard = this.#heard;
    const isSilent = heard === this.#lookedAt && this.#untaken === 0;
    this.#lookedAt = heard;
    const wasMissed = this.#isMissed;
    this.#isMissed = false;
    if (!isSilent) return;
    const { rowCount } = await this.#options.control
      .query(IS_AT_IT, [client.processID])
      // the next look will tell
      .catch(() => ({ rowCount: 1 }));
    this.#isMissed = rowCount === 0 && heard === this.#heard && this.#untaken === 0 && this.#client === client;
    if (this.#isMissed && wasMissed) client.connection.stream.destroy();
  }

  #give(client: CopyClient, frame: Buffer): void {
    if (this.#isCancelled) return;
    const taken = this.#sink.frame(frame);
    if (taken === undefined) return;
    // what had been read with it still comes
    if (this.#untaken++ === 0) client.connection.stream.pause();
    void taken.then(() => {
      this.#heard++;
      if (--this.#untaken === 0) client.connection.stream.resume();
    });
  }
}
