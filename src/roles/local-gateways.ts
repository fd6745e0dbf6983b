/** The gateways of this machine: in this process, or SNO_WORKERS processes. */
import type { OlderHistory } from '../fanout/history/older-history.ts';
import type { PeerSwitch } from '../peers/peer-switch.ts';
import type { BacklogSource } from '../relay/backlog.ts';
import { WorkerPool, type WorkerPoolOptions } from '../workers/pool.ts';
import type { CompositionOptions } from './composition.ts';
import { GatewayRole } from './gateway.ts';
import type { Gateways } from './gateways.ts';

export interface LocalGateways extends Pick<WorkerPoolOptions, 'hold' | 'release'> {
  /** The stream that they follow. */
  readonly source: BacklogSource;
  /** Older history, for a gateway in this process. Workers read it by themselves. */
  readonly history?: OlderHistory;
  /** Passes messages between the processes of this machine, and those of other machines. */
  readonly peers: PeerSwitch;
}

/** Throws `setting_invalid` if a configured token key is not a valid key. */
export function localGateways(
  options: CompositionOptions,
  { source, history, peers, ...pace }: LocalGateways,
): Gateways {
  const { running, settings } = options;
  const { SNO_WORKERS: workers, SNO_MAX_CONNECTIONS: clientsMax } = settings;
  const { journal, head } = source;
  const gateways =
    workers > 0
      ? new WorkerPool({ ...options, ...pace, source, peers })
      : new GatewayRole({
          ...options,
          journal,
          head,
          clientsMax,
          peers,
          ...(history === undefined ? {} : { history }),
        });
  running.gateways = gateways;
  running.source = source;
  return gateways;
}
