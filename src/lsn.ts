/**
 * Log sequence numbers.
 *
 * An LSN is held as a safe integer: a byte offset into the WAL, compared with `<`, with no string
 * and no allocation on the hot path. A cluster would have to write 9 PB (2^53 bytes) before that is
 * inexact; such an LSN stops the process loudly instead of being rounded. See
 * docs/decisions/0002-lsn-as-number.md.
 */

/** A byte offset into the WAL, a safe integer. */
export type Lsn = number;

const LOW = 0x1_0000_0000;
const HIGH_MAX = 0x1f_ffff;

/** Reads the 8-byte big-endian LSN at `offset`. Throws if it exceeds 2^53. */
export function readLsn(buffer: Buffer, offset: number): Lsn {
  const high = buffer.readUInt32BE(offset);
  if (high > HIGH_MAX) throw new RangeError(`LSN ${high.toString(16)}/… is beyond 2^53 bytes of WAL`);
  return high * LOW + buffer.readUInt32BE(offset + 4);
}

/** Writes an LSN as 8 big-endian bytes at `offset`. */
export function writeLsn(buffer: Buffer, lsn: Lsn, offset: number): void {
  buffer.writeUInt32BE(Math.floor(lsn / LOW), offset);
  buffer.writeUInt32BE(lsn % LOW, offset + 4);
}

/** `0/16B3748`, as Postgres prints it (type `pg_lsn`). */
export function formatLsn(lsn: Lsn): string {
  const high = Math.floor(lsn / LOW);
  const low = lsn % LOW;
  return `${high.toString(16).toUpperCase()}/${low.toString(16).toUpperCase()}`;
}

const LSN = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** Reads `0/16B3748`. Undefined if the text is not an LSN that this process can hold. */
export function parseLsn(text: string): Lsn | undefined {
  const match = LSN.exec(text);
  if (match === null) return undefined;
  const high = Number.parseInt(match[1] as string, 16);
  if (high > HIGH_MAX) return undefined;
  return high * LOW + Number.parseInt(match[2] as string, 16);
}
