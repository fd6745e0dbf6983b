/** Counts the events that a subscriber reads, and measures their ages. */

/** The first byte of a text frame that is compressed (RFC 7692, section 6). */
const DEFLATED_FINAL = 0xc1;

/** `2026-11-23T10:00:00.123456Z` */
const STAMP_BYTES = 27;
const DAY_MICROSECONDS = 86_400_000_000;

/** Counts how often `needle` occurs in bytes that come in pieces. */
export class Counter {
  readonly #needle: Buffer;
  #rest = Buffer.alloc(0);

  constructor(needle: string) {
    this.#needle = Buffer.from(needle);
  }

  /** Calls `found` for each needle, with the offset in `bytes` right after it. */
  count(chunk: Buffer, found?: (bytes: Buffer, after: number) => void): number {
    const { length } = this.#needle;
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let count = 0;
    let after = 0;
    for (let at = bytes.indexOf(this.#needle); at !== -1; at = bytes.indexOf(this.#needle, after)) {
      after = at + length;
      count++;
      found?.(bytes, after);
    }
    // a needle may be cut in two
    this.#rest = Buffer.from(bytes.subarray(Math.max(after, bytes.length - length + 1)));
    return count;
  }
}

/** Counts compressed frames by their headers. */
export class DeflatedCounter {
  #rest = Buffer.alloc(0);

  count(chunk: Buffer): number {
    let bytes = Buffer.concat([this.#rest, chunk]);
    let count = 0;
    for (;;) {
      const end = frameEnd(bytes);
      if (end === undefined || end > bytes.length) break;
      if (bytes[0] === DEFLATED_FINAL) count++;
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
    return count;
  }
}

/** Returns where the first frame in `bytes` ends. Undefined if its header is incomplete. */
function frameEnd(bytes: Buffer): number | undefined {
  const length = bytes[1];
  if (length === undefined) return undefined;
  if (length < 126) return 2 + length;
  if (length === 126) return bytes.length < 4 ? undefined : 4 + bytes.readUInt16BE(2);
  return bytes.length < 10 ? undefined : 10 + Number(bytes.readBigUInt64BE(2));
}

/**
 * Milliseconds since the time written at `at`, which is of today or yesterday. Undefined if it is
 * cut off.
 */
export function ageAt(bytes: Buffer, at: number): number | undefined {
  if (at + STAMP_BYTES > bytes.length) return undefined;
  const digits = (from: number, count: number) => {
    let value = 0;
    for (let index = at + from; index < at + from + count; index++)
      value = value * 10 + (bytes[index] as number) - 0x30;
    return value;
  };
  const then = ((digits(11, 2) * 60 + digits(14, 2)) * 60 + digits(17, 2)) * 1e6 + digits(20, 6);
  const now = (performance.timeOrigin + performance.now()) * 1_000;
  return ((((now - then) % DAY_MICROSECONDS) + DAY_MICROSECONDS) % DAY_MICROSECONDS) / 1_000;
}

/**
 * The present time, or an earlier one on the clock of `performance.now`, in the form that `ageAt`
 * reads.
 */
export function stamp(at = performance.now()): string {
  const microseconds = Math.round((performance.timeOrigin + at) * 1_000);
  const text = new Date(Math.floor(microseconds / 1_000)).toISOString();
  return `${text.slice(0, -1)}${String(microseconds % 1_000).padStart(3, '0')}Z`;
}
