/** The roles of a process, joined in one of two ways: on one machine, or on several. */

import type { Certificate } from '../http/tls.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { CommitSpans } from '../telemetry/commit-spans.ts';
import type { Unready } from '../unready.ts';
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
  /** Where the running parts register for the admin API. */
  readonly running: RunningParts;
}

export interface Composition {
  /** Listens for clients, which receive `starting` until `open`. Resolves with the port, or 0. */
  listen(): Promise<number>;
  /** Sets the database up. Throws a SnoError that says what is missing. */
  prepare(): Promise<void>;
  /** Resolves when this process can serve. Throws a SnoError if it cannot start. */
  start(): Promise<void>;
  /** Lets clients in. */
  open(): Promise<void>;
  /** Disconnects the clients within SNO_DRAIN_SECONDS. */
  drain(): Promise<void>;
  stop(): Promise<void>;
  /** Why this process cannot serve clients now. Undefined: it serves them. */
  readonly unready: Unready | undefined;
  /** Number of channel views that are served. */
  readonly channelCount: number;
  /** The metrics of this process, and of its workers. */
  readonly metrics: Pick<Metrics, 'text' | 'contentType' | 'values'>;
}
