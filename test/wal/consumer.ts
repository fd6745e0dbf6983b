/**
 * A consumer of a stream for tests. It decodes messages into commits, and acknowledges what the
 * test says.
 */
import { Writable } from 'node:stream';
import { expect } from 'vitest';
import type { ChangeHandler } from '../../src/decode/change.ts';
import { PgoutputDecoder } from '../../src/decode/pgoutput.ts';
import { NULL, type Tuple, UNCHANGED } from '../../src/decode/tuple.ts';
import type { SnoError } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import { type Lsn, parseLsn } from '../../src/lsn.ts';
import { createPool } from '../../src/postgres/connect.ts';
import type { Acknowledger, StreamStart, WalHandler } from '../../src/wal/source.ts';

import { ReplicationStream, type StreamOptions } from '../../src/wal/stream.ts';
import { Impasse } from '../../src/wal/undecodable/impasse.ts';
import { install } from '../support/install.ts';
import type { TestDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

interface Commit {
  readonly xid: number;
  readonly end: Lsn;
  /** `insert t 1,one`: operation, table, and the row's values. */
  readonly changes: readonly string[];
}

interface LogLine {
  readonly level: string;
  readonly code?: string;
  readonly hint?: string;
  readonly msg: string;
}

export class Consumer implements WalHandler, Acknowledger {
  readonly starts: StreamStart[] = [];
  readonly commits: Commit[] = [];
  readonly bugs: unknown[] = [];
  readonly log: LogLine[] = [];
  disconnects = 0;
  undecodable = 0;
  /** The LSN that `flushed()` returns: the start, until a test raises it. */
  flushedTo: Lsn = 0;
  /** End of the last commit, or of a keepalive outside a commit. */
  head: Lsn = 0;
  keepalives = 0;
  /** Called with the letter of each message before it is decoded. */
  onMessage: (letter: string) => void = () => undefined;
  onFlush: () => void = () => undefined;
  /** `started` waits for this promise. */
  ready: Promise<void> = Promise.resolve();
  readonly #decoder = new PgoutputDecoder(this.#changeHandler());
  #inCommit = false;
  #xid = 0;
  #changes: string[] = [];

  get epoch(): string | undefined {
    return this.starts.at(-1)?.epoch;
  }

  /** Values of the first column in commit order. */
  get ids(): number[] {
    return this.commits.flatMap(({ changes }) => changes.map((change) => Number(change.split(/[ ,]/)[2])));
  }

  async started(start: StreamStart): Promise<void> {
    this.#decoder.reset();
    this.#inCommit = false;
    if (start.epoch !== this.epoch) {
      this.head = start.from;
      this.flushedTo = start.from;
    }
    this.starts.push(start);
    await this.ready;
  }

  message(buffer: Buffer, start: number, end: number): void {
    this.onMessage(String.fromCharCode(buffer[start] as number));
    this.#decoder.message(buffer, start, end);
  }

  keepalive(end: Lsn): void {
    this.keepalives++;
    if (!this.#inCommit && end > this.head) this.head = end;
  }

  flush(): void {
    this.onFlush();
  }

  written(): Lsn {
    return this.head;
  }

  flushed(): Lsn {
    return this.flushedTo;
  }

  #changeHandler(): ChangeHandler {
    const note = (operation: string, table: string, row: Tuple) =>
      this.#changes.push(`${operation} ${table} ${textOf(row)}`);
    return {
      begin: (xid) => {
        this.#xid = xid;
        this.#inCommit = true;
        this.#changes = [];
      },
      relation: () => undefined,
      insert: ({ name }, row) => note('insert', name, row),
      update: ({ name }, _old, row) => note('update', name, row),
      delete: ({ name }, row) => note('delete', name, row),
      truncate: (relations) => this.#changes.push(`truncate ${relations.map(({ name }) => name).join()}`),
      message: (prefix) => this.#changes.push(`message ${prefix}`),
      commit: (end) => {
        this.#inCommit = false;
        this.commits.push({ xid: this.#xid, end, changes: this.#changes });
        this.head = end;
      },
    };
  }
}

function textOf({ buffer, kinds, starts, ends }: Tuple): string {
  const text = (kind: number, column: number) => {
    if (kind === NULL) return 'null';
    return kind === UNCHANGED ? 'unchanged' : buffer.toString('utf8', starts[column], ends[column]);
  };
  return Array.from(kinds, text).join();
}

/** Installs Snö's SQL and creates a published table `t (id, note)`. */
export async function prepare(database: TestDatabase): Promise<void> {
  await install(database, { eventTriggers: false });
  await database.query('create table t (id bigint primary key, note text)');
  await database.query('alter publication sno add table t');
}

/**
 * A stream from the database's own slot into a consumer, not yet started. The slot has the
 * database's name.
 */
export function streamOf(database: TestDatabase, options: Partial<StreamOptions> = {}) {
  const consumer = new Consumer();
  const pool = createPool(database.url, 'query', 1);
  pool.on('error', () => undefined);
  const stream = new ReplicationStream({
    url: database.url,
    pool,
    slot: database.name,
    publication: 'sno',
    backlogBytesMax: 1 << 20,
    slotLockTimeoutMs: 10_000,
    tcpUserTimeoutMs: 30_000,
    slotInUseTimeoutMs: 0,
    impasse: new Impasse(0),
    onUndecodable: () => {
      consumer.undecodable++;
    },
    handler: consumer,
    acknowledger: consumer,
    logger: createLogger('debug', logInto(consumer.log)),
    now: Date.now,
    random: Math.random,
    onDisconnect: () => {
      consumer.disconnects++;
    },
    onBug: (error) => consumer.bugs.push(error),
    ...options,
  });
  return { consumer, stream };
}

function logInto(lines: LogLine[]): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as LogLine);
      done();
    },
  });
}

export async function insert(database: TestDatabase, ...ids: number[]): Promise<void> {
  for (const id of ids) await database.query('insert into t values ($1)', [id]);
}

export interface SlotState {
  readonly confirmed: Lsn;
  readonly restart: Lsn;
  readonly active_pid: number | null;
  readonly wal_status: string;
}

/** The slot's state according to Postgres. Undefined if the slot does not exist. */
export async function slotState(database: TestDatabase): Promise<SlotState | undefined> {
  const { rows } = await database.query<Record<string, string> & { active_pid: number | null; wal_status: string }>(
    'select active_pid, wal_status, confirmed_flush_lsn::text as confirmed, restart_lsn::text as restart from pg_replication_slots where slot_name = $1',
    [database.name],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  const { active_pid, wal_status } = row;
  return {
    active_pid,
    wal_status,
    confirmed: parseLsn(row['confirmed'] ?? '') ?? -1,
    restart: parseLsn(row['restart'] ?? '') ?? -1,
  };
}

/** The generation in sno.slot. */
export async function generationOf(database: TestDatabase): Promise<number | undefined> {
  const { rows } = await database.query<{ generation: number }>('select generation from sno.slot where name = $1', [
    database.name,
  ]);
  return rows[0]?.generation;
}

/** Drops the database's slots once they are no longer in use. */
export async function dropSlots(database: TestDatabase): Promise<void> {
  await until(async () => {
    await database.query(
      'select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database() or slot_name = $1',
      [database.name],
    );
    return true;
  }, 'the slots are gone');
}

/** Ends the walsender of the database's slot. */
export async function terminate(database: TestDatabase): Promise<void> {
  await database.query('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1', [
    database.name,
  ]);
}

export async function refusalOf(work: Promise<unknown>): Promise<SnoError> {
  return work.then(
    () => expect.unreachable('was refused'),
    (error: SnoError) => error,
  );
}
