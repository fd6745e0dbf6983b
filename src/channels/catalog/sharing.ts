/**
 * Replaces the parts of a catalog read again that equal earlier parts by the earlier objects. So an
 * identical object means an unchanged definition, and no part is in memory twice.
 */
import type { Catalog } from './catalog.ts';

export function shareParts(before: Catalog | undefined, after: Catalog): Catalog {
  if (before === undefined || before === after) return after;
  return {
    ...after,
    channels: shared(before.channels, after.channels),
    access: shared(before.access, after.access),
    tables: shared(before.tables, after.tables),
    types: shared(before.types, after.types),
  };
}

function shared<Part extends { readonly oid: number }>(before: readonly Part[], after: readonly Part[]): Part[] {
  const known = new Map(before.map((part) => [part.oid, part]));
  return after.map((part) => {
    const was = known.get(part.oid);
    return was !== undefined && (was === part || JSON.stringify(was) === JSON.stringify(part)) ? was : part;
  });
}
