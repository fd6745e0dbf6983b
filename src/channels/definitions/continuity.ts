/**
 * Decides whether subscribers' copies of a view stay correct under its new definition. The
 * fingerprint shows whether the definition means the same. This file checks whether the rows of its
 * tables may have changed.
 */
import type { CatalogPartition, CatalogTable } from '../catalog/catalog.ts';
import type { ChannelView } from '../channel.ts';

/** `was` and `is`: the view before and now; undefined if it does not exist. */
export function continues(was: ChannelView | undefined, is: ChannelView | undefined): boolean {
  if (was === undefined || is === undefined) return was === is;
  if (was.fingerprint !== is.fingerprint) return false;
  // created again over altered columns: by ALTER TYPE ... USING, or dropped and added again
  if (was.made.oid !== is.made.oid && was.made.columns !== is.made.columns) return false;
  return was.tables.every((table, index) => tableContinues(table, is.tables[index] as CatalogTable));
}

function tableContinues(was: CatalogTable, is: CatalogTable): boolean {
  // it left the publication for a while: changes in that time are missing
  if (was.publishedAs !== is.publishedAs) return false;
  // it had no key for a while: several rows may have had the same key, and been deleted by it
  if (was.keyedAs !== is.keyedAs) return false;
  return samePartitions(was, is);
}

/** Attaching or detaching a partition adds or removes its rows without a change of any row. */
function samePartitions(was: CatalogTable, is: CatalogTable): boolean {
  const before = new Set(was.partitions.map(attached));
  const after = new Set(is.partitions.map(attached));
  return (
    was.partitions.every((partition) => after.has(attached(partition))) &&
    is.partitions.every((partition) => partition.isEmpty || before.has(attached(partition)))
  );
}

function attached({ oid, attachedAs }: CatalogPartition): string {
  return `${oid}:${attachedAs}`;
}
