/**
 * decode: from pgoutput messages to changes, in commit order.
 */
import type { Lsn } from '../lsn.ts';
import type { Relation } from './relation.ts';
import type { Tuple } from './tuple.ts';

/**
 * Receives the changes of each commit. Tuples are valid only during the call: they point into the
 * stream's buffer. `oldRow` is undefined if Postgres sent none (identity DEFAULT or INDEX, and no
 * identity column changed). With `oldRow.keyOnly`, it has only the identity's columns: the others
 * read as NULL and mean nothing.
 */
export interface ChangeHandler {
  /**
   * `commitLsn` is where the commit record starts; `committedAt` is in microseconds since
   * 2000-01-01 UTC.
   */
  begin(xid: number, commitLsn: Lsn, committedAt: number): void;
  /**
   * A table's columns, before its first change and whenever they change. Sets `relation.wanted`.
   */
  relation(relation: Relation): void;
  insert(relation: Relation, newRow: Tuple): void;
  update(relation: Relation, oldRow: Tuple | undefined, newRow: Tuple): void;
  delete(relation: Relation, oldRow: Tuple): void;
  truncate(relations: readonly Relation[]): void;
  /**
   * A transactional logical message (pg_logical_emit_message) at `lsn`; its content is
   * `buffer[start, end)`.
   */
  message(prefix: string, lsn: Lsn, buffer: Buffer, start: number, end: number): void;
  /** `endLsn` is where the commit record ends. */
  commit(endLsn: Lsn): void;
}
