/** Compares the limit of open files with the clients that the settings allow. */
import type { Settings } from '../../config/settings.ts';
import { openFilesMax } from '../../gateway/accept/descriptors.ts';
import { type Outcome, ok, warn } from './finding.ts';

/** Descriptors for the admin port, files and other purposes: see docs/operations.md. */
const RESERVED = 132;

type FileSettings = Pick<Settings, 'SNO_MAX_CONNECTIONS' | 'SNO_WORKERS' | 'SNO_SNAPSHOTS' | 'SNO_ACCESS_QUERIES'>;

/** `limit`: of this process. Undefined: unlimited or unknown. */
export function openFilesOutcome(settings: FileSettings, limit = openFilesMax()): Outcome {
  const { SNO_MAX_CONNECTIONS: clients, SNO_WORKERS: workers } = settings;
  if (limit === undefined) return ok('the number of open files has no limit here');
  const room = Math.max(0, limit - RESERVED - settings.SNO_SNAPSHOTS - settings.SNO_ACCESS_QUERIES);
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
