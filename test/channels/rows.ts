/** Rows as the WAL has them, made from texts. */
import type { CatalogTable } from '../../src/channels/catalog/catalog.ts';
import type { Relation } from '../../src/decode/relation.ts';
import { NULL, TEXT, Tuple, UNCHANGED } from '../../src/decode/tuple.ts';

/** Stands for an unchanged value that was not sent. */
export const UNSENT = Symbol('unsent');
export type Cell = string | null | typeof UNSENT;

const PADDING = Buffer.from('}"\\,');

/** A tuple whose columns lie in a larger buffer, with other bytes around each. */
export function tupleOf(cells: readonly Cell[]): Tuple {
  const tuple = new Tuple(cells.length);
  const parts: Buffer[] = [PADDING];
  let at = PADDING.length;
  cells.forEach((cell, index) => {
    tuple.kinds[index] = cell === null ? NULL : cell === UNSENT ? UNCHANGED : TEXT;
    const text = Buffer.from(typeof cell === 'string' ? cell : '');
    tuple.starts[index] = at;
    tuple.ends[index] = at + text.length;
    parts.push(text, PADDING);
    at += text.length + PADDING.length;
  });
  tuple.buffer = Buffer.concat(parts);
  return tuple;
}

/** The table as pgoutput describes it: its columns in order, and the columns of its identity. */
export function relationOf(table: CatalogTable): Relation {
  const identity = new Set(
    { f: table.columns.map(({ number }) => number), d: table.primaryKey, i: table.identityIndex }[
      table.replicaIdentity
    ] ?? [],
  );
  return {
    oid: table.oid,
    schema: table.schema,
    name: table.name,
    replicaIdentity: table.replicaIdentity as Relation['replicaIdentity'],
    columns: table.columns.map(({ name, number, typeOid, typeModifier }) => ({
      name,
      typeOid,
      typeModifier,
      identity: identity.has(number),
    })),
    wanted: true,
    oldRow: new Tuple(table.columns.length),
    newRow: new Tuple(table.columns.length),
  };
}
