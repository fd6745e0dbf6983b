/** Reads the growing WAL through its own slot, and keeps every commit in commit order. */
import pg from 'pg';
import { until } from '../support/wait.ts';
import { bytesOf, type WalCommit, WalReader } from './wal.ts';

const SLOT = 'oracle';
/**
 * Each read begins at the start of the oldest transaction that may still be open, so reads must be
 * rare.
 */
const READ_EVERY_MS = 2_000;

export class Tap {
  readonly commits: WalCommit[] = [];
  readonly #url: string;
  #client: pg.Client | undefined;
  #reading: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  private constructor(url: string) {
    this.#url = url;
  }

  /** Keeps all commits from now on. Slot and publication are named `oracle`. */
  static async open(url: string): Promise<Tap> {
    const tap = new Tap(url);
    await until(async () => {
      const client = await tap.#connection();
      const { rowCount } = await client.query("select from pg_publication where pubname = 'oracle'");
      if (rowCount === 0) await client.query('create publication oracle for table items, ledger');
      await client.query("select pg_create_logical_replication_slot('oracle', 'pgoutput')");
      return true;
    }, 'the oracle has its slot');
    tap.#timer = setInterval(() => void tap.read().catch(() => undefined), READ_EVERY_MS);
    return tap;
  }

  /** Reads new commits. Rejects if the server cannot be asked now. A later read misses nothing. */
  read(): Promise<void> {
    const reading = this.#reading.then(() => this.#read());
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  /** Resolves once all commits before the call have been read. */
  async drain(): Promise<void> {
    await until(
      async () => {
        const client = await this.#connection();
        // the flushed position: later commits have no effect that clients could see
        const { rows } = await client.query<{ end: string }>('select pg_current_wal_flush_lsn()::text as end');
        await this.read();
        const { rows: after } = await client.query<{ confirmed: string }>(
          'select confirmed_flush_lsn::text as confirmed from pg_replication_slots where slot_name = $1',
          [SLOT],
        );
        return bytesOf(after[0]?.confirmed ?? '0/0') >= bytesOf(rows[0]?.end ?? '0/0');
      },
      'the oracle has read the WAL to its end',
      60_000,
    );
  }

  /**
   * Lets the server remove the WAL that was read, so that this slot is not the one that Postgres
   * invalidates.
   */
  async release(server: Pick<pg.Client, 'query'>): Promise<void> {
    await until(
      async () => {
        // a checkpoint logs the running transactions, which lets a slot advance
        await server.query('checkpoint');
        await this.read();
        const { rowCount } = await server.query(
          'select from pg_replication_slots where slot_name = $1 and pg_current_wal_lsn() - restart_lsn < 8 * 1024 * 1024',
          [SLOT],
        );
        return rowCount === 1;
      },
      'the oracle holds no WAL',
      60_000,
    );
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#reading;
    await this.#client?.end().catch(() => undefined);
  }

  async #read(): Promise<void> {
    const client = await this.#connection();
    const { rows: ends } = await client.query<{ end: string }>('select pg_current_wal_flush_lsn()::text as end');
    const end = ends[0]?.end ?? '0/0';
    // reads first and forgets later: a connection that breaks between the two loses nothing
    const { rows } = await client.query<{ data: Buffer }>(
      `select data from pg_logical_slot_peek_binary_changes($1, $2, null,
         'proto_version', '1', 'publication_names', 'oracle')`,
      [SLOT, end],
    );
    const reader = new WalReader();
    const last = this.commits.at(-1)?.lsn ?? 0;
    for (const { data } of rows) {
      const commit = reader.take(data);
      // after a crash, the slot may have forgotten how far it was read
      if (commit !== undefined && commit.lsn > last) this.commits.push(commit);
    }
    await client.query('select pg_replication_slot_advance($1, $2)', [SLOT, end]);
  }

  async #connection(): Promise<pg.Client> {
    if (this.#client !== undefined) return this.#client;
    const client = new pg.Client({ connectionString: this.#url, application_name: 'oracle' });
    client.on('error', () => undefined);
    client.on('end', () => {
      if (this.#client === client) this.#client = undefined;
    });
    await client.connect();
    this.#client = client;
    return client;
  }
}
