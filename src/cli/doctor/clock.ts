/**
 * Checks the difference between Postgres's clock and this machine's. The delay of commits is
 * measured with both, and tokens expire by this machine's.
 */
import type pg from 'pg';
import { type Outcome, ok, warn } from './finding.ts';

/** Maximum difference without a warning, in ms. */
const SKEW_MS_MAX = 1_000;
const ATTEMPTS = 3;

interface Reading {
  /** Postgres's clock, in ms since 1970. */
  readonly theirs: number;
  /** This machine's clock before and after. */
  readonly before: number;
  readonly after: number;
}

/** Reads the clocks ATTEMPTS times, and uses the reading that took the least time. */
export async function clockOutcome(client: pg.Client): Promise<Outcome> {
  const readings: Reading[] = [];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = Date.now();
    const { rows } = await client.query<{ now: string }>('select extract(epoch from clock_timestamp()) * 1000 as now');
    readings.push({ theirs: Number(rows[0]?.now), before, after: Date.now() });
  }
  const [best] = readings.sort((one, other) => one.after - one.before - (other.after - other.before));
  return skewOutcome(best as Reading);
}

export function skewOutcome({ theirs, before, after }: Reading): Outcome {
  const skew = theirs < before ? theirs - before : Math.max(0, theirs - after);
  if (Math.abs(skew) <= SKEW_MS_MAX) return ok("Postgres's clock and this machine's agree to a second");
  const text = `${(Math.abs(skew) / 1_000).toFixed(1)} s ${skew > 0 ? 'ahead of' : 'behind'}`;
  return warn(
    `Postgres's clock is ${text} this machine's: sno_commit_to_send_seconds is wrong by as much, and tokens may expire too early or too late`,
    'Synchronise the clocks of both machines (chrony, systemd-timesyncd).',
  );
}
