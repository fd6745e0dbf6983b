import type { Tuple } from './tuple.ts';

export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** Part of the replica identity. */
  readonly identity: boolean;
}

/** A table as the WAL describes it at this point (pgoutput's Relation message). */
export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `pg_class.relreplident`: d default, n nothing, f full, i index. */
  readonly replicaIdentity: 'd' | 'n' | 'f' | 'i';
  readonly columns: readonly RelationColumn[];
  /** Whether its rows are wanted. False: its tuples are not read at all. */
  wanted: boolean;
  /** The tuples that its changes are read into; reused for each. */
  readonly oldRow: Tuple;
  readonly newRow: Tuple;
}
