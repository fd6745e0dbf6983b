/** What the compositions pass to ingest. */
import type pg from 'pg';
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { HistoryPlace } from '../commit/stream-head.ts';
import type { Settings } from '../config/settings.ts';
import type { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Lsn } from '../lsn.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { StreamFollower } from '../relay/follower.ts';
import type { Impasse } from '../wal/undecodable/impasse.ts';
import type { SpoolPause } from './in-progress.ts';
import type { RunningParts } from './inspect/view.ts';

export interface IngestOptions {
  readonly settings: Settings;
  readonly databaseUrl: string;
  readonly pool: pg.Pool;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Called if the stream cannot continue because of a bug. */
  readonly onBug: (error: unknown) => void;
  /** Where ingest registers for the admin API. */
  readonly running: RunningParts;
  /** Undefined: this process keeps the journal. */
  readonly relayed?: Relayed;
}

/** The followers of the stream, as ingest needs them. */
export interface Followers extends StreamFollower {
  /** Whether the channel is subscribed or in a journal. Undefined: this process can't know. */
  knows(channel: string): boolean | undefined;
}

/** What ingest needs if JetStream keeps the history, for gateways on several machines. */
export interface Relayed {
  /** The published part of the history. Undefined: none is known. */
  readonly continued:
    | {
        readonly place: HistoryPlace;
        readonly definitions: ServedDefinitions;
        /** Whether its publisher cut large commits into parts as this process does. */
        readonly isCutAlike: boolean;
      }
    | undefined;
  /** Sequences begin after this one. */
  readonly sequence: number;
  /** Everything before it is published. While nothing is: `from`. */
  readonly publishedHead: () => Lsn;
  /** Called when the stream from Postgres starts at `from`. */
  readonly startedFrom: (from: Lsn) => void;
  /** How long Postgres keeps WAL after it was published, in ms. */
  readonly marginMs: number;
  /** How long Postgres may be silent before it is asked for a reply, in ms. */
  readonly quietMs: number;
  /** Last longer than this ingest. */
  readonly spoolPause: SpoolPause;
  readonly impasse: Impasse;
  /** Called when the connection to Postgres has ended. */
  readonly onDisconnect: (why: SnoError) => void;
}
