import { type ErrorCode, SnoError } from '../errors.ts';
import { databaseError } from '../postgres/connect.ts';

/** What Postgres says of a publication that is not there. */
export const UNDEFINED_OBJECT = '42704';
const INSUFFICIENT_PRIVILEGE = '42501';

/** What an SQLSTATE means on a replication connection. */
const FAULTS: Readonly<Record<string, ErrorCode>> = {
  '55006': 'slot_in_use', // object_in_use
  '55000': 'slot_lost', // object_not_in_prerequisite_state: "can no longer get changes from replication slot"
  '25006': 'database_standby', // read_only_sql_transaction
  [UNDEFINED_OBJECT]: 'setup_required', // "publication does not exist"
  '42883': 'setup_required', // undefined_function
  '3F000': 'setup_required', // invalid_schema_name
};

export function sqlState(error: unknown): string | undefined {
  return (error as { readonly code?: string }).code;
}

/** Says of START_REPLICATION that the slot is not what it was when it was looked at. */
const NOT_AS_SEEN = /^(42704|0A|22)/; // missing; physical; a plugin that knows none of our options

/** Why START_REPLICATION failed. */
export function startFault(error: unknown, slot: string): SnoError {
  if (!NOT_AS_SEEN.test(sqlState(error) ?? '')) return streamFault(error, slot);
  const message = `slot ${slot} changed while it was being opened: ${(error as Error).message}`;
  return new SnoError('slot_lost', message, { cause: error });
}

/** Why a replication connection could not be made, or ended. */
export function streamFault(error: unknown, slot: string): SnoError {
  if (error instanceof SnoError) return error;
  const { message } = error as Error;
  const state = sqlState(error) ?? '';
  if (state === INSUFFICIENT_PRIVILEGE) {
    const mend = 'As a superuser: alter role ... with replication; for the role in SNO_DATABASE_URL.';
    return new SnoError('missing_privilege', message, { mend, cause: error });
  }
  const code = FAULTS[state];
  return code === undefined ? databaseError(error) : new SnoError(code, `slot ${slot}: ${message}`, { cause: error });
}
