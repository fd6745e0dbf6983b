/**
 * Maximum memory of the service, computed from its settings: docs/operations.md, "Memory". All
 * values in bytes.
 */

export const MB = 2 ** 20;

/** The settings that bound memory: SNO_REPLAY_BYTES and so on. */
export interface Bounds {
  readonly replay: number;
  readonly commit: number;
  readonly walBuffer: number;
  readonly outbound: number;
  readonly snapshot: number;
}

export const DEFAULTS: Bounds = {
  replay: 64 * MB,
  commit: 8 * MB,
  walBuffer: 16 * MB,
  outbound: MB,
  snapshot: 8 * MB,
};

export function settingsOf({ replay, commit, walBuffer, outbound, snapshot }: Bounds): Record<string, string> {
  return {
    SNO_REPLAY_BYTES: String(replay),
    SNO_COMMIT_BYTES: String(commit),
    SNO_WAL_BUFFER_BYTES: String(walBuffer),
    SNO_OUTBOUND_BYTES: String(outbound),
    SNO_SNAPSHOT_BYTES: String(snapshot),
  };
}

const PROCESS = 200 * MB;
const CONNECTION = 100_000;
const SUBSCRIPTION = 2_500;

/**
 * Data on its way from the first process to SNO_WORKERS, including garbage that is not collected
 * yet.
 */
export const ON_THE_WAY = 64 * MB;

/** Maximum load of a scenario at one time, beside what is always there. */
export interface Load {
  readonly connections?: number;
  readonly subscriptions?: number;
  /** Clients that do not read. */
  readonly stalled?: number;
  /** Bytes of the largest row. */
  readonly rowBytes?: number;
  readonly snapshots?: number;
  /** Bytes of the largest row of a snapshot. */
  readonly snapshotRowBytes?: number;
}

export function budgetOf({ replay, commit, walBuffer, outbound, snapshot }: Bounds, load: Load): number {
  const { connections = 0, subscriptions = 0, stalled = 0, rowBytes = 0, snapshots = 0, snapshotRowBytes = 0 } = load;
  return (
    PROCESS +
    2 * replay +
    replay / 4 + // compressed copies
    8 * commit +
    walBuffer +
    connections * CONNECTION +
    subscriptions * SUBSCRIPTION +
    stalled * 2 * outbound +
    6 * rowBytes +
    snapshots * (snapshot + 3 * snapshotRowBytes)
  );
}
