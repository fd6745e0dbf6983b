/**
 * pgoutput's messages about transactions in progress, protocol version 2 (Postgres docs, "Logical
 * Replication Message Formats"). Between Stream Start and Stream Stop, each message has the xid of
 * its transaction or subtransaction after its letter. Otherwise it is as in protocol version 1.
 */
import { SnoError } from '../errors.ts';

export const STREAM = {
  start: 0x53, // S
  stop: 0x45, // E
  commit: 0x63, // c
  abort: 0x41, // A
} as const;
/** The only message within a block that has no xid. Snö does not need it. */
export const ORIGIN = 0x4f; // O

const BEGIN = 0x42; // B
const COMMIT = 0x43; // C
const XID_BYTES = 4;
const LSN_BYTES = 8;
const TIME_BYTES = 8;
const START_BYTES = 1 + XID_BYTES + 1;
const STREAM_COMMIT_BYTES = 1 + XID_BYTES + 1 + LSN_BYTES + LSN_BYTES + TIME_BYTES;
const ABORT_BYTES = 1 + XID_BYTES + XID_BYTES;
const MESSAGE_BYTES = 1 + XID_BYTES;
const BEGIN_BYTES = 1 + LSN_BYTES + TIME_BYTES + XID_BYTES;
const COMMIT_BYTES = 1 + 1 + LSN_BYTES + LSN_BYTES + TIME_BYTES;

/** The end of a transaction, as the two messages that enclose it in protocol version 1. */
export interface StreamedCommit {
  readonly begin: Buffer;
  readonly commit: Buffer;
}

/** Returns the xid of the transaction whose block begins. Throws `decode_failed`. */
export function streamStart(buffer: Buffer, start: number, end: number): number {
  requireBytes(end - start, START_BYTES);
  return xidOf(buffer, start);
}

/** Returns the xid after the letter: of the transaction, or of a message's subtransaction. */
export function xidOf(buffer: Buffer, start: number): number {
  return buffer.readUInt32BE(start + 1);
}

export function streamCommit(buffer: Buffer, start: number, end: number): StreamedCommit {
  requireBytes(end - start, STREAM_COMMIT_BYTES);
  const flags = start + 1 + XID_BYTES;
  const commitLsn = flags + 1;
  const committedAt = commitLsn + 2 * LSN_BYTES;
  const begin = Buffer.alloc(BEGIN_BYTES);
  begin[0] = BEGIN;
  let at = 1 + buffer.copy(begin, 1, commitLsn, commitLsn + LSN_BYTES);
  at += buffer.copy(begin, at, committedAt, committedAt + TIME_BYTES);
  buffer.copy(begin, at, start + 1, flags);
  const commit = Buffer.alloc(COMMIT_BYTES);
  commit[0] = COMMIT;
  buffer.copy(commit, 1, flags, end);
  return { begin, commit };
}

/**
 * Returns the transaction (`of`), and the xid that is rolled back: a subtransaction's, or the
 * transaction's own. Throws `decode_failed`.
 */
export function streamAbort(buffer: Buffer, start: number, end: number): { readonly xid: number; readonly of: number } {
  requireBytes(end - start, ABORT_BYTES);
  return { of: xidOf(buffer, start), xid: buffer.readUInt32BE(start + 1 + XID_BYTES) };
}

/**
 * Turns a message of a block into one of protocol version 1, in place. Returns where the new
 * message starts. Read the xid first: it is overwritten.
 */
export function withoutXid(buffer: Buffer, start: number): number {
  buffer[start + XID_BYTES] = buffer[start] as number;
  return start + XID_BYTES;
}

/** Throws `decode_failed` if a message of a block is too short to have a xid. */
export function requireXid(start: number, end: number): void {
  requireBytes(end - start, MESSAGE_BYTES);
}

export function malformed(what: string): SnoError {
  return new SnoError('decode_failed', `pgoutput: ${what}`);
}

function requireBytes(bytes: number, bytesMin: number): void {
  if (bytes < bytesMin)
    throw malformed(`${bytes} bytes of a transaction in progress where at least ${bytesMin} are needed`);
}
