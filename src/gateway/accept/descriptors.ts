/**
 * Keeps file descriptors free. Each client uses one. The admin port, Postgres and files need some
 * too: a process without a free descriptor cannot answer a probe. So a gateway closes client
 * sockets that would take the reserved ones.
 */
import { readdirSync } from 'node:fs';
import type { Logger } from '../../logger.ts';

/**
 * Descriptors for files, the key server, name lookups, and connections that are renewed while the
 * old one closes.
 */
const OTHERS = 32;

interface Report {
  readonly userLimits?: { readonly open_files?: { readonly soft: unknown } };
}

/** Returns the limit of open files of this process. Undefined: unlimited or unknown. */
export function openFilesMax(): number | undefined {
  // The types do not know `excludeNetwork` yet. Without it the report looks up the names of peers.
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  const { userLimits } = report.getReport() as Report;
  report.excludeNetwork = before;
  const soft = Number(userLimits?.open_files?.soft);
  return Number.isNaN(soft) ? undefined : soft;
}

/** Returns the number of open files of this process, including standard streams and Node's own. */
export function openFiles(): number {
  try {
    return readdirSync('/dev/fd').length;
  } catch {
    return OTHERS;
  }
}

export interface DescriptorNeeds {
  /** Descriptors for other purposes: connections of the admin port and to Postgres. */
  readonly reserved: number;
  /** Maximum clients by the settings. 0: no limit. */
  readonly clientsMax: number;
}

/**
 * Returns how many client sockets a process has descriptors for. `limit`: of its open files, of
 * which `open` are open. `reserved`: see DescriptorNeeds.
 */
export function roomForClients(limit: number, open: number, reserved: number): number {
  return Math.max(0, limit - open - reserved - OTHERS);
}

/**
 * Returns the maximum of client sockets, beside the descriptors that are already open. Warns if the
 * settings allow more.
 */
export function clientSocketsMax({ reserved, clientsMax }: DescriptorNeeds, logger: Logger): number {
  const limit = openFilesMax();
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  const max = roomForClients(limit, openFiles(), reserved);
  if (max < clientsMax)
    logger.warn(
      {
        openFiles: limit,
        clientsMax: max,
        hint: `Raise the limit of open files by ${clientsMax - max} (LimitNOFILE in a systemd unit, ulimit -n in a shell), or set SNO_MAX_CONNECTIONS lower.`,
      },
      `the limit of open files leaves room for ${max} clients, and the settings allow ${clientsMax}`,
    );
  return max;
}
