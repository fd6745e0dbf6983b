/**
 * The definitions in force: every channel view and access view of a catalog, compiled, or refused
 * with the reason.
 *
 * A catalog comes when Snö starts and whenever DDL touches a channel (through the WAL, or polled).
 * Views that did not change are not compiled again. `load` returns the patterns whose meaning
 * changed.
 */
import { SnoError } from '../../errors.ts';
import type { Catalog, CatalogAccess, CatalogChannel, CatalogColumn } from '../catalog/catalog.ts';
import { type IdentityNeed, unitedNeed } from '../catalog/identity-statements.ts';
import { type Pattern, parsePattern } from '../catalog/pattern.ts';
import { shareParts } from '../catalog/sharing.ts';
import type { AccessView, ChannelView, Refusal } from '../channel.ts';
import { IdentityFault } from '../compiler/identity.ts';
import { ChannelNames } from '../served/names.ts';
import type { ResolvedChannel, ServedChannel, ServedDefinitions } from '../served/served.ts';
import { type CompiledAccess, CompiledViews, refusing } from './compiled-views.ts';
import { findConflicts } from './conflicts.ts';
import { continues } from './continuity.ts';
import { type DeclaredView, declaredIn, GoneViews, viewKey } from './gone-views.ts';
import { publicationFault } from './publication.ts';

export interface LoadResult {
  /**
   * Patterns whose rows or shape may have changed, and that can be subscribed to now or soon: new
   * or redefined ones.
   */
  readonly changed: ReadonlySet<string>;
  /** Patterns that can no longer be subscribed to: dropped, or refused now. */
  readonly dropped: ReadonlySet<string>;
  /**
   * Patterns whose access view is new, changed or dropped: every subscription to them must be
   * checked again.
   */
  readonly accessChanged: ReadonlySet<string>;
  /** Refusals that are new. */
  readonly refused: readonly Refusal[];
  /** Views that are no longer in the catalog. */
  readonly gone: readonly DeclaredView[];
  /** Views that were gone or refused, and are served now. */
  readonly back: readonly DeclaredView[];
}

/** The differences that loading a catalog would make. */
export type Comparison = Omit<LoadResult, 'gone' | 'back'>;

/** A pattern and its compiled views. */
interface Entry {
  readonly pattern: Pattern;
  /** The oid of the older of its views. */
  readonly oid: number;
  readonly valueTypes: readonly string[];
  readonly view: ChannelView | undefined;
  readonly access: AccessView | undefined;
  /** Base tables of the access view. */
  readonly accessTables: readonly number[];
  /** The access view as a view of rows; see compileAccessRows. */
  readonly accessRows: ChannelView | undefined;
  readonly onlyGrows: boolean;
  readonly columnsRead: CompiledAccess['columnsRead'] | undefined;
  /** The reason why no client can subscribe. */
  readonly refusal: Refusal | undefined;
}

/** An access view, as the router needs it. */
export interface AccessSource {
  readonly pattern: string;
  /** Undefined: a change of the table can concern every channel of the pattern. */
  readonly rows: ChannelView | undefined;
  /** Whether an additional row never takes access away. */
  readonly onlyGrows: boolean;
  /**
   * An update that changes none of these columns takes no access away; undefined: every update may.
   */
  readonly columns: readonly string[] | undefined;
}

const NOTHING: ReadonlySet<string> = new Set();
const NO_DEFINITIONS: ServedDefinitions = { served: [], refused: [], gone: [] };
const NO_VIEWS: readonly ChannelView[] = [];
const NO_ACCESS: readonly AccessSource[] = [];

export class ChannelRegistry {
  /** Used in the SQL of a refusal's hint. */
  readonly publication: string;
  readonly #compiled = new CompiledViews();
  #catalog: Catalog | undefined;
  #entries = new Map<string, Entry>();
  #refusals: readonly Refusal[] = [];
  readonly #names = new ChannelNames();
  #served: ServedDefinitions = NO_DEFINITIONS;
  #viewsByTable = new Map<number, ChannelView[]>();
  #accessByTable = new Map<number, AccessSource[]>();
  #isRemote = false;
  readonly #gone = new GoneViews();

  constructor(publication: string) {
    this.publication = publication;
  }

  /**
   * Replaces the definitions by those of a catalog. The `touched` views (of a `sno.catalog`
   * message) count as changed even if they look the same: when WAL is read again after a restart,
   * the earlier catalog is not available.
   */
  load(catalog: Catalog, touched: ReadonlySet<string> = NOTHING): LoadResult {
    const { entries, refusals, result } = this.#resolve(catalog, touched);
    const declared = declaredIn(catalog);
    const { left, returned } = this.#gone.take(declared);
    const refused = new Set(refusals.map(viewKey));
    const back = [...returned, ...this.#refusals].map(viewKey).filter((key) => !refused.has(key));
    this.#entries = entries;
    this.#refusals = refusals;
    this.#index();
    return { ...result, gone: left, back: [...new Set(back)].flatMap((key) => declared.get(key) ?? []) };
  }

  /** Returns what `load` would return, and keeps the definitions in force. */
  compare(catalog: Catalog): Comparison {
    return this.#resolve(catalog, NOTHING).result;
  }

  #resolve(catalog: Catalog, touched: ReadonlySet<string>) {
    const known = new Set(this.#refusals.map(refusalKey));
    const refusals: Refusal[] = [];
    const entries = resolveConflicts(this.#compile(catalog, refusals), refusals);
    const refused = refusals.filter((refusal) => !known.has(refusalKey(refusal)));
    return { entries, refusals, result: { ...compare(this.#entries, entries, touched), refused } };
  }

  /** What the half of the service that faces clients needs of the definitions. */
  get served(): ServedDefinitions {
    return this.#served;
  }

  resolve(name: string): ResolvedChannel | SnoError {
    return this.#names.resolve(name);
  }

  meant(name: string): string | undefined {
    return this.#names.meant(name);
  }

  patternOf(name: string): string | undefined {
    return this.#names.patternOf(name);
  }

  /** Whether Postgres evaluates the rows of any view. */
  get isRemote(): boolean {
    return this.#isRemote;
  }

  *views(): Iterable<ChannelView> {
    for (const views of this.#viewsByTable.values()) yield* views;
  }

  /** The channel views on a table, by the oid that the WAL gives it. */
  viewsOf(tableOid: number): readonly ChannelView[] {
    return this.#viewsByTable.get(tableOid) ?? NO_VIEWS;
  }

  /** The access views that read a table: a commit to it may revoke subscriptions. */
  accessOf(tableOid: number): readonly AccessSource[] {
    return this.#accessByTable.get(tableOid) ?? NO_ACCESS;
  }

  /** Warnings about surprising behaviour of an access view. */
  accessWarnings(pattern: string): readonly string[] {
    return this.#entries.get(pattern)?.access?.warnings ?? [];
  }

  refusals(): readonly Refusal[] {
    return this.#refusals;
  }

  /**
   * Whether channels wait for transactions that wrote to their tables before the tables were
   * published.
   */
  get isAwaitingWriters(): boolean {
    return this.#refusals.some(({ error }) => error.code === 'writers_open');
  }

  #compile(loaded: Catalog, refusals: Refusal[]): Entry[] {
    const catalog = shareParts(this.#catalog, loaded);
    this.#catalog = catalog;
    this.#compiled.load(catalog);
    const fault = tableFaults(catalog, this.publication);
    const mended = identityHints(catalog.channels.map(({ pattern }) => this.#compiled.channel(pattern)));
    const channels = new Map(catalog.channels.map((channel) => [channel.pattern, channel]));
    const accesses = new Map(catalog.access.map((access) => [access.pattern, access]));
    const entries: Entry[] = [];
    for (const text of new Set([...channels.keys(), ...accesses.keys()])) {
      const channel = channels.get(text);
      const access = accesses.get(text);
      const view = outcome('channels', channel, mended(this.#compiled.channel(text)), fault);
      const accessView = outcome('channel_access', access, this.#compiled.access(text), fault);
      const own: Refusal[] = [];
      if (view instanceof SnoError) own.push({ schema: 'channels', pattern: text, error: view });
      if (accessView instanceof SnoError) own.push({ schema: 'channel_access', pattern: text, error: accessView });
      refusals.push(...own);
      const pattern = refusing('channels', text, () => parsePattern(text));
      if (pattern instanceof SnoError) continue;
      const compiledAccess = accessView instanceof SnoError ? undefined : accessView;
      const types = refusing('channels', text, () => valueTypes(pattern, channel?.columns ?? access?.columns ?? []));
      entries.push({
        pattern,
        oid: Math.min(channel?.oid ?? Number.POSITIVE_INFINITY, access?.oid ?? Number.POSITIVE_INFINITY),
        // a view whose columns cannot be read is already refused
        valueTypes: types instanceof SnoError ? [] : types,
        view: view instanceof SnoError ? undefined : view,
        access: compiledAccess?.view,
        accessTables: access?.reads ?? [],
        accessRows: compiledAccess?.rows,
        onlyGrows: compiledAccess?.onlyGrows === true,
        columnsRead: compiledAccess?.columnsRead,
        refusal: own[0],
      });
    }
    return entries;
  }

  #index(): void {
    const entries = [...this.#entries.values()];
    const served = entries.filter((entry) => entry.refusal === undefined);
    this.#served = {
      served: served.map((entry) => this.#servedOf(entry)),
      refused: entries
        .filter((entry) => entry.refusal !== undefined)
        .map((entry) => ({ pattern: entry.pattern, isAwaited: isAwaiting(entry) })),
      gone: this.#gone.patterns(),
    };
    this.#names.load(this.#served);
    this.#viewsByTable = new Map();
    this.#accessByTable = new Map();
    this.#isRemote = served.some(({ view }) => view?.remote !== undefined);
    for (const { pattern, view, access, accessTables, accessRows: rows, onlyGrows, columnsRead } of served) {
      if (view !== undefined) put(this.#viewsByTable, view.table.oid, view);
      if (access === undefined) continue;
      for (const table of accessTables) {
        const columns = columnsRead?.get(table);
        put(this.#accessByTable, table, { pattern: pattern.text, rows, onlyGrows, columns });
      }
    }
  }

  #servedOf({ pattern, valueTypes, view, access }: Entry): ServedChannel {
    const isGone = view === undefined && this.#gone.has({ schema: 'channels', pattern: pattern.text });
    return {
      pattern,
      valueTypes,
      view: view && { fingerprint: view.fingerprint, snapshot: view.snapshot },
      access: access && {
        sql: access.sql,
        valueTypes: access.valueTypes,
        claims: access.claims,
        fingerprint: access.fingerprint,
      },
      ...(isGone ? { isViewGone: true } : {}),
    };
  }
}

/**
 * A view's changes come as those of its tables. The event trigger notices a materialized view's
 * changes (below access views).
 */
const UNPUBLISHED_KINDS: ReadonlySet<string> = new Set(['v', 'm']);

/**
 * Returns the fault of any of these tables whose changes do not come. A partition's changes come as
 * its root's.
 */
function tableFaults(catalog: Catalog, publication: string): (reads: readonly number[]) => SnoError | undefined {
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

/** Reports a fault that passes by itself only if there is no other fault. */
function unitedFault(faults: readonly SnoError[]): SnoError | undefined {
  const lasting = faults.filter(({ code }) => code !== 'writers_open');
  const told = lasting.length > 0 ? lasting : faults;
  const [first, ...others] = told;
  if (first === undefined || others.length === 0) return first;
  return new SnoError(first.code, told.map(({ message }) => message).join('; '), {
    hint: unitedHint(told),
    cause: first.cause,
  });
}

/** The statements that several faults need, each once. */
function unitedHint(faults: readonly SnoError[]): string {
  return [...new Set(faults.flatMap(({ hint }) => hint.split('\n')))].join('\n');
}

/**
 * The ALTER statements of a table serve all views over it: what one view needs must not break
 * another.
 */
function identityHints(
  views: readonly (ChannelView | SnoError | undefined)[],
): <View>(compiled: View | SnoError | undefined) => View | SnoError | undefined {
  const needs = new Map<number, IdentityNeed[]>();
  for (const view of views) {
    if (view instanceof IdentityFault) put(needs, view.need.table.oid, view.need);
    else if (view !== undefined && !(view instanceof SnoError)) put(needs, view.table.oid, view.need);
  }
  return (compiled) => {
    if (!(compiled instanceof IdentityFault)) return compiled;
    const need = unitedNeed(needs.get(compiled.need.table.oid) ?? []) ?? compiled.need;
    return new IdentityFault(compiled.message, need);
  };
}

function outcome<View>(
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
  // it would choose an identity for the publication alone
  const publishing = unpublished.hint.split('\n').filter((line) => !/ replica identity /.test(line));
  const hint = [compiled.hint, ...publishing].join('\n');
  return new SnoError(compiled.code, `${compiled.message}; ${unpublished.message}`, { hint });
}

function valueTypes(pattern: Pattern, columns: readonly CatalogColumn[]): string[] {
  return pattern.columns.map((name) => columns.find((column) => column.name === name)?.type ?? 'text');
}

function resolveConflicts(entries: readonly Entry[], refusals: Refusal[]): Map<string, Entry> {
  const result = new Map(entries.map((entry) => [entry.pattern.text, entry]));
  for (const [later, earlier] of findConflicts(entries.filter(({ refusal }) => refusal === undefined))) {
    const pattern = later.pattern.text;
    const error = new SnoError(
      'pattern_conflict',
      `"${pattern}" and "${earlier.pattern.text}" could produce the same channel name; "${pattern}", created later, is refused`,
    );
    const refusal: Refusal = { schema: later.view === undefined ? 'channel_access' : 'channels', pattern, error };
    refusals.push(refusal);
    result.set(pattern, { ...later, refusal });
  }
  return result;
}

function compare(
  before: ReadonlyMap<string, Entry>,
  after: ReadonlyMap<string, Entry>,
  touched: ReadonlySet<string>,
): Omit<Comparison, 'refused'> {
  const changed = new Set<string>();
  const dropped = new Set<string>();
  const accessChanged = new Set<string>();
  for (const text of new Set([...before.keys(), ...after.keys()])) {
    const was = servable(before.get(text));
    const is = servable(after.get(text));
    // a client that is reset retries until the channel is served
    if (was !== undefined && is === undefined) (isAwaiting(after.get(text)) ? changed : dropped).add(text);
    if (is === undefined) continue;
    if (was === undefined || !continues(was.view, is.view) || touched.has(`channels:${text}`)) changed.add(text);
    if (
      was === undefined ||
      was.access?.fingerprint !== is.access?.fingerprint ||
      touched.has(`channel_access:${text}`)
    )
      accessChanged.add(text);
  }
  return { changed, dropped, accessChanged };
}

function servable(entry: Entry | undefined): Entry | undefined {
  return entry?.refusal === undefined ? entry : undefined;
}

/** Whether it will be served without anyone's action. */
function isAwaiting(entry: Entry | undefined): boolean {
  return entry?.refusal?.error.code === 'writers_open';
}

function refusalKey({ schema, pattern, error }: Refusal): string {
  return JSON.stringify([schema, pattern, error.code, error.message]);
}

function put<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
