/**
 * The warnings of `sno check` about the cost of channels and their access views, for which it
 * queries the database beyond the catalog.
 */
import type pg from 'pg';
import type { Catalog } from '../../channels/catalog/catalog.ts';
import { compileAccessRows } from '../../channels/compiler/access/rows.ts';
import { compileAccess } from '../../channels/compiler/access/view.ts';
import type { ChannelRegistry } from '../../channels/definitions/registry.ts';
import { Types } from '../../channels/values/types.ts';
import { SnoError } from '../../errors.ts';
import { accessReads } from './access-reads.ts';
import { busyTables } from './busy-tables.ts';
import { firstRowFault } from './first-row.ts';
import { missingIndexes } from './join-indexes.ts';
import { wideIdentities } from './wide-identity.ts';

/** Warnings by pattern. */
export type Advice = ReadonlyMap<string, readonly string[]>;

/** Call within a transaction; leaves it unchanged. */
export async function adviceOf(client: pg.ClientBase, catalog: Catalog, registry: ChannelRegistry): Promise<Advice> {
  const advice = new Map<string, string[]>();
  const views = [...registry.views()];
  const wide = await wideIdentities(
    client,
    views.flatMap(({ needs }) => needs),
  );
  for (const { pattern, tables } of views)
    advice.set(pattern.text, [...new Set(tables.flatMap(({ oid }) => wide.get(oid) ?? []))]);
  const add = (pattern: string, warnings: readonly string[]) =>
    advice.set(pattern, [...(advice.get(pattern) ?? []), ...warnings]);
  for (const view of views) add(view.pattern.text, await missingIndexes(client, view));
  for (const channel of catalog.channels) add(channel.pattern, await firstRowFault(client, 'channels', channel));
  const types = new Types(catalog.types);
  for (const declared of catalog.access) {
    const access = compileAccess(declared, types, catalog.tables);
    if (access instanceof SnoError) continue;
    add(declared.pattern, await accessReads(client, declared, access));
    if (compileAccessRows(declared, catalog) === undefined)
      add(declared.pattern, await busyTables(client, declared, catalog.tables));
    add(declared.pattern, await firstRowFault(client, declared.schema, declared));
  }
  return advice;
}
