/** Identifies a compiled view by its meaning, and by the objects that it was compiled from. */
import type { CatalogChannel, CatalogTable, CatalogTableColumn } from '../catalog/catalog.ts';
import type { ChannelView } from '../channel.ts';
import type { ViewPlan } from '../evaluation/bound-view.ts';
import type { Types } from '../values/types.ts';
import { digest } from './digest.ts';

/** The path of views evaluated in process: no function body looks names up there. */
export const NO_PATH = '';

/**
 * A digest of everything that determines a subscriber's rows. Leaves out oids, which change when a
 * view is created again, and the table's storage.
 */
export function fingerprintOf(
  channel: CatalogChannel,
  table: CatalogTable,
  used: readonly CatalogTableColumn[],
  plan: ViewPlan,
  types: Types,
  path: string,
): string {
  return digest([
    channel.pattern,
    channel.definition,
    channel.surroundings,
    table.oid,
    channel.columns.map(({ name, typeOid, typeModifier }) => [name, typeOid, typeModifier]),
    channel.functions.map(({ schema, name, arguments: types, body }) => [schema, name, types, body]),
    path,
    [...new Set(used)].map(({ name, number, collation, typeOid, expression }) => [
      name,
      number,
      collation,
      types.byOid(typeOid),
      expression,
    ]),
    plan.key.map(({ column, type }) => [column.name, type]),
  ]);
}

export function madeOf({ oid }: CatalogChannel, used: readonly CatalogTableColumn[]): ChannelView['made'] {
  return { oid, columns: [...new Set(used)].map(({ number, version }) => `${number}:${version}`).join() };
}
