/** The service as a whole: its session, health, rates, incidents and settings. See ../types.ts. */

// GET /api/session

export interface Session {
  /** `token`: requests need SNO_ADMIN_TOKEN. `loopback`: they are allowed from this machine. */
  readonly authorization: 'token' | 'loopback';
  /** Version of the package. */
  readonly version: string;
  /** SNO_ROLE. */
  readonly role: 'all' | 'ingest' | 'gateway';
  readonly slot: string;
  readonly publication: string;
  /** Whether NATS joins several machines. */
  readonly isSeveralMachines: boolean;
  /** SNO_WORKERS. */
  readonly workers: number;
  readonly startedAt: number;
  readonly now: number;
}

// GET /api/health

/** The panel of the dashboard that shows more about a cause. */
export type Panel = 'slot' | 'channels' | 'connections' | 'incidents' | 'processes' | 'settings' | 'rates';

/**
 * failing: clients receive nothing, or will soon. degraded: some clients or channels are affected.
 * notice: nothing is wrong yet.
 */
export type CauseLevel = 'failing' | 'degraded' | 'notice';

/** A command or statement that ends a cause. */
export interface Remedy {
  /** `sql`: run it in the database, as a role that may. `shell`: run it where Snö runs. */
  readonly language: 'sql' | 'shell';
  /** Complete: names and pids are filled in. */
  readonly text: string;
}

export interface Cause {
  readonly level: CauseLevel;
  /** A code of docs/errors.md, or one that docs/admin-api.md lists under "Causes". */
  readonly code: string;
  /** What happened, in one or two sentences. */
  readonly message: string;
  /** What to do, in words. */
  readonly hint: string;
  /** Undefined: no command ends it. */
  readonly remedy?: Remedy;
  readonly panel: Panel | null;
}

export interface Health {
  /** The level of the worst cause that is more than a notice. */
  readonly verdict: 'healthy' | 'degraded' | 'failing';
  /** Whether /readyz answers 200. */
  readonly isReady: boolean;
  /** The verdict and its worst cause in one sentence. */
  readonly summary: string;
  /** Worst first. */
  readonly causes: readonly Cause[];
  readonly at: number;
}

// GET /api/rates?after=AT

export interface Rates {
  /** Seconds between two samples. */
  readonly intervalSeconds: number;
  /**
   * Samples after `after`, oldest first: at most five minutes. Snö samples only while requests for
   * it arrive, and five minutes longer. So the first answer has no sample, and a pause leaves a
   * gap.
   */
  readonly samples: readonly RateSample[];
}

export interface RateSample {
  readonly at: number;
  /** Seconds that the rates are an average of. */
  readonly spanSeconds: number;
  /** Commits read from the WAL, each second. */
  readonly commits: number;
  /** Changed rows read from the WAL, of tables that views read, each second. */
  readonly rows: number;
  /**
   * Events of channels, each second: rows and published messages. Each counts once, however many
   * subscribers it has.
   */
  readonly events: number;
  /** Frames with events that were passed to client sockets, each second. */
  readonly deliveries: number;
  /** Bytes written to client sockets, each second. */
  readonly sentBytes: number;
  /** Resets sent to subscribers, each second. */
  readonly resets: number;
  /** Errors sent to clients, each second. */
  readonly denials: number;
  /** Seconds from a commit until its frames were passed to sockets. Null: no commit was sent. */
  readonly commitToSend: {
    readonly p50Seconds: number;
    readonly p99Seconds: number;
    readonly count: number;
  } | null;
  // Values at the time of the sample:
  readonly connections: number;
  readonly subscriptions: number;
  /** Bytes of WAL that Snö has not read. */
  readonly walLagBytes: number | null;
  readonly journalBytes: number;
  /** Bytes that wait in client sockets. */
  readonly waitingBytes: number;
}

// GET /api/incidents?kind=

export interface Incidents {
  /** Newest first: at most 200. */
  readonly incidents: readonly Incident[];
}

/** Equal incidents since the start, counted. */
export interface Incident {
  /**
   * error: a line of the log of level warn or higher. denial: an error sent to a client. reset: a
   * reset sent to a subscriber. limit: a client reached a limit.
   */
  readonly kind: 'error' | 'denial' | 'reset' | 'limit';
  readonly level: 'info' | 'warn' | 'error';
  /** A code of docs/errors.md, the reason of a reset, or the name of a limit. `log`: no code. */
  readonly code: string;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** The last one's message. */
  readonly cause: string;
  /** The last one's channel or view. */
  readonly channel: string | null;
  /** What to do. */
  readonly hint: string;
}

// GET /api/settings

export interface EffectiveSettings {
  readonly settings: readonly EffectiveSetting[];
}

export interface EffectiveSetting {
  readonly name: string;
  /** `database`, `listening`, `access`, ... as in docs/settings.md. */
  readonly group: string;
  /** Null: not set. A secret: `(set)`. URLs have no user and password. */
  readonly value: string | null;
  readonly isSecret: boolean;
  readonly source: 'default' | 'environment' | 'flag' | 'unset';
  /** The variable or flag that has it: `DATABASE_URL`, `--port`. Null for a default. */
  readonly from: string | null;
  readonly default: string | null;
  readonly description: string;
}
