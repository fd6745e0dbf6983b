/**
 * Reads pgoutput, protocol version 1 (Postgres docs, "Logical Replication Message Formats").
 * One table of readers keyed by the message's first byte; rows are read in place and cost no allocation.
 */
import { SnoError } from '../errors.ts';
import { readLsn } from '../lsn.ts';
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
  relation: 0x52, // R
  truncate: 0x54, // T
  update: 0x55, // U
  type: 0x59, // Y
} as const;

const KEY_TUPLE = 0x4b; // K
const OLD_TUPLE = 0x4f; // O
const COLUMN_NULL = 0x6e; // n
const COLUMN_TEXT = 0x74; // t
const COLUMN_UNCHANGED = 0x75; // u
const TRANSACTIONAL = 1;

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

  /** Decodes `buffer[start, end)`. Throws `decode_failed` for bytes that are no pgoutput message. */
  message(buffer: Buffer, start: number, end: number): void {
    const at = start + 1;
    switch (buffer[start]) {
      case LETTER.insert:
        return this.#insert(buffer, at);
      case LETTER.update:
        return this.#update(buffer, at);
      case LETTER.delete:
        return this.#delete(buffer, at);
      case LETTER.begin:
        return this.#handler.begin(buffer.readUInt32BE(at + 16), readLsn(buffer, at), readMicroseconds(buffer, at + 8));
      case LETTER.commit:
        return this.#handler.commit(readLsn(buffer, at + 9));
      case LETTER.relation:
        return this.#relation(buffer, at);
      case LETTER.truncate:
        return this.#truncate(buffer, at);
      case LETTER.message:
        return this.#message(buffer, at);
      case LETTER.type:
      case LETTER.origin:
        return;
      default:
        throw new SnoError('decode_failed', `unknown pgoutput message 0x${(buffer[start] ?? 0).toString(16)} of ${end - start} bytes`);
    }
  }

  #insert(buffer: Buffer, at: number): void {
    const relation = this.#known(buffer.readUInt32BE(at));
    if (!relation.wanted) return;
    readTuple(buffer, at + 5, relation.newRow);
    this.#handler.insert(relation, relation.newRow);
  }

  #update(buffer: Buffer, at: number): void {
    const relation = this.#known(buffer.readUInt32BE(at));
    if (!relation.wanted) return;
    const { oldRow, newRow } = relation;
    const kind = buffer[at + 4];
    if (kind === KEY_TUPLE || kind === OLD_TUPLE) {
      oldRow.keyOnly = kind === KEY_TUPLE;
      const next = readTuple(buffer, at + 5, oldRow);
      readTuple(buffer, next + 1, newRow);
      fillUnchanged(oldRow, newRow);
      this.#handler.update(relation, oldRow, newRow);
    } else {
      readTuple(buffer, at + 5, newRow);
      this.#handler.update(relation, undefined, newRow);
    }
  }

  #delete(buffer: Buffer, at: number): void {
    const relation = this.#known(buffer.readUInt32BE(at));
    if (!relation.wanted) return;
    relation.oldRow.keyOnly = buffer[at + 4] === KEY_TUPLE;
    readTuple(buffer, at + 5, relation.oldRow);
    this.#handler.delete(relation, relation.oldRow);
  }

  #truncate(buffer: Buffer, at: number): void {
    const count = buffer.readUInt32BE(at);
    const relations: Relation[] = [];
    for (let index = 0; index < count; index++) {
      const relation = this.#known(buffer.readUInt32BE(at + 5 + index * 4));
      if (relation.wanted) relations.push(relation);
    }
    if (relations.length > 0) this.#handler.truncate(relations);
  }

  #message(buffer: Buffer, at: number): void {
    if (((buffer[at] as number) & TRANSACTIONAL) === 0) return;
    const prefixEnd = buffer.indexOf(0, at + 9);
    const start = prefixEnd + 5;
    const prefix = buffer.toString('utf8', at + 9, prefixEnd);
    this.#handler.message(prefix, readLsn(buffer, at + 1), buffer, start, start + buffer.readUInt32BE(prefixEnd + 1));
  }

  #relation(buffer: Buffer, at: number): void {
    const oid = buffer.readUInt32BE(at);
    const schemaEnd = buffer.indexOf(0, at + 4);
    const nameEnd = buffer.indexOf(0, schemaEnd + 1);
    const count = buffer.readUInt16BE(nameEnd + 2);
    const columns: RelationColumn[] = [];
    let next = nameEnd + 4;
    for (let index = 0; index < count; index++) {
      const columnEnd = buffer.indexOf(0, next + 1);
      columns.push({
        name: buffer.toString('utf8', next + 1, columnEnd),
        typeOid: buffer.readUInt32BE(columnEnd + 1),
        typeModifier: buffer.readInt32BE(columnEnd + 5),
        identity: ((buffer[next] as number) & 1) === 1,
      });
      next = columnEnd + 9;
    }
    const relation: Relation = {
      oid,
      // pgoutput writes the empty string for pg_catalog
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

  #known(oid: number): Relation {
    const relation = this.#relations.get(oid);
    if (relation === undefined) throw new SnoError('decode_failed', `a change of table ${oid} came before its description`);
    return relation;
  }
}

/** Notes where each column's text lies; `at` is where TupleData starts. Returns the offset after it. */
function readTuple(buffer: Buffer, at: number, tuple: Tuple): number {
  const { kinds, starts, ends } = tuple;
  const count = ((buffer[at] as number) << 8) | (buffer[at + 1] as number);
  if (count !== kinds.length) throw new SnoError('decode_failed', `a row has ${count} columns, its table ${kinds.length}`);
  tuple.buffer = buffer;
  let next = at + 2;
  for (let column = 0; column < count; column++) {
    switch (buffer[next]) {
      case COLUMN_TEXT: {
        const start = next + 5;
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
        throw new SnoError('decode_failed', `a column of an unknown kind 0x${(buffer[next] ?? 0).toString(16)}`);
    }
  }
  return next;
}

/** An unchanged TOASTed value is not sent again, but the old row of REPLICA IDENTITY FULL has it. */
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
