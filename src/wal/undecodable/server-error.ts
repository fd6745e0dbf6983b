/**
 * WAL that Postgres fails to decode at each attempt: a row over 1 GB as text, a value that UTF-8
 * lacks, a failing row filter or output function, a missing library. Postgres reports the position,
 * but no table. The tables described before narrow it down.
 */
import { SnoError } from '../../errors.ts';
import { type Lsn, parseLsn } from '../../lsn.ts';
import type { DescribedTables } from './described-tables.ts';

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
  const at = positionText(error) ?? `after ${head}`;
  const hint = HINTS.find(([states]) => states.test(code))?.[1];
  return new SnoError('wal_undecodable', `Postgres cannot decode the WAL at ${at}, ${tables}: ${message} (${code})`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Where Postgres failed to decode. Undefined: the error does not say. */
export function positionOf(error: unknown): Lsn | undefined {
  return parseLsn(positionText(error as ServerError) ?? '');
}

/**
 * `slot "sno", output plugin "pgoutput", in the change callback, associated LSN 0/16B3748`, in any
 * language.
 */
function positionText({ where = '' }: { readonly where?: string }): string | undefined {
  return / ([0-9A-F]{1,8}\/[0-9A-F]{1,8})\s*$/m.exec(where)?.[1];
}
