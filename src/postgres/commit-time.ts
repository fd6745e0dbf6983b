/** Times as Postgres sends them: microseconds since 2000-01-01 UTC. */

/** 2000-01-01 UTC, in ms since 1970. */
export const EPOCH_2000_MS = 946_684_800_000;

/** Returns the time in ms since 1970. */
export function millisecondsOf(microseconds: number): number {
  return EPOCH_2000_MS + microseconds / 1_000;
}

/** Returns the time in whole seconds since 1970. */
export function secondsOf(microseconds: number): number {
  return EPOCH_2000_MS / 1_000 + Math.floor(microseconds / 1_000_000);
}

/** Returns the time as `2026-11-23T10:00:00.123456Z`. */
export function formatMicroseconds(microseconds: number): string {
  const milliseconds = Math.floor(microseconds / 1_000);
  const rest = microseconds - milliseconds * 1_000;
  const text = new Date(EPOCH_2000_MS + milliseconds).toISOString();
  return `${text.slice(0, -1)}${String(rest).padStart(3, '0')}Z`;
}
