/** What ingest is given by those that compose the roles. */
import type pg from 'pg';
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { HistoryPlace } from '../commit/builder.ts';
import type { Settings } from '../config/settings.ts';
import type { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Lsn } from '../lsn.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { StreamFollower } from '../relay/follower.ts';
import type { RunningParts } from './inspect/view.ts';

export interface IngestOptions {
  readonly settings: Settings;
  readonly databaseUrl: string;
  readonly pool: pg.Pool;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** The stream cannot go on. */
  readonly onBug: (error: unknown) => void;
  /** For the admin API. */
  readonly running: RunningParts;
  /** Undefined: this process keeps the journal. */
  readonly relayed?: Relayed;
}

/** What ingest needs of those that it tells. */
export interface Followers extends StreamFollower {
  /** Whether the channel is subscribed or in a journal. Undefined: this process can't know. */
  knows(channel: string): boolean | undefined;
}

/** What ingest needs where others keep the journal, for gateways on other machines. */
export interface Relayed {
  /** What has been published of a history so far. Undefined: nothing is known. */
  readonly continued: { readonly place: HistoryPlace; readonly definitions: ServedDefinitions } | undefined;
  /** Sequences begin after this one. */
  readonly sequence: number;
  /** Everything before it is published. Before there is anything: `from`. */
  readonly publishedHead: () => Lsn;
  /** The stream from Postgres starts here. */
  readonly startedFrom: (from: Lsn) => void;
  /** How long Postgres keeps the WAL of what is published, in ms. */
  readonly marginMs: number;
  /** How long Postgres may be silent before it is asked for a sign of life, in ms. */
  readonly quietMs: number;
  /** The connection to Postgres has ended. */
  readonly onDisconnect: (why: SnoError) => void;
}
