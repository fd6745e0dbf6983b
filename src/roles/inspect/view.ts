/** The view that the wiring gives the admin API. It costs nothing until it is read. */

import type { MachineInfo, ProcessInfo } from '../../admin/api/types.ts';
import type { Catalog } from '../../channels/catalog/catalog.ts';
import type { ChannelRegistry } from '../../channels/definitions/registry.ts';
import type { ServedDefinitions } from '../../channels/served/served.ts';
import type { MemoryJournal } from '../../journal/memory.ts';
import type { AskGateways } from './questions.ts';

/** The half that reads the WAL. */
export interface IngestView {
  readonly registry: Pick<ChannelRegistry, 'views' | 'refusals' | 'accessWarnings'>;
  readonly catalog: Catalog | undefined;
  readonly walLagBytes: number | undefined;
  readonly growthBytesPerSecond: number | undefined;
  readonly secondsLeft: number | undefined;
  readonly generation: number | undefined;
  readonly isCaughtUp: boolean;
}

/** A worker as main sees it. */
export type WorkerView = Pick<ProcessInfo, 'worker' | 'pid' | 'state' | 'backlogBytes'>;

export interface CompositionView {
  /** Undefined: this process does not read the WAL. */
  readonly ingest: IngestView | undefined;
  /** The definitions in force. Undefined: none are known yet. */
  readonly definitions: ServedDefinitions | undefined;
  /** Undefined: this machine serves no clients. */
  readonly journal: MemoryJournal | undefined;
  readonly epoch: string;
  /** Undefined: this machine serves no clients. */
  readonly ask: AskGateways | undefined;
  readonly workers: readonly WorkerView[];
  /** Undefined: one machine. */
  readonly relay: NonNullable<MachineInfo['relay']> | undefined;
}

/** Nothing is known. */
export const NO_VIEW: CompositionView = {
  ingest: undefined,
  definitions: undefined,
  journal: undefined,
  epoch: '',
  ask: undefined,
  workers: [],
  relay: undefined,
};
