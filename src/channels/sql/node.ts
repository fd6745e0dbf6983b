/** Helpers that read parts of a parse tree. */
import type { Node, TypeName } from 'libpg-query';

/** The last of the names, unquoted: `int4` of `pg_catalog.int4`; '' for a star. */
export function nameOf(names: readonly Node[] = []): string {
  const last = names.at(-1);
  return last !== undefined && 'String' in last ? (last.String.sval ?? '') : '';
}

export function schemaOf({ names = [] }: TypeName): string {
  return names.length > 1 ? nameOf(names.slice(0, -1)) : 'pg_catalog';
}

/**
 * The text of a string constant or NULL, whose type a cast determines; undefined for other nodes.
 */
export function literalOf(node: Node): { readonly text: string | null } | undefined {
  if (!('A_Const' in node)) return undefined;
  const { isnull, sval } = node.A_Const;
  if (isnull === true) return { text: null };
  return sval === undefined ? undefined : { text: sval.sval ?? '' };
}

/** Calls `visit` with each node in the tree, itself included, and its kind. */
export function walk(node: unknown, visit: (kind: string, inner: Node) => void): void {
  if (typeof node !== 'object' || node === null) return;
  for (const [kind, inner] of Object.entries(node)) {
    if (/^[A-Z]/.test(kind) && typeof inner === 'object' && inner !== null) visit(kind, inner as Node);
    walk(inner, visit);
  }
}
