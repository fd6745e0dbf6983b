/** What parts of a parse tree say. */
import type { Node, TypeName } from 'libpg-query';

/** The last of the names, unquoted: `int4` of `pg_catalog.int4`; '' where it is a star. */
export function nameOf(names: readonly Node[] = []): string {
  const last = names.at(-1);
  return last !== undefined && 'String' in last ? (last.String.sval ?? '') : '';
}

export function schemaOf({ names = [] }: TypeName): string {
  return names.length > 1 ? nameOf(names.slice(0, -1)) : 'pg_catalog';
}

/** A string or NULL that a cast gives its type. */
export function literalOf(node: Node): { readonly text: string | null } | undefined {
  if (!('A_Const' in node)) return undefined;
  const { isnull, sval } = node.A_Const;
  if (isnull === true) return { text: null };
  return sval === undefined ? undefined : { text: sval.sval ?? '' };
}

/** Calls `visit` for each node below, itself included, with its kind. */
export function walk(node: unknown, visit: (kind: string, inner: Node) => void): void {
  if (typeof node !== 'object' || node === null) return;
  for (const [kind, inner] of Object.entries(node)) {
    if (/^[A-Z]/.test(kind) && typeof inner === 'object' && inner !== null) visit(kind, inner as Node);
    walk(inner, visit);
  }
}
