/** Numbers and times as people read them. */

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat('en', { maximumSignificantDigits: 3, useGrouping: false });
const CLOCK = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

const UNKNOWN = '–';

type Maybe = number | null | undefined;

const isKnown = (value: Maybe): value is number => value !== null && value !== undefined && Number.isFinite(value);

/** `12,345` */
export function count(value: Maybe): string {
  return isKnown(value) ? WHOLE.format(value) : UNKNOWN;
}

/** `12.3k`: at most three digits. */
export function short(value: Maybe): string {
  return isKnown(value) ? scaled(value, 1000, ['', 'k', 'M', 'G', 'T']) : UNKNOWN;
}

/** `1.5 GB`, in powers of 1024, as Postgres and the settings count. */
export function bytes(value: Maybe): string {
  return isKnown(value) ? scaled(value, 1024, [' B', ' kB', ' MB', ' GB', ' TB', ' PB']) : UNKNOWN;
}

/** `1.5 MB/s` */
export const bytesPerSecond = (value: Maybe) => (isKnown(value) ? `${bytes(value)}/s` : UNKNOWN);

/** A short time: `0.42 ms`, `12 ms`, `1.5 s`. */
export function latency(seconds: Maybe): string {
  if (!isKnown(seconds)) return UNKNOWN;
  return seconds < 1 ? `${SHORT.format(seconds * 1000)} ms` : duration(seconds);
}

/** `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h` */
export function duration(seconds: Maybe): string {
  if (!isKnown(seconds)) return UNKNOWN;
  if (seconds < 10) return `${SHORT.format(Number(seconds.toFixed(1)))} s`;
  const whole = Math.round(seconds);
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(' ');
}

/** `5 s ago`, `just now` */
export function ago(at: string | number | null | undefined): string {
  if (at === null || at === undefined) return UNKNOWN;
  const seconds = Math.floor((Date.now() - new Date(at).getTime()) / 1000);
  return seconds < 1 ? 'just now' : `${duration(seconds)} ago`;
}

/** `14:05:59`, in the reader's time zone. */
export function clock(at: string | number): string {
  return CLOCK.format(new Date(at));
}

/** `1 row`, `2 rows` */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

function scaled(value: number, step: number, units: readonly string[]): string {
  let rest = value;
  let unit = 0;
  while (Math.abs(rest) >= step * 0.9995 && unit < units.length - 1) {
    rest /= step;
    unit++;
  }
  return `${SHORT.format(unit === 0 && rest >= 100 ? Math.round(rest) : rest)}${units[unit]}`;
}
