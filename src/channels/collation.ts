/** How texts of two expressions compare, by the rules of Postgres's collation derivation, where those are certain. */
import type { CatalogTableColumn } from './catalog.ts';
import type { Collation, Value } from './expression.ts';
import { isText, type ValueType } from './types.ts';

/** The collation of a comparison; `none` where neither side has one. */
export function combinedCollation(a: Value, b: Value): Collation {
  if (a.explicit) return a.collation;
  if (b.explicit) return b.collation;
  if (a.collation === 'none' || b.collation === 'none') return a.collation === 'none' ? b.collation : a.collation;
  if (a.collation === 'nondeterministic' || b.collation === 'nondeterministic') return 'nondeterministic';
  return a.collation === b.collation ? a.collation : 'other';
}

/** The collation of a column's values. */
export function collationOf(column: CatalogTableColumn, type: ValueType): Collation {
  if (!isText(type)) return 'none';
  if (!column.deterministic) return 'nondeterministic';
  return column.bytewise ? 'C' : 'other';
}
