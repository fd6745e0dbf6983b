/**
 * Handles Postgres's error for a connection beyond one of its limits (SQLSTATE 53300), and names
 * the limit.
 */
import { SnoError } from '../errors.ts';
import { readableName } from './quote.ts';

const TOO_MANY_CONNECTIONS = '53300';

interface LimitError {
  readonly code?: unknown;
  readonly message?: unknown;
  /** The server function that reports the error: unlike messages, it is never translated. */
  readonly routine?: unknown;
}

/** Returns a SnoError for such an error, and any other error unchanged. */
export function limitError(error: unknown, role: string, database: string, isReplication: boolean): unknown {
  const { code, message, routine } = error as LimitError;
  if (code !== TOO_MANY_CONNECTIONS) return error;
  const options = { cause: error };
  // That function checks max_wal_senders. It checks max_connections too, but not for replication.
  if (isReplication && routine === 'InitProcess') return new SnoError('slots_exhausted', String(message), options);
  const [limit, hint] = limitOf(routine, role, database);
  return new SnoError('connections_exhausted', `${limit}: ${message}`, { ...options, hint });
}

const NEEDED = 'docs/operations.md says how many connections Snö needs.';

function limitOf(routine: unknown, role: string, database: string): readonly [limit: string, hint: string] {
  if (routine === 'InitializeSessionUserId')
    return [
      `the connection limit of the role ${role} is reached`,
      `Run: alter role ${readableName(role)} connection limit -1; or a limit with room for Snö. ${NEEDED}`,
    ];
  if (routine === 'CheckMyDatabase')
    return [
      `the connection limit of the database ${database} is reached`,
      `Run: alter database ${readableName(database)} connection limit -1; or a limit with room for Snö. ${NEEDED}`,
    ];
  return [
    'the server has no connection left',
    `Raise max_connections, or end connections that are not needed; a pooler has a limit of its own. ${NEEDED}`,
  ];
}
