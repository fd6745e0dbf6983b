/** What the service may take at most, from its settings: docs/operations.md, "Memory". All in bytes. */

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

/** What the first process has on its way to SNO_WORKERS, and has not collected yet. */
export const ON_THE_WAY = 64 * MB;

/** What a scenario has at most at the same time, beside what is there anyway. */
export interface Load {
  readonly connections?: number;
  readonly subscriptions?: number;
  /** Clients that do not read. */
  readonly stalled?: number;
  /** Of the largest row. */
  readonly rowBytes?: number;
  readonly snapshots?: number;
  /** Of the largest row of a snapshot. */
  readonly snapshotRowBytes?: number;
}

export function budgetOf({ replay, commit, walBuffer, outbound, snapshot }: Bounds, load: Load): number {
  const { connections = 0, subscriptions = 0, stalled = 0, rowBytes = 0, snapshots = 0, snapshotRowBytes = 0 } = load;
  return (
    PROCESS +
    2 * replay +
    replay / 4 + // copies for those who take them compressed
    8 * commit +
    walBuffer +
    connections * CONNECTION +
    subscriptions * SUBSCRIPTION +
    stalled * 2 * outbound +
    6 * rowBytes +
    snapshots * (snapshot + 3 * snapshotRowBytes)
  );
}
