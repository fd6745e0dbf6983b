import { type ErrorCode, SnoError } from '../errors.ts';
import { databaseError } from '../postgres/connect.ts';
import type { DescribedTables } from './undecodable/described-tables.ts';
import { isServerError, undecodable } from './undecodable/server-error.ts';

const UNDEFINED_OBJECT = '42704';
const INSUFFICIENT_PRIVILEGE = '42501';

/** Error codes by SQLSTATE on a replication connection. */
const FAULTS: Readonly<Record<string, ErrorCode>> = {
  '55006': 'slot_in_use', // object_in_use
  // object_not_in_prerequisite_state: "can no longer get changes from replication slot"
  '55000': 'slot_lost',
  '25006': 'database_standby', // read_only_sql_transaction
  '42883': 'setup_required', // undefined_function
  '3F000': 'setup_required', // invalid_schema_name
};

function sqlState(error: unknown): string | undefined {
  return (error as { readonly code?: string }).code;
}

/**
 * SQLSTATEs with which START_REPLICATION reports that the slot differs from when it was checked.
 */
const NOT_AS_SEEN = /^(42704|0A|22)/; // missing; physical; a plugin that knows none of our options

/** Why START_REPLICATION failed. */
export function startFault(error: unknown, slot: string): SnoError {
  if (!NOT_AS_SEEN.test(sqlState(error) ?? '')) return streamFault(error, slot);
  const message = `slot ${slot} changed while it was being opened: ${(error as Error).message}`;
  return new SnoError('slot_lost', message, { cause: error });
}

/**
 * Whether Postgres ended the stream because the publication was missing when the decoded WAL was
 * written.
 */
export function isPublicationMissing(error: unknown): boolean {
  const { code, routine } = error as { readonly code?: string; readonly routine?: string };
  return code === UNDEFINED_OBJECT && routine === 'get_publication_oid';
}

/** Why an accepted stream has ended. `head`: everything before it was read. */
export function endFault(error: unknown, slot: string, tables: DescribedTables, head: string): SnoError {
  if (error instanceof SnoError) return error;
  if (isServerError(error)) {
    // In a callback of the output plugin these SQLSTATEs say nothing about the slot.
    const isOfSlot = error.where === undefined && FAULTS[error.code ?? ''] !== undefined;
    if (isOfSlot || isPublicationMissing(error)) return streamFault(error, slot);
    return undecodable(error, tables, head);
  }
  const { message } = error as Error;
  const hint =
    'No action is needed: Snö reconnects. If this repeats, the log of Postgres says why the connection ended.';
  return new SnoError('database_unreachable', `the connection to Postgres ended: ${message}`, { hint, cause: error });
}

/** Why a replication connection could not be made, or ended. */
export function streamFault(error: unknown, slot: string): SnoError {
  if (error instanceof SnoError) return error;
  const { message } = error as Error;
  const state = sqlState(error) ?? '';
  if (state === INSUFFICIENT_PRIVILEGE) {
    const hint = 'As a superuser: alter role ... with replication; for the role in SNO_DATABASE_URL.';
    return new SnoError('missing_privilege', message, { hint, cause: error });
  }
  const code = isPublicationMissing(error) ? 'setup_required' : FAULTS[state];
  return code === undefined ? databaseError(error) : new SnoError(code, `slot ${slot}: ${message}`, { cause: error });
}
