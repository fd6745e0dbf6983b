/** Compares the limit of open files with the clients that the settings allow. */
import {
  ADMIN_CONNECTIONS_MAX,
  MAIN_QUERY_CONNECTIONS,
  STREAM_CONNECTIONS,
  WORKER_QUERY_CONNECTIONS,
} from '../../config/connections.ts';
import type { Settings } from '../../config/settings.ts';
import { openFiles, openFilesMax, roomForClients } from '../../gateway/accept/descriptors.ts';
import { type Outcome, ok, warn } from './finding.ts';

type FileSettings = Pick<Settings, 'SNO_MAX_CONNECTIONS' | 'SNO_WORKERS' | 'SNO_SNAPSHOTS' | 'SNO_ACCESS_QUERIES'>;

/**
 * `limit`: of this process. Undefined: unlimited or unknown. `open`: number of files that are open
 * already.
 */
export function openFilesOutcome(settings: FileSettings, limit = openFilesMax(), open = openFiles()): Outcome {
  const { SNO_MAX_CONNECTIONS: clients, SNO_WORKERS: workers } = settings;
  if (limit === undefined) return ok('the number of open files has no limit here');
  const room = roomForClients(limit, open, reservedIn(settings));
  const wanted = Math.ceil(clients / Math.max(1, workers));
  if (clients > 0 && wanted <= room)
    return ok(`the limit of open files here, ${limit}, has room for ${wanted} clients`);
  const text = `the limit of open files here, ${limit}, has room for ${room} clients in one process`;
  if (clients === 0) return ok(text);
  return warn(
    `${text}, and the settings allow ${wanted}: Snö refuses clients beyond that`,
    'Raise the limit where Snö runs (LimitNOFILE in a systemd unit, ulimit -n in a shell, --ulimit nofile= for a container), or lower SNO_MAX_CONNECTIONS.',
  );
}

/** Descriptors of a process that serves clients, for the admin port and for Postgres. */
function reservedIn({ SNO_WORKERS: workers, SNO_SNAPSHOTS, SNO_ACCESS_QUERIES }: FileSettings): number {
  if (workers > 0)
    return WORKER_QUERY_CONNECTIONS + Math.ceil(SNO_SNAPSHOTS / workers) + Math.ceil(SNO_ACCESS_QUERIES / workers);
  return ADMIN_CONNECTIONS_MAX + MAIN_QUERY_CONNECTIONS + STREAM_CONNECTIONS + SNO_SNAPSHOTS + SNO_ACCESS_QUERIES;
}
