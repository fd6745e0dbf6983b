/**
 * Applies a transaction's changes of the catalog to the catalog before that transaction.
 *
 * A `sno.catalog` message describes the views that its transaction touched, with everything that
 * they read. It also lists all existing views: a view missing from the list was dropped. All other
 * views are unchanged, since any change of a view's meaning touches the view.
 */
import type { Catalog, CatalogAccess, CatalogChannel } from './catalog.ts';

/**
 * Undefined if a view is neither known nor described: an earlier message was missed. `views`: oids
 * of all views.
 */
export function applyChange(before: Catalog, change: Catalog, views: readonly number[]): Catalog | undefined {
  const existing = new Set(views);
  const channels = replaced(before.channels, change.channels).filter(({ oid }) => existing.has(oid));
  const access = replaced(before.access, change.access).filter(({ oid }) => existing.has(oid));
  if (channels.length + access.length !== existing.size) return undefined;
  const read = new Set([...channels, ...access].flatMap(readBy));
  const tables = replaced(before.tables, change.tables).filter(({ oid }) => read.has(oid));
  const toldTables = new Set(change.tables.map(({ oid }) => oid));
  const state = (was: readonly number[], is: readonly number[]) =>
    [...was.filter((oid) => !toldTables.has(oid) && read.has(oid)), ...is].sort((a, b) => a - b);
  const types = new Map(replaced(before.types, change.types).map((type) => [type.oid, type]));
  const used = new Set(
    [...channels, ...access, ...tables].flatMap(({ columns }) => columns.map(({ typeOid }) => typeOid)),
  );
  for (const oid of used) {
    // the Set grows during the loop: it visits added items
    const type = types.get(oid);
    if (type === undefined) continue;
    used.add(type.base).add(type.element);
    for (const field of type.fields ?? []) used.add(field.typeOid);
  }
  return {
    server: change.server,
    channels,
    access,
    tables,
    types: [...types.values()].filter(({ oid }) => used.has(oid)),
    published: state(before.published, change.published),
    publishing: state(before.publishing, change.publishing),
  };
}

function readBy(view: CatalogChannel | CatalogAccess): readonly number[] {
  return 'between' in view ? [...view.reads, ...view.between] : view.reads;
}

/** The earlier parts, replaced by those in the message with the same oid. */
function replaced<Part extends { readonly oid: number }>(before: readonly Part[], changed: readonly Part[]): Part[] {
  if (changed.length === 0) return [...before];
  const parts = new Map(before.map((part) => [part.oid, part]));
  for (const part of changed) parts.set(part.oid, part);
  return [...parts.values()].sort((a, b) => a.oid - b.oid);
}
