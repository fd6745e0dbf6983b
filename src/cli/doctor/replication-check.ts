/** Opens a replication connection as `sno start` does, and reports why it fails. */
import type { Settings } from '../../config/settings.ts';
import { SnoError } from '../../errors.ts';
import { createReplicationClient } from '../../postgres/connect.ts';
import { withDatabase } from '../database.ts';
import type { Outcome } from './finding.ts';

/** `isStreaming`: Snö runs already, and has the WAL sender that it needs. */
export async function replicationOutcome(
  settings: Pick<Settings, 'SNO_DATABASE_URL'>,
  isStreaming: boolean,
): Promise<Outcome> {
  try {
    await withDatabase(settings, createReplicationClient, (client) => client.query('IDENTIFY_SYSTEM'));
    return { level: 'ok', message: 'a replication connection can be opened' };
  } catch (error) {
    if (!(error instanceof SnoError)) throw error;
    const isRunning = isStreaming && error.code === 'slots_exhausted';
    return {
      level: isRunning ? 'warn' : 'fail',
      message: `cannot open a ${isRunning ? 'second ' : ''}replication connection: ${error.message}`,
      hint: error.hint,
    };
  }
}
