/** Finds faults of a view's tables, and combines the hints of all views over one table. */
import { SnoError } from '../../errors.ts';
import type { Catalog, CatalogAccess, CatalogChannel } from '../catalog/catalog.ts';
import { type IdentityNeed, unitedNeed } from '../catalog/identity-statements.ts';
import type { ChannelView, Refusal } from '../channel.ts';
import { IdentityFault } from '../compiler/identity.ts';
import { refusing } from './compiled-views.ts';
import { put } from './list-map.ts';
import { publicationFault } from './publication.ts';

/**
 * Kinds that need no publication: changes of a view are those of its tables, and the event trigger
 * reports a REFRESH of a materialized view below an access view.
 */
const UNPUBLISHED_KINDS: ReadonlySet<string> = new Set(['v', 'm']);

/**
 * Returns a function that finds the faults of tables whose changes are not published. The WAL
 * shows a partition's changes as its root's.
 */
export function tableFaults(catalog: Catalog, publication: string): (reads: readonly number[]) => SnoError | undefined {
  const tables = new Map(catalog.tables.map((table) => [table.oid, table]));
  const [published, publishing] = [new Set(catalog.published), new Set(catalog.publishing)];
  return (reads) => {
    const faults = reads.flatMap((oid) => {
      const table = tables.get(oid);
      if (table === undefined)
        return new SnoError('channel_refused', `it reads the relation ${oid}, which the catalog lacks`);
      if (table.isPartition || UNPUBLISHED_KINDS.has(table.kind)) return [];
      return publicationFault(table, { name: publication, published, publishing }) ?? [];
    });
    return unitedFault(faults);
  };
}

/** Combines faults. One that passes by itself is reported only if no other exists. */
function unitedFault(faults: readonly SnoError[]): SnoError | undefined {
  const lasting = faults.filter(({ code }) => code !== 'writers_open');
  const reported = lasting.length > 0 ? lasting : faults;
  const [first, ...others] = reported;
  if (first === undefined || others.length === 0) return first;
  return new SnoError(first.code, reported.map(({ message }) => message).join('; '), {
    hint: unitedHint(reported),
    cause: first.cause,
  });
}

/** The statements that several faults need, each once. */
function unitedHint(faults: readonly SnoError[]): string {
  return [...new Set(faults.flatMap(({ hint }) => hint.split('\n')))].join('\n');
}

/**
 * Returns a function that makes the hint of an IdentityFault serve all views over its tables: the
 * statements for one view must not break another.
 */
export function identityHints(
  views: readonly (ChannelView | SnoError | undefined)[],
): <View>(compiled: View | SnoError | undefined) => View | SnoError | undefined {
  const needs = new Map<number, IdentityNeed[]>();
  for (const view of views) {
    const own = view instanceof IdentityFault || !(view instanceof SnoError) ? (view?.needs ?? []) : [];
    for (const need of own) put(needs, need.table.oid, need);
  }
  return (compiled) => {
    if (!(compiled instanceof IdentityFault)) return compiled;
    const united = compiled.needs.map((need) => unitedNeed(needs.get(need.table.oid) ?? []) ?? need);
    return new IdentityFault(compiled.message, united);
  };
}

/** Returns a declared view as compiled, or as refused because of its tables. */
export function outcomeOf<View>(
  schema: Refusal['schema'],
  declared: CatalogChannel | CatalogAccess | undefined,
  compiled: View | SnoError | undefined,
  fault: (reads: readonly number[]) => SnoError | undefined,
): View | SnoError | undefined {
  if (declared === undefined) return compiled;
  if (!(compiled instanceof SnoError))
    return refusing(schema, declared.pattern, () => fault(declared.reads) ?? compiled);
  if (!(compiled instanceof IdentityFault)) return compiled;
  const unpublished = refusing(schema, declared.pattern, () => fault(declared.reads));
  if (unpublished?.code !== 'table_unpublished') return compiled;
  // without its statements about the replica identity: the compiler's hint has better ones
  const publishing = unpublished.hint.split('\n').filter((line) => !/ replica identity /.test(line));
  const hint = [compiled.hint, ...publishing].join('\n');
  return new SnoError(compiled.code, `${compiled.message}; ${unpublished.message}`, { hint });
}
