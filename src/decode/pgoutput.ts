/**
 * Reads pgoutput, protocol version 1 (Postgres docs, "Logical Replication Message Formats"). One
 * table of readers keyed by the message's first byte; rows are read in place and cost no
 * allocation.
 */
import { SnoError } from '../errors.ts';
import { type Lsn, readLsn } from '../lsn.ts';
import type { ChangeHandler } from './change.ts';
import type { Relation, RelationColumn } from './relation.ts';
import { NULL, TEXT, Tuple, UNCHANGED } from './tuple.ts';

const LETTER = {
  begin: 0x42, // B
  commit: 0x43, // C
  delete: 0x44, // D
  insert: 0x49, // I
  message: 0x4d, // M
  origin: 0x4f, // O
  streamAbort: 0x41, // A
  relation: 0x52, // R
  truncate: 0x54, // T
  update: 0x55, // U
  type: 0x59, // Y
} as const;

const KEY_TUPLE = 0x4b; // K
const OLD_TUPLE = 0x4f; // O
const NEW_TUPLE = 0x4e; // N
const COLUMN_NULL = 0x6e; // n
const COLUMN_TEXT = 0x74; // t
const COLUMN_UNCHANGED = 0x75; // u
const TRANSACTIONAL = 1;

// Minimum bytes of each message, including its letter.
const LETTER_BYTES = 1;
const OID_BYTES = 4;
const BEGIN_BYTES = 21;
const COMMIT_BYTES = 26;
const ROW_BYTES = 8;
const TRUNCATE_BYTES = 6;
const MESSAGE_BYTES = 15;
const RELATION_BYTES = 10;

/** Decodes messages and hands the changes to `handler`, in the same call. */
export class PgoutputDecoder {
  readonly #handler: ChangeHandler;
  readonly #relations = new Map<number, Relation>();

  constructor(handler: ChangeHandler) {
    this.#handler = handler;
  }

  /** Every table that the stream has described so far, as last described. */
  relations(): Iterable<Relation> {
    return this.#relations.values();
  }

  /** Forgets the tables: a new stream describes them again. */
  reset(): void {
    this.#relations.clear();
  }

  /**
   * Decodes `buffer[start, end)`. Throws `decode_failed` for bytes that are not a pgoutput message.
   */
  message(buffer: Buffer, start: number, end: number): void {
    requireBytes(end - start, LETTER_BYTES);
    const at = start + 1;
    switch (buffer[start]) {
      case LETTER.insert:
        return this.#insert(buffer, at, end);
      case LETTER.update:
        return this.#update(buffer, at, end);
      case LETTER.delete:
        return this.#delete(buffer, at, end);
      case LETTER.begin:
        requireBytes(end - start, BEGIN_BYTES);
        return this.#handler.begin(buffer.readUInt32BE(at + 16), lsnAt(buffer, at), readMicroseconds(buffer, at + 8));
      case LETTER.commit:
        requireBytes(end - start, COMMIT_BYTES);
        return this.#handler.commit(lsnAt(buffer, at + 9));
      case LETTER.relation:
        requireBytes(end - start, RELATION_BYTES);
        return this.#relation(buffer, at, end);
      case LETTER.truncate:
        requireBytes(end - start, TRUNCATE_BYTES);
        return this.#truncate(buffer, at, end);
      case LETTER.message:
        requireBytes(end - start, MESSAGE_BYTES);
        return this.#message(buffer, at, end);
      case LETTER.type:
      case LETTER.origin:
      // Postgres 18 sends this although Snö wants no transactions in progress.
      case LETTER.streamAbort:
        return;
      default:
        throw malformed(`unknown message 0x${(buffer[start] ?? 0).toString(16)} of ${end - start} bytes`);
    }
  }

  #insert(buffer: Buffer, at: number, end: number): void {
    const relation = this.#changed(buffer, at, end);
    if (!relation.wanted) return;
    readNewRow(buffer, at + 4, end, relation.newRow);
    this.#handler.insert(relation, relation.newRow);
  }

  #update(buffer: Buffer, at: number, end: number): void {
    const relation = this.#changed(buffer, at, end);
    if (!relation.wanted) return;
    const hasOldRow = readUpdate(buffer, at + 4, end, relation);
    this.#handler.update(relation, hasOldRow ? relation.oldRow : undefined, relation.newRow);
  }

  #delete(buffer: Buffer, at: number, end: number): void {
    const relation = this.#changed(buffer, at, end);
    if (!relation.wanted) return;
    requireEnd(readOldRow(buffer, at + 4, end, relation.oldRow), end);
    this.#handler.delete(relation, relation.oldRow);
  }

  #truncate(buffer: Buffer, at: number, end: number): void {
    const count = buffer.readUInt32BE(at);
    requireEnd(at + 5 + count * 4, end);
    const relations: Relation[] = [];
    for (let index = 0; index < count; index++) {
      const relation = this.#known(buffer.readUInt32BE(at + 5 + index * 4));
      if (relation.wanted) relations.push(relation);
    }
    if (relations.length > 0) this.#handler.truncate(relations);
  }

  #message(buffer: Buffer, at: number, end: number): void {
    if (((buffer[at] as number) & TRANSACTIONAL) === 0) return;
    const prefixEnd = textEnd(buffer, at + 9, end);
    const start = prefixEnd + 5;
    requireBytes(end - prefixEnd, 5);
    requireEnd(start + buffer.readUInt32BE(prefixEnd + 1), end);
    this.#handler.message(buffer.toString('utf8', at + 9, prefixEnd), lsnAt(buffer, at + 1), buffer, start, end);
  }

  #relation(buffer: Buffer, at: number, end: number): void {
    const oid = buffer.readUInt32BE(at);
    const schemaEnd = textEnd(buffer, at + 4, end);
    const nameEnd = textEnd(buffer, schemaEnd + 1, end);
    requireBytes(end - nameEnd, 4);
    const count = buffer.readUInt16BE(nameEnd + 2);
    const columns: RelationColumn[] = [];
    let next = nameEnd + 4;
    for (let index = 0; index < count; index++) {
      const columnEnd = textEnd(buffer, next + 1, end);
      requireBytes(end - columnEnd, 9);
      columns.push({
        name: buffer.toString('utf8', next + 1, columnEnd),
        typeOid: buffer.readUInt32BE(columnEnd + 1),
        typeModifier: buffer.readInt32BE(columnEnd + 5),
        identity: ((buffer[next] as number) & 1) === 1,
      });
      next = columnEnd + 9;
    }
    requireEnd(next, end);
    const relation: Relation = {
      oid,
      // pgoutput writes the empty string for pg_catalog.
      schema: buffer.toString('utf8', at + 4, schemaEnd) || 'pg_catalog',
      name: buffer.toString('utf8', schemaEnd + 1, nameEnd),
      replicaIdentity: String.fromCharCode(buffer[nameEnd + 1] as number) as Relation['replicaIdentity'],
      columns,
      wanted: true,
      oldRow: new Tuple(count),
      newRow: new Tuple(count),
    };
    this.#relations.set(oid, relation);
    this.#handler.relation(relation);
  }

  /** The table of a row message whose letter is before `at`. */
  #changed(buffer: Buffer, at: number, end: number): Relation {
    requireBytes(end - at, ROW_BYTES - 1);
    return this.#known(buffer.readUInt32BE(at));
  }

  #known(oid: number): Relation {
    const relation = this.#relations.get(oid);
    if (relation === undefined) throw malformed(`a change of table ${oid} came before its description`);
    return relation;
  }
}

/** The rows of a change. They are the tuples of its relation. */
export interface ChangedRows {
  readonly oldRow: Tuple | undefined;
  readonly newRow: Tuple | undefined;
}

/**
 * Reads the rows of a message once more: `buffer[start, end)` is an insert, update or delete of
 * this relation, as it was described when the message came.
 */
export function readRowsAgain(buffer: Buffer, start: number, end: number, relation: Relation): ChangedRows {
  const { oldRow, newRow } = relation;
  const at = start + LETTER_BYTES + OID_BYTES;
  if (buffer[start] === LETTER.delete) {
    readOldRow(buffer, at, end, oldRow);
    return { oldRow, newRow: undefined };
  }
  // an insert is like an update without an old row
  return { oldRow: readUpdate(buffer, at, end, relation) ? oldRow : undefined, newRow };
}

/**
 * Reads the rows of an update; `at` is where the first one's letter is. Returns whether there is an
 * old row.
 */
function readUpdate(buffer: Buffer, at: number, end: number, { oldRow, newRow }: Relation): boolean {
  if (buffer[at] === NEW_TUPLE) {
    readNewRow(buffer, at, end, newRow);
    return false;
  }
  readNewRow(buffer, readOldRow(buffer, at, end, oldRow), end, newRow);
  fillUnchanged(oldRow, newRow);
  return true;
}

/** Reads a new row, the last part of its message; `at` is where its letter is. */
function readNewRow(buffer: Buffer, at: number, end: number, tuple: Tuple): void {
  if (buffer[at] !== NEW_TUPLE) throw malformed(`a new row was expected at ${at} of ${end}`);
  requireEnd(readTuple(buffer, at + 1, end, tuple), end);
}

/** Reads an old row, whole or its key; returns the offset after it. */
function readOldRow(buffer: Buffer, at: number, end: number, tuple: Tuple): number {
  const kind = buffer[at];
  if (kind !== KEY_TUPLE && kind !== OLD_TUPLE) throw malformed(`an old row was expected at ${at} of ${end}`);
  tuple.keyOnly = kind === KEY_TUPLE;
  return readTuple(buffer, at + 1, end, tuple);
}

/**
 * Notes where each column's text lies; `at` is where TupleData starts. Returns the offset after it.
 * Reads no length beyond `end`. The caller checks that the last column ends there too.
 */
function readTuple(buffer: Buffer, at: number, end: number, tuple: Tuple): number {
  const { kinds, starts, ends } = tuple;
  requireBytes(end - at, 2);
  const count = buffer.readUInt16BE(at);
  if (count !== kinds.length) throw malformed(`a row has ${count} columns, but its table has ${kinds.length}`);
  tuple.buffer = buffer;
  let next = at + 2;
  for (let column = 0; column < count; column++) {
    switch (buffer[next]) {
      case COLUMN_TEXT: {
        const start = next + 5;
        if (start > end) throw malformed('a message ends within a row');
        next = start + buffer.readUInt32BE(next + 1);
        kinds[column] = TEXT;
        starts[column] = start;
        ends[column] = next;
        break;
      }
      case COLUMN_NULL:
        kinds[column] = NULL;
        next++;
        break;
      case COLUMN_UNCHANGED:
        kinds[column] = UNCHANGED;
        next++;
        break;
      default:
        throw malformed(`a column of an unknown kind 0x${(buffer[next] ?? 0).toString(16)}`);
    }
  }
  return next;
}

/**
 * An unchanged TOASTed value is not sent again, but the old row of REPLICA IDENTITY FULL has it.
 */
function fillUnchanged(oldRow: Tuple, newRow: Tuple): void {
  const { kinds, starts, ends } = newRow;
  for (let column = 0; column < kinds.length; column++) {
    if (kinds[column] !== UNCHANGED || oldRow.kinds[column] !== TEXT) continue;
    kinds[column] = TEXT;
    starts[column] = oldRow.starts[column] as number;
    ends[column] = oldRow.ends[column] as number;
  }
}

/** Microseconds since 2000-01-01 UTC, a safe integer until the year 2285. */
function readMicroseconds(buffer: Buffer, offset: number): number {
  return buffer.readInt32BE(offset) * 0x1_0000_0000 + buffer.readUInt32BE(offset + 4);
}

function lsnAt(buffer: Buffer, offset: number): Lsn {
  try {
    return readLsn(buffer, offset);
  } catch (cause) {
    throw new SnoError('decode_failed', (cause as Error).message, { cause });
  }
}

/** Offset of the zero byte that ends the text at `start`. */
function textEnd(buffer: Buffer, start: number, end: number): number {
  const zero = buffer.indexOf(0, start);
  if (zero < 0 || zero >= end) throw malformed('a name does not end within its message');
  return zero;
}

function requireBytes(bytes: number, bytesMin: number): void {
  if (bytes < bytesMin) throw malformed(`${bytes} bytes where at least ${bytesMin} are needed`);
}

function requireEnd(next: number, end: number): void {
  if (next !== end) throw malformed(`the content of a message ends at ${next}, the message at ${end}`);
}

function malformed(what: string): SnoError {
  return new SnoError('decode_failed', `pgoutput: ${what}`);
}
