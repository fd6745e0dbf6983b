/** The settings of one worker: overall limits are divided among the workers, rounded up. */
import type { Settings } from '../config/settings.ts';

export function shareOf(settings: Settings): Settings {
  const share = (all: number) => Math.ceil(all / settings.SNO_WORKERS);
  return {
    ...settings,
    SNO_WORKERS: 0,
    SNO_SNAPSHOTS: share(settings.SNO_SNAPSHOTS),
    SNO_MAX_WAITING_SNAPSHOTS: share(settings.SNO_MAX_WAITING_SNAPSHOTS),
    SNO_OUTBOUND_TOTAL_BYTES: share(settings.SNO_OUTBOUND_TOTAL_BYTES),
    SNO_ACCESS_QUERIES: share(settings.SNO_ACCESS_QUERIES),
    SNO_ACCESS_WAITING: share(settings.SNO_ACCESS_WAITING),
    SNO_MAX_PENDING_CONNECTIONS: share(settings.SNO_MAX_PENDING_CONNECTIONS),
  };
}
