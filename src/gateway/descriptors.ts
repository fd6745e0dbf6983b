/**
 * File descriptors. Each client takes one, and the admin port, Postgres and files need theirs: a process that has none left
 * cannot answer a probe. So a gateway takes as many sockets as leave those descriptors free, and closes what comes beyond.
 */
import { readdirSync } from 'node:fs';
import type { Logger } from '../logger.ts';

/** For files, the key server, lookups of names, connections that are made anew while the old one closes. */
const OTHERS = 32;

interface Report {
  readonly userLimits?: { readonly open_files?: { readonly soft: unknown } };
}

/** How many files this process may have open; undefined where that is unlimited or unknown. */
function openFilesMax(): number | undefined {
  // the types do not know it yet; without it the report looks up the names of peers
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  const { userLimits } = report.getReport() as Report;
  report.excludeNetwork = before;
  const soft = Number(userLimits?.open_files?.soft);
  return Number.isNaN(soft) ? undefined : soft;
}

/** How many this process has open, its standard ones and those of Node included. */
function openFiles(): number {
  try {
    return readdirSync('/dev/fd').length;
  } catch {
    return OTHERS;
  }
}

export interface DescriptorNeeds {
  /** What else the process may open: connections of the admin port and to Postgres. */
  readonly reserved: number;
  /** Clients that the settings allow; 0 = no limit. */
  readonly clientsMax: number;
}

/** How many client sockets there may be from now on, in addition to what is open. Warns where the settings allow more. */
export function clientSocketsMax({ reserved, clientsMax }: DescriptorNeeds, logger: Logger): number {
  const limit = openFilesMax();
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  const max = Math.max(0, limit - openFiles() - reserved - OTHERS);
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
