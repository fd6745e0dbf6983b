/** The roles of a process, joined in one of two ways: on one machine, or on several. */
import type { Certificate } from '../http/tls.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { CommitSpans } from '../telemetry/commit-spans.ts';
import type { IngestOptions } from './ingest-options.ts';
import type { RunningParts } from './inspect/view.ts';

export interface CompositionOptions extends Omit<IngestOptions, 'relayed'> {
  readonly certificate: Certificate | undefined;
  /** Undefined: no spans are recorded. */
  readonly spans: CommitSpans | undefined;
  /** Number of files that the process may open beside those for clients. */
  readonly otherFilesMax: number;
  /** Recent faults of this process. */
  readonly incidents: Incidents;
  /** For the admin API: the parts set themselves. */
  readonly running: RunningParts;
}

export interface Composition {
  /** Listens for clients, who are told that the service is starting. 0: no clients are served. */
  listen(): Promise<number>;
  /** Sets the database up. Throws a SnoError that says what is missing. */
  prepare(): Promise<void>;
  /** Resolves when this process can serve. Throws a SnoError if it cannot start. */
  start(): Promise<void>;
  /** Lets clients in. */
  open(): Promise<void>;
  /** Sends the clients away over SNO_DRAIN_SECONDS or less. */
  drain(): Promise<void>;
  stop(): Promise<void>;
  /** Why clients should go elsewhere. Undefined: they are served. */
  readonly unready: string | undefined;
  /** Number of channel views that are served. */
  readonly channelCount: number;
  /** The metrics of this process, and of its workers. */
  readonly metrics: Pick<Metrics, 'text' | 'contentType' | 'values'>;
}
