/**
 * The compiled views of a catalog, kept as long as what they were compiled from is unchanged. A
 * view that cannot be compiled, for whatever reason, is refused by its name; other views are not
 * affected.
 */
import { SnoError } from '../../errors.ts';
import { quoteIdentifier, readableName } from '../../postgres/quote.ts';
import {
  ACCESS_SCHEMAS,
  type AccessSchema,
  type Catalog,
  type CatalogAccess,
  type CatalogChannel,
  type CatalogType,
} from '../catalog/catalog.ts';
import type { AccessView, ChannelView } from '../channel.ts';
import { clockUses } from '../compiler/access/basis.ts';
import { onlyGrows } from '../compiler/access/monotonic.ts';
import { isOrderFree } from '../compiler/access/order-free.ts';
import { compileAccessRows, hasPolicies } from '../compiler/access/rows.ts';
import { compileAccess } from '../compiler/access/view.ts';
import { compileChannel } from '../compiler/compile.ts';
import { Types } from '../values/types.ts';

export interface CompiledAccess {
  readonly view: AccessView;
  /** The access view as a view of rows; see compileAccessRows. */
  readonly rows: ChannelView | undefined;
  readonly onlyGrows: boolean;
  /**
   * For each table, the columns it reads. Only for tables where an update that changes none of them
   * changes nothing that the view shows.
   */
  readonly columnsRead: ReadonlyMap<number, readonly string[]>;
}

type Declared = CatalogChannel | CatalogAccess;

/** A compiled view, and the parts of the catalog that the compiler read. */
interface Compiled<View> {
  readonly from: readonly unknown[];
  readonly view: View | SnoError;
}

export class CompiledViews {
  #channels = new Map<string, Compiled<ChannelView>>();
  readonly #access: Record<AccessSchema, Map<string, Compiled<CompiledAccess>>> = {
    channel_access: new Map(),
    channel_presence: new Map(),
    channel_send: new Map(),
  };

  /** Compiles the views whose objects differ from before: see shareParts(). */
  load(catalog: Catalog): void {
    const from = partsOf(catalog);
    this.#channels = compileAll('channels', catalog.channels, this.#channels, from, (channel) =>
      compileChannel(channel, catalog),
    );
    const types = new Types(catalog.types);
    for (const schema of ACCESS_SCHEMAS) {
      const declared = catalog.access.filter((access) => access.schema === schema);
      const compiled = compileAll(schema, declared, this.#access[schema], from, (access) =>
        compileAccessView(access, catalog, types),
      );
      this.#access[schema] = compiled;
    }
  }

  channel(pattern: string): ChannelView | SnoError | undefined {
    return this.#channels.get(pattern)?.view;
  }

  access(schema: AccessSchema, pattern: string): CompiledAccess | SnoError | undefined {
    return this.#access[schema].get(pattern)?.view;
  }
}

/** Runs work that may fail for one view, and refuses the view if it fails. */
export function refusing<T>(schema: string, pattern: string, work: () => T): T | SnoError {
  try {
    return work();
  } catch (error) {
    if (error instanceof SnoError) return error;
    const view = `${schema}.${quoteIdentifier(String(pattern))}`;
    return new SnoError('channel_refused', `${view}: ${(error as Error).message}`, { cause: error });
  }
}

function compileAll<View extends Declared, Result>(
  schema: string,
  declared: readonly View[],
  before: ReadonlyMap<string, Compiled<Result>>,
  partsOf: (view: Declared) => readonly unknown[],
  compile: (view: View) => Result | SnoError,
): Map<string, Compiled<Result>> {
  return new Map(
    declared.map((view) => {
      const from = refusing(schema, view.pattern, () => partsOf(view));
      if (from instanceof SnoError) return [view.pattern, { from: [], view: from }];
      const last = before.get(view.pattern);
      const isSame = last?.from.length === from.length && from.every((part, index) => part === last.from[index]);
      return [view.pattern, isSame ? last : { from, view: refusing(schema, view.pattern, () => compile(view)) }];
    }),
  );
}

/**
 * The parts of the catalog that the compiler reads for a view: itself, what it reads, and their
 * types.
 */
function partsOf(catalog: Catalog): (view: Declared) => readonly unknown[] {
  const tables = new Map(catalog.tables.map((table) => [table.oid, table]));
  const types = new Map(catalog.types.map((type) => [type.oid, type]));
  return (view) => {
    const read = [...view.reads, ...('between' in view ? view.between : [])].map((oid) => tables.get(oid));
    const used = new Set(
      [...view.columns, ...read.flatMap((table) => table?.columns ?? [])].map((each) => each.typeOid),
    );
    const usedTypes: (CatalogType | undefined)[] = [];
    for (const oid of used) {
      // the Set grows during the loop: it visits added items
      const type = types.get(oid);
      usedTypes.push(type);
      if (type === undefined) continue;
      used.add(type.base).add(type.element);
      for (const field of type.fields ?? []) used.add(field.typeOid);
    }
    return [view, catalog.server.version, catalog.server.encoding, ...read, ...usedTypes];
  };
}

/** Throws Unsupported if a definition cannot be read. */
function compileAccessView(access: CatalogAccess, catalog: Catalog, types: Types): CompiledAccess | SnoError {
  const view = compileAccess(access, types, catalog.tables);
  if (view instanceof SnoError) return view;
  const name = `${access.schema}.${quoteIdentifier(access.pattern)}`;
  const grows = [
    growsOf(name, access.definition),
    ...access.through.map((definition) => {
      const between = catalog.tables.find((table) => table.definition === definition);
      const below = between === undefined ? 'a view' : `the view ${readableName(between.schema, between.name)}`;
      return growsOf(`${name}: ${below}, which it reads`, definition);
    }),
  ];
  return {
    view,
    rows: compileAccessRows(access, catalog),
    onlyGrows: !hasPolicies(access) && grows.every(Boolean),
    columnsRead: columnsReadBy(access),
  };
}

const NOTHING_KNOWN: ReadonlyMap<number, readonly string[]> = new Map();

/**
 * For each table, the columns that decide what the view shows; a table is missing if each column
 * may. A view that depends on the time has no entries, so each change checks it again: nothing else
 * shows when its answer changes.
 */
export function columnsReadBy(access: CatalogAccess): ReadonlyMap<number, readonly string[]> {
  if (clockUses(access).length > 0 || !isOrderFree(access)) return NOTHING_KNOWN;
  return new Map(access.columnsRead.map(({ relation, columns }) => [relation, columns]));
}

/** Refuses an unreadable definition: it could hide that access ends without a commit. */
function growsOf(name: string, definition: string): boolean {
  try {
    return onlyGrows([definition]);
  } catch (error) {
    throw new SnoError('channel_refused', `${name}: ${(error as Error).message}`, { cause: error });
  }
}
