/**
 * The compiled views of a catalog, reused while the parts that they were compiled from are
 * unchanged. A view that cannot be compiled is refused; other views are not affected.
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
import type { AccessView, ChannelView, ConcernedBy } from '../channel.ts';
import { clockUses } from '../compiler/access/basis.ts';
import { concernedByRows } from '../compiler/access/concerned.ts';
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
  /** See concernedByRows. */
  readonly concerned: ReadonlyMap<number, readonly ConcernedBy[]>;
  readonly onlyGrows: boolean;
  /**
   * The columns that it reads, by table. A table is missing if an update of other columns may
   * change the view's result.
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

  /** Compiles the views whose parts of the catalog are new objects; see shareParts(). */
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

/** Runs `work` for a view. Returns an error that refuses the view if it throws. */
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
 * The parts of the catalog that the compiler reads for a view: the view itself, the relations that
 * it reads, and their types.
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
    concerned: concernedByRows(access, catalog),
    onlyGrows: !hasPolicies(access) && grows.every(Boolean),
    columnsRead: columnsReadBy(access),
  };
}

const NOTHING_KNOWN: ReadonlyMap<number, readonly string[]> = new Map();

/**
 * The columns that determine the view's result, by table. A table is missing if any column may. A
 * view that depends on the time has no entries, so that each change checks access again: no event
 * shows when its answer changes.
 */
export function columnsReadBy(access: CatalogAccess): ReadonlyMap<number, readonly string[]> {
  if (clockUses(access).length > 0 || !isOrderFree(access)) return NOTHING_KNOWN;
  return new Map(access.columnsRead.map(({ relation, columns }) => [relation, columns]));
}

/** Throws `channel_refused` if the definition cannot be parsed: it is then unknown. */
function growsOf(name: string, definition: string): boolean {
  try {
    return onlyGrows([definition]);
  } catch (error) {
    throw new SnoError('channel_refused', `${name}: ${(error as Error).message}`, { cause: error });
  }
}
