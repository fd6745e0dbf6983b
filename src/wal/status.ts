/**
 * The packets of the streaming replication protocol that are not rows (Postgres docs, "Streaming
 * Replication Protocol"): XLogData's header, the primary's keepalive, and our standby status
 * update.
 */
import { type Lsn, readLsn, writeLsn } from '../lsn.ts';
import { EPOCH_2000_MS } from '../postgres/commit-time.ts';

export const XLOG_DATA = 0x77; // w
export const KEEPALIVE = 0x6b; // k
/**
 * XLogData: letter, start of the data, end of the server's WAL, clock; then the output plugin's
 * message.
 */
export const XLOG_DATA_HEADER_BYTES = 25;

const STATUS_UPDATE = 0x72; // r
const STATUS_UPDATE_BYTES = 34;

/** End of the server's WAL when it sent the XLogData that begins at `start`. */
export function serverEndOf(buffer: Buffer, start: number): Lsn {
  return readLsn(buffer, start + 9);
}

export interface Keepalive {
  /** Everything that committed before it has been sent. */
  readonly end: Lsn;
  readonly wantsReply: boolean;
}

export function readKeepalive(buffer: Buffer, start: number): Keepalive {
  return { end: readLsn(buffer, start + 1), wantsReply: buffer[start + 17] === 1 };
}

/**
 * A standby status update. `written` is the position read so far, `flushed` the position before
 * which nothing will be requested again. Both are exact: the server starts with the first commit
 * record at or after `flushed`.
 */
export function statusUpdate(written: Lsn, flushed: Lsn, nowMs: number, asksReply: boolean): Buffer {
  const packet = Buffer.alloc(STATUS_UPDATE_BYTES);
  packet[0] = STATUS_UPDATE;
  writeLsn(packet, written, 1);
  writeLsn(packet, flushed, 9);
  writeLsn(packet, flushed, 17);
  packet.writeBigInt64BE(BigInt(Math.round((nowMs - EPOCH_2000_MS) * 1_000)), 25);
  packet[33] = asksReply ? 1 : 0;
  return packet;
}
