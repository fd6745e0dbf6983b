/** Sizes and durations as text for people. */
const SIZES = [
  [1024 ** 3, 'GB'],
  [1024 ** 2, 'MB'],
  [1024, 'kB'],
] as const;

/** `1.5 kB`: bytes for people, with units of 1,024 as in Postgres. */
export function sizeText(bytes: number): string {
  for (const [size, unit] of SIZES) if (bytes >= size) return `${(bytes / size).toFixed(1).replace('.0', '')} ${unit}`;
  return `${bytes} bytes`;
}

/** `90 s`, `15 min`, `3 h`: a duration for people. */
export function timeText(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}
