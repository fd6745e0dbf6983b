/** The replication slot, the processes and the machine. See ../types.ts. */
import type { Remedy } from './service.ts';

// GET /api/slot

export interface Slot {
  readonly name: string;
  /** The slot's `wal_status`; `missing`: Postgres has no slot of this name. */
  readonly status: 'reserved' | 'extended' | 'unreserved' | 'lost' | 'missing' | 'unknown';
  /** Whether a process reads it. */
  readonly isActive: boolean;
  /** WAL that Postgres keeps for it. */
  readonly heldBytes: number | null;
  /** The held WAL after the confirmed position: kept for replay, or not read yet. */
  readonly unconfirmedBytes: number | null;
  /** SNO_SLOT_WAL_BYTES. Null: no bound. */
  readonly boundBytes: number | null;
  /** SNO_SLOT_WAL_POLICY: what Snö does at the bound. */
  readonly policy: 'give_up' | 'hold';
  /** Room until Postgres invalidates it (max_slot_wal_keep_size). Null: no bound. */
  readonly postgresLeftBytes: number | null;
  /** Room until the nearer of the two bounds. Null: there is no bound. */
  readonly leftBytes: number | null;
  /** fine: less than half of the room is used. full: a bound is reached. */
  readonly level: 'fine' | 'filling' | 'full';
  /** How fast the held WAL grew over the last minute. Negative: it shrank. */
  readonly growthBytesPerSecond: number | null;
  /** Time until the nearer bound, at this rate. Null: it does not grow, or has no bound. */
  readonly secondsLeft: number | null;
  /** WAL that Postgres has written and Snö has not read. */
  readonly walLagBytes: number | null;
  readonly restartLsn: string | null;
  readonly confirmedLsn: string | null;
  /** Epoch of the positions that clients receive now. */
  readonly epoch: string | null;
  /** Number of histories begun on the slot. */
  readonly generation: number | null;
  /** Whether Snö has read everything that the WAL had when it started. */
  readonly isCaughtUp: boolean | null;
  /** The process that reads the slot. */
  readonly holder: { readonly pid: number; readonly text: string } | null;
  readonly failover: {
    /** Whether the server has failover slots (Postgres 17 and newer). */
    readonly isSupported: boolean;
    /** Whether the slot is copied to standbys. */
    readonly isEnabled: boolean | null;
    /** Whether the slot here is a copy of the primary's. */
    readonly isSynced: boolean | null;
  };
  /** Transactions that may hold WAL back, oldest first: at most five. */
  readonly transactions: readonly OpenTransaction[];
  /** Why parts are unknown. Null: Postgres answered. */
  readonly problem: string | null;
}

export interface OpenTransaction {
  readonly kind: 'session' | 'prepared';
  /** Null for a prepared transaction. */
  readonly pid: number | null;
  /** Name of a prepared transaction. */
  readonly gid: string | null;
  readonly user: string | null;
  readonly application: string | null;
  /** `active`, `idle in transaction`, ...; null if this role may not see it. */
  readonly state: string | null;
  readonly ageSeconds: number;
  /** Time in this state. */
  readonly stateSeconds: number | null;
  /** What it waits for, such as `Lock: transactionid`. */
  readonly waitsFor: string | null;
  /** SQL that ends it. */
  readonly remedy: Remedy;
}

// GET /api/processes

export interface Processes {
  /** This process first, then its workers by number. */
  readonly processes: readonly ProcessInfo[];
  readonly machine: MachineInfo;
}

export interface ProcessInfo {
  readonly kind: 'main' | 'worker';
  /** Number of the worker. */
  readonly worker: number | null;
  readonly pid: number | null;
  /** silent: it did not answer in time. */
  readonly state: 'serving' | 'starting' | 'silent';
  readonly startedAt: number | null;
  readonly rssBytes: number | null;
  readonly heapBytes: number | null;
  /** Average cores that it used since the last request: 0.5 is half of one core. */
  readonly cpuCores: number | null;
  /** CPU time since its start. */
  readonly cpuSeconds: number | null;
  /** Client connections. Null: it serves no clients. */
  readonly connections: number | null;
  readonly subscriptions: number | null;
  /** Bytes of the stream that a worker has not received. */
  readonly backlogBytes: number | null;
}

export interface MachineInfo {
  /** SNO_ROLE. */
  readonly role: 'all' | 'ingest' | 'gateway';
  /** Whether this process reads the WAL. */
  readonly isIngesting: boolean;
  /** The process that reads the slot, as Postgres reports it. It may be on another machine. */
  readonly holder: { readonly pid: number; readonly text: string } | null;
  /** Null: one machine. */
  readonly relay: {
    readonly isConnected: boolean;
    readonly server: string | null;
    readonly stream: string;
    /** What NATS reported last. */
    readonly fault: string | null;
    /** Whether this process is cut off from the stream and serves no clients. */
    readonly isCutOff: boolean;
    /** Seconds since a message of the stream has arrived. */
    readonly silenceSeconds: number | null;
    /** Messages of the stream that have not arrived here yet. */
    readonly lagMessages: number | null;
    readonly sequence: number | null;
    readonly streamMessages: number | null;
    readonly streamBytes: number | null;
    readonly streamAgeSeconds: number | null;
    /** Bytes that this process has published and JetStream has not confirmed. */
    readonly unconfirmedBytes: number | null;
  } | null;
}
