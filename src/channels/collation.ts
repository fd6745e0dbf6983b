/** How texts of two expressions compare, by the rules of Postgres's collation derivation, where those are certain. */
import type { CatalogTableColumn } from './catalog.ts';
import type { Collation, Value } from './expression.ts';
import { isText, type ValueType } from './types.ts';

export type Collated = Pick<Value, 'collation' | 'explicit'>;

/** The collation of a comparison; `none` where neither side has one. */
export function combinedCollation(a: Collated, b: Collated): Collation {
  if (a.explicit) return a.collation;
  if (b.explicit) return b.collation;
  if (a.collation === 'none' || b.collation === 'none') return a.collation === 'none' ? b.collation : a.collation;
  if (a.collation === 'nondeterministic' || b.collation === 'nondeterministic') return 'nondeterministic';
  return a.collation === b.collation ? a.collation : 'other';
}

/** The collation of what is made of several values, by the same rules. */
export function mergedCollation(values: readonly Collated[]): Collated {
  return values.reduce<Collated>(
    (merged, value) => ({
      collation: combinedCollation(merged, value),
      explicit: merged.explicit || value.explicit,
    }),
    { collation: 'none', explicit: false },
  );
}

/** The collation of a column's values, or of their elements. */
export function collationOf(column: CatalogTableColumn, type: ValueType): Collation {
  if (!isText(type.kind === 'array' ? type.element : type)) return 'none';
  if (!column.deterministic) return 'nondeterministic';
  return column.bytewise ? 'C' : 'other';
}
