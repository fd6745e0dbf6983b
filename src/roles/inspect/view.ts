/** The parts of the service that the admin API reads. They cost nothing until they are read. */
import type { ProcessInfo } from '../../admin/api/types.ts';
import type { Catalog } from '../../channels/catalog/catalog.ts';
import type { ChannelRegistry } from '../../channels/definitions/registry.ts';
import type { ServedDefinitions } from '../../channels/served/served.ts';
import type { MemoryJournal } from '../../journal/memory.ts';
import type { BacklogSource } from '../../relay/backlog.ts';
import type { AskGateways } from './questions.ts';

/** What the admin API shows of ingest. */
export interface IngestView {
  readonly registry: Pick<ChannelRegistry, 'views' | 'refusals' | 'accessWarnings'>;
  readonly catalog: Catalog | undefined;
  readonly walLagBytes: number | undefined;
  readonly growthBytesPerSecond: number | undefined;
  readonly secondsLeft: number | undefined;
  readonly generation: number | undefined;
  readonly isCaughtUp: boolean;
}

/** A worker, seen from main. */
export type WorkerView = Pick<ProcessInfo, 'worker' | 'pid' | 'state' | 'backlogBytes'>;

export interface ServiceView {
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
}

/** The parts of the service that run now. Each registers when it starts. */
export class RunningParts {
  /** Set while this process reads the WAL, or is about to. */
  ingest: (BacklogSource & { readonly view: IngestView }) | undefined;
  gateways: { readonly ask: AskGateways; readonly workers: readonly WorkerView[] } | undefined;
  /** The stream that the gateways follow. */
  source: BacklogSource | undefined;

  get view(): ServiceView {
    const { ingest, gateways, source } = this;
    const known = source ?? ingest;
    return {
      ingest: ingest?.view,
      definitions: known?.definitions.served,
      journal: source?.journal,
      epoch: known?.head.epoch ?? '',
      ask: gateways?.ask,
      workers: gateways?.workers ?? [],
    };
  }
}
