/**
 * Derives the collation with which the texts of two expressions compare, as Postgres does, if it is
 * certain.
 */
import type { CatalogTableColumn } from '../../catalog/catalog.ts';
import type { Collation, Value } from '../../evaluation/expression.ts';

export type Collated = Pick<Value, 'collation' | 'collationName' | 'explicit'>;

const DEFAULT_COLLATION = 'pg_catalog."default"';

const NONE: Collated = { collation: 'none', collationName: '', explicit: false };
/** The collation of text computed from no text: the database's, which is unknown here. */
export const MADE: Collated = { collation: 'other', collationName: DEFAULT_COLLATION, explicit: false };

/**
 * The collation of a comparison, or of a value computed from two values; `none` if neither has one.
 */
export function combinedCollation(a: Collated, b: Collated): Collated {
  if (a.explicit || b.explicit) return a.explicit ? a : b;
  if (a.collation === 'none' || b.collation === 'none') return a.collation === 'none' ? b : a;
  if (a.collation === 'conflict' || b.collation === 'conflict') return a.collation === 'conflict' ? a : b;
  if (a.collationName === b.collationName || b.collationName === DEFAULT_COLLATION) return a;
  return a.collationName === DEFAULT_COLLATION ? b : { ...a, collation: 'conflict' };
}

/** The collation of a value computed from several values, by the same rules. */
export function mergedCollation(values: readonly Collated[]): Collated {
  const { collation, collationName, explicit } = values.reduce<Collated>((a, b) => combinedCollation(a, b), NONE);
  return { collation, collationName, explicit };
}

/** The collation of a column's values, or of their elements. */
export function collationOf({ collation, deterministic, bytewise }: CatalogTableColumn): Collated {
  return { collation: kindOf(collation, deterministic, bytewise), collationName: collation ?? '', explicit: false };
}

function kindOf(name: string | null, isDeterministic: boolean, isBytewise: boolean): Collation {
  if (name === null) return 'none';
  if (!isDeterministic) return 'nondeterministic';
  return isBytewise ? 'C' : 'other';
}
