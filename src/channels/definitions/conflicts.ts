import { type Pattern, patternsConflict } from '../catalog/pattern.ts';

/** A pattern and the oid of its view: of two views, the older has the lower oid. */
interface Claim {
  readonly pattern: Pattern;
  readonly oid: number;
}

/**
 * The patterns that share a possible name with an earlier pattern, each with that earlier one. The
 * earlier view keeps its channels: a new view must not take channels away from others.
 */
export function findConflicts<T extends Claim>(claims: readonly T[]): Map<T, T> {
  const rivals = new Map<T, T[]>();
  for (const [a, b] of conflictingPairs(claims)) {
    const [earlier, later] = a.oid <= b.oid ? [a, b] : [b, a];
    const known = rivals.get(later);
    if (known === undefined) rivals.set(later, [earlier]);
    else known.push(earlier);
  }
  const refused = new Map<T, T>();
  for (const later of [...rivals.keys()].sort((a, b) => a.oid - b.oid)) {
    const standing = rivals.get(later)?.find((earlier) => !refused.has(earlier));
    if (standing !== undefined) refused.set(later, standing);
  }
  return refused;
}

/**
 * Two patterns conflict only if the literal beginning of one is a prefix of the other's. In sorted
 * order such patterns follow each other.
 */
function* conflictingPairs<T extends Claim>(claims: readonly T[]): Generator<readonly [T, T]> {
  const beginning = ({ pattern }: T) => pattern.literals[0] as string;
  const sorted = [...claims].sort((a, b) => (beginning(a) < beginning(b) ? -1 : 1));
  for (const [index, a] of sorted.entries()) {
    for (let next = index + 1; next < sorted.length; next++) {
      const b = sorted[next] as T;
      if (!beginning(b).startsWith(beginning(a))) break;
      if (patternsConflict(a.pattern, b.pattern)) yield [a, b];
    }
  }
}
