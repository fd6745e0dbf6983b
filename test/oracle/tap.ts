/**
 * Reads the growing WAL through its own slot, and keeps every commit in commit order. It reads with
 * pg-logical-replication, and decodes each message once more by the oracle's own reader. Both must
 * agree.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import pg from 'pg';
import { LogicalReplicationService, type Pgoutput } from 'pg-logical-replication';
import { TextPlugin } from '../support/text-plugin.ts';
import { until } from '../support/wait.ts';
import { PackageReader } from './package-reader.ts';
import { bytesOf, lsnOf, type WalCommit, WalReader } from './wal.ts';

const SLOT = 'oracle';
/** The package's service must not acknowledge by itself. */
const MANUALLY = { acknowledge: { auto: false, timeoutSeconds: 0 } };
/** How often the tap sends its status, in ms: much more often than wal_sender_timeout requires. */
const ACKNOWLEDGE_EVERY_MS = 1_000;
const RETRY_MS = 200;

export class Tap {
  readonly commits: WalCommit[] = [];
  readonly #url: string;
  #client: pg.Client | undefined;
  #service: LogicalReplicationService | undefined;
  /** Every commit that ends at or before this LSN is in `commits`. */
  #readTo = 0;
  #fault: Error | undefined;
  #isClosed = false;
  #streaming: Promise<void> = Promise.resolve();

  private constructor(url: string) {
    this.#url = url;
  }

  /** Keeps all commits from now on. Slot and publication are named `oracle`. */
  static async open(url: string): Promise<Tap> {
    const tap = new Tap(url);
    await until(async () => {
      const client = await tap.#connection();
      const { rowCount } = await client.query("select from pg_publication where pubname = 'oracle'");
      if (rowCount === 0) await client.query('create publication oracle for table items, ledger, owners');
      const { rows } = await client.query<{ lsn: string }>(
        "select lsn::text from pg_create_logical_replication_slot('oracle', 'pgoutput')",
      );
      tap.#readTo = bytesOf(rows[0]?.lsn ?? '0/0');
      return true;
    }, 'the oracle has its slot');
    tap.#streaming = tap.#stream();
    return tap;
  }

  /** Resolves once all commits before the call have been read. */
  async drain(): Promise<void> {
    await until(
      async () => {
        if (this.#fault !== undefined) return true;
        const client = await this.#connection();
        // the flushed position: later commits have no effect that clients could see
        const { rows } = await client.query<{ end: string }>('select pg_current_wal_flush_lsn()::text as end');
        const end = bytesOf(rows[0]?.end ?? '0/0');
        await until(() => this.#hasReadTo(end), `the oracle has read to ${lsnOf(end)}`, 1_000);
        return true;
      },
      'the oracle has read the WAL to its end',
      60_000,
    );
    if (this.#fault !== undefined) throw this.#fault;
  }

  /**
   * Acknowledges the WAL that was read, so that Postgres does not invalidate this slot in place of
   * the service's.
   */
  async release(server: Pick<pg.Client, 'query'>): Promise<void> {
    await until(
      async () => {
        // a checkpoint logs the running transactions, which lets a slot advance
        await server.query('checkpoint');
        await this.#acknowledge(true);
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
    this.#isClosed = true;
    await this.#service?.destroy().catch(() => undefined);
    await this.#streaming;
    await this.#client?.end().catch(() => undefined);
  }

  /** Streams over as many connections as needed. */
  async #stream(): Promise<void> {
    while (!this.#isClosed && this.#fault === undefined) {
      await this.#streamOnce().catch(() => undefined);
      await delay(RETRY_MS);
    }
  }

  async #streamOnce(): Promise<void> {
    const service = new LogicalReplicationService(
      { connectionString: this.#url, application_name: 'oracle' },
      MANUALLY,
    );
    this.#service = service;
    const beside = new WalReader();
    const reader = new PackageReader();
    let isInside = false;
    let own: WalCommit | undefined;
    const plugin = new TextPlugin('oracle', (message) => {
      own = beside.take(message);
    });
    service.on('data', (_lsn, message: Pgoutput.Message) => {
      isInside = message.tag !== 'commit';
      const commit = reader.take(message);
      if (commit !== undefined) this.#take(commit, own);
    });
    service.on('heartbeat', (lsn, _timestamp, isAsked) => {
      if (!isInside) this.#readTo = Math.max(this.#readTo, bytesOf(lsn));
      if (isAsked) void this.#acknowledge(false);
    });
    // `subscribe` rejects with the same error.
    service.on('error', () => undefined);
    const timer = setInterval(() => void this.#acknowledge(false), ACKNOWLEDGE_EVERY_MS);
    try {
      await service.subscribe(plugin, SLOT);
    } finally {
      clearInterval(timer);
      await service.destroy().catch(() => undefined);
    }
  }

  #take(commit: WalCommit, own: WalCommit | undefined): void {
    if (!isDeepStrictEqual(commit, own)) {
      const texts = [commit, own].map((each) => JSON.stringify(each));
      this.#fault ??= new Error(`pg-logical-replication and the oracle's own reader differ: ${texts.join(' and ')}`);
    }
    // After a crash, the slot may have forgotten how far it was read.
    if (commit.lsn > (this.commits.at(-1)?.lsn ?? 0)) this.commits.push(commit);
    this.#readTo = Math.max(this.#readTo, commit.lsn);
  }

  async #hasReadTo(end: number): Promise<boolean> {
    if (this.#readTo < end) await this.#acknowledge(true);
    return this.#readTo >= end;
  }

  /** The package's service adds one to the position that it receives. */
  async #acknowledge(asksReply: boolean): Promise<void> {
    await this.#service?.acknowledge(lsnOf(this.#readTo - 1), asksReply);
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
