/**
 * WAL that Postgres fails to decode at each attempt: a row over 1 GB as text, a value that UTF-8
 * lacks, a failing row filter or output function, a missing library. Postgres reports the position,
 * but no table. The tables described before narrow it down.
 */
import { SnoError } from '../errors.ts';
import type { Lsn } from '../lsn.ts';

const RELATION = 0x52; // R
const STREAM_START = 0x53; // S
const STREAM_STOP = 0x45; // E
const OID_BYTES = 4;
const XID_BYTES = 4;

/** Tables that a connection has described so far. */
export class DescribedTables {
  readonly #names = new Set<string>();
  #last: string | undefined;
  #isLast = false;
  /** Whether messages are of a transaction in progress, and begin with its xid. */
  #isInProgress = false;

  clear(): void {
    this.#names.clear();
    this.#last = undefined;
    this.#isLast = false;
    this.#isInProgress = false;
  }

  /** A pgoutput message: `buffer[start, end)`. */
  note(buffer: Buffer, start: number, end: number): void {
    const letter = buffer[start];
    this.#isLast = letter === RELATION;
    if (letter === STREAM_START) this.#isInProgress = true;
    else if (letter === STREAM_STOP) this.#isInProgress = false;
    if (!this.#isLast) return;
    const at = start + 1 + OID_BYTES + (this.#isInProgress ? XID_BYTES : 0);
    const [schema, name] = buffer.toString('utf8', at, end).split('\0', 2);
    this.#last = `${schema || 'pg_catalog'}.${name}`;
    this.#names.add(this.#last);
  }

  /**
   * Where the failed row is. A table is described right before its first row, so if only the
   * description arrived, that table's row failed. Otherwise the row may also belong to a table not
   * described yet, whose row filter failed.
   */
  toString(): string {
    const last = this.#last;
    if (last === undefined) return 'at the first row of this connection';
    if (this.#isLast) return `at a row of ${last}`;
    return `after rows of ${[...this.#names].join(', ')}`;
  }
}

interface ServerError {
  readonly code?: string;
  readonly message: string;
  readonly severity?: string;
  readonly where?: string;
}

/**
 * SQLSTATEs with which Postgres ends a connection for a reason other than decoding: it shuts down,
 * crashes, or an administrator ends the connection.
 */
const ENDED = /^(08|57P|25P0[34])/;

/** Advice by SQLSTATE; the first match counts. */
const HINTS: readonly (readonly [states: RegExp, hint: string])[] = [
  [
    /^(54|XX000)/,
    'A row of published tables may have at most 1 GB as text, a bytea half of that. Move the large column to a table that no channel reads. Postgres 15.13, 16.9 and 17.5 also fail so after much DDL: upgrade.',
  ],
  [/^(22P05|22021)/, 'Correct the value, or use a database whose encoding is UTF8: clients get UTF-8.'],
  [
    /^(22|P0|42)/,
    'A row filter of the publication, or the output function of a type, raised the error. Remove the filter: later rows then pass.',
  ],
  [/^58P01/, 'Install the library of the extension that the message names, as it was when the row was written.'],
  [/^53100/, 'Free disk space for Postgres: it writes large transactions to pg_replslot while it decodes them.'],
  [/^53200/, 'Give Postgres more memory, or set logical_decoding_work_mem lower.'],
];

/** Whether Postgres ended the stream with an error because it cannot decode. */
export function isServerError(error: unknown): error is ServerError {
  const { severity, code = '' } = error as ServerError;
  return severity !== undefined && !ENDED.test(code);
}

/** `head`: everything before it was read. */
export function undecodable(error: ServerError, tables: DescribedTables, head: string): SnoError {
  const { code = '', message } = error;
  const at = positionOf(error) ?? `after ${head}`;
  const hint = HINTS.find(([states]) => states.test(code))?.[1];
  return new SnoError('wal_undecodable', `Postgres cannot decode the WAL at ${at}, ${tables}: ${message} (${code})`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/**
 * `slot "sno", output plugin "pgoutput", in the change callback, associated LSN 0/16B3748`, in any
 * language.
 */
function positionOf({ where = '' }: ServerError): string | undefined {
  return / ([0-9A-F]{1,8}\/[0-9A-F]{1,8})\s*$/m.exec(where)?.[1];
}

/** Minimum failures before a position is given up, however long they take. */
const FAILURES_MIN = 3;

/** Decides when the stream has failed for long enough without progress to give the WAL up. */
export class Impasse {
  readonly #giveUpMs: number;
  #head: Lsn | undefined;
  #since = 0;
  #failures = 0;

  /** `giveUpMs` 0: never. */
  constructor(giveUpMs: number) {
    this.#giveUpMs = giveUpMs;
  }

  /** Postgres could not decode the WAL after `head`. Returns whether that WAL must be given up. */
  failed(head: Lsn, now: number): boolean {
    if (head !== this.#head) {
      this.#head = head;
      this.#since = now;
      this.#failures = 0;
    }
    this.#failures++;
    return this.#giveUpMs > 0 && this.#failures >= FAILURES_MIN && now - this.#since >= this.#giveUpMs;
  }
}
