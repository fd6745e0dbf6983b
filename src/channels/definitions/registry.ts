/**
 * The definitions in force: every channel view and access view of a catalog, compiled, or refused
 * with the reason.
 *
 * A catalog is loaded when Snö starts, and after DDL that touches a channel: from the WAL, or by
 * polling. Unchanged views are not compiled again. `load` returns the patterns whose meaning
 * changed.
 */
import { SnoError } from '../../errors.ts';
import { ACCESS_SCHEMAS, type AccessSchema, type Catalog, type CatalogColumn } from '../catalog/catalog.ts';
import { type Pattern, parsePattern } from '../catalog/pattern.ts';
import { shareParts } from '../catalog/sharing.ts';
import type { ChannelView, ConcernedBy, Refusal } from '../channel.ts';
import { ChannelNames } from '../served/names.ts';
import type { ResolvedChannel, ServedAccess, ServedChannel, ServedDefinitions } from '../served/served.ts';
import { CompiledViews, refusing } from './compiled-views.ts';
import { findConflicts } from './conflicts.ts';
import { type Comparison, compareEntries, type Entry, type EntryAccess, isAwaiting, type LoadResult } from './entry.ts';
import { declaredIn, GoneViews, viewKey } from './gone-views.ts';
import { put } from './list-map.ts';
import { identityHints, outcomeOf, tableFaults } from './view-faults.ts';

/** An access, presence or send view, as the router needs it. */
export interface AccessSource {
  readonly schema: AccessSchema;
  readonly pattern: string;
  /**
   * Finds from a row of the table the subscriptions that its change affects; undefined if it may
   * affect all of the pattern.
   */
  readonly rows: readonly ConcernedBy[] | undefined;
  /** Whether the rows of the access view are those of the table. */
  readonly isTable: boolean;
  /** Whether an additional row never ends access. */
  readonly onlyGrows: boolean;
  /** An update that changes none of these columns ends no access; undefined if every update may. */
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
  #viewsBySource = new Map<number, ChannelView[]>();
  #accessByTable = new Map<number, AccessSource[]>();
  #isRemote = false;
  #joined: readonly ChannelView[] = NO_VIEWS;
  readonly #gone = new GoneViews();

  constructor(publication: string) {
    this.publication = publication;
  }

  /**
   * Replaces the definitions by those of a catalog. The `touched` views (of a `sno.catalog`
   * message) count as changed even if they are equal: when WAL is read again after a restart, the
   * earlier catalog is not available for comparison.
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

  /** The changes that `load` would make; keeps the definitions in force. */
  compare(catalog: Catalog): Comparison {
    return this.#resolve(catalog, NOTHING).result;
  }

  #resolve(catalog: Catalog, touched: ReadonlySet<string>) {
    const known = new Set(this.#refusals.map(refusalKey));
    const refusals: Refusal[] = [];
    const entries = resolveConflicts(this.#compile(catalog, refusals), refusals);
    const refused = refusals.filter((refusal) => !known.has(refusalKey(refusal)));
    return { entries, refusals, result: { ...compareEntries(this.#entries, entries, touched), refused } };
  }

  /** The definitions as gateways need them. */
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
    for (const views of this.#viewsBySource.values()) yield* views;
  }

  /** Number of channel views that this process evaluates, that Postgres evaluates, and refused. */
  get viewCounts(): { readonly process: number; readonly postgres: number; readonly refused: number } {
    const views = [...this.views()];
    const postgres = views.filter(({ remote }) => remote !== undefined).length;
    const refused = this.#refusals.filter(({ schema }) => schema === 'channels').length;
    return { process: views.length - postgres, postgres, refused };
  }

  /**
   * The channel views with this source (ChannelView.source): those on a table, by its oid in the
   * WAL, or the one over joined rows.
   */
  viewsOf(source: number): readonly ChannelView[] {
    return this.#viewsBySource.get(source) ?? NO_VIEWS;
  }

  /** The channel views that join tables; a new array whenever one of them changes. */
  get joined(): readonly ChannelView[] {
    return this.#joined;
  }

  /**
   * The access, presence and send views that read a table: a commit to it may change their answers.
   */
  accessOf(tableOid: number): readonly AccessSource[] {
    return this.#accessByTable.get(tableOid) ?? NO_ACCESS;
  }

  /** Warnings of the pattern's access, presence and send views. */
  accessWarnings(pattern: string): readonly string[] {
    const { access = {} } = this.#entries.get(pattern) ?? {};
    return ACCESS_SCHEMAS.flatMap((schema) => access[schema]?.view.warnings ?? []);
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
    const accesses = new Map(catalog.access.map((access) => [`${access.schema}:${access.pattern}`, access]));
    const entries: Entry[] = [];
    for (const text of new Set([...catalog.channels, ...catalog.access].map(({ pattern }) => pattern))) {
      const channel = channels.get(text);
      const view = outcomeOf('channels', channel, mended(this.#compiled.channel(text)), fault);
      const own: Refusal[] = [];
      if (view instanceof SnoError) own.push({ schema: 'channels', pattern: text, error: view });
      const declared = ACCESS_SCHEMAS.flatMap((schema) => accesses.get(`${schema}:${text}`) ?? []);
      const access: Partial<Record<AccessSchema, EntryAccess>> = {};
      for (const one of declared) {
        const { schema, reads: tables } = one;
        const compiled = outcomeOf(schema, one, this.#compiled.access(schema, text), fault);
        if (compiled instanceof SnoError) own.push({ schema, pattern: text, error: compiled });
        else if (compiled !== undefined) access[schema] = { ...compiled, tables };
      }
      refusals.push(...own);
      const pattern = refusing('channels', text, () => parsePattern(text));
      if (pattern instanceof SnoError) continue;
      const types = refusing('channels', text, () => valueTypes(pattern, (channel ?? declared[0])?.columns ?? []));
      // a refused presence or send view refuses the channel only if it has no other view
      const isEmpty = channel === undefined && Object.keys(access).length === 0;
      const refusal = own.find(({ schema }) => isEmpty || schema === 'channels' || schema === 'channel_access');
      entries.push({
        pattern,
        oid: Math.min(...[channel ?? [], declared].flat().map((one) => one.oid)),
        // a view whose columns cannot be read is already refused
        valueTypes: types instanceof SnoError ? [] : types,
        view: view instanceof SnoError ? undefined : view,
        access,
        refusal,
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
    this.#viewsBySource = new Map();
    this.#accessByTable = new Map();
    const joined = served.flatMap(({ view }) => (view?.join === undefined ? [] : [view]));
    const isSame = joined.length === this.#joined.length && joined.every((view, at) => view === this.#joined[at]);
    if (!isSame) this.#joined = joined;
    this.#isRemote = served.some(({ view }) => view?.remote !== undefined);
    for (const { pattern, view, access } of served) {
      if (view !== undefined) put(this.#viewsBySource, view.source, view);
      for (const schema of ACCESS_SCHEMAS) {
        const { tables = [], rows: own, concerned, onlyGrows = false, columnsRead } = access[schema] ?? {};
        for (const table of tables) {
          const isTable = own !== undefined;
          const found = concerned?.get(table);
          const rows = isTable ? [{ view: own, claim: found?.[0]?.claim }] : found;
          const columns = columnsRead?.get(table);
          put(this.#accessByTable, table, { schema, pattern: pattern.text, rows, isTable, onlyGrows, columns });
        }
      }
    }
  }

  #servedOf({ pattern, valueTypes, view, access }: Entry): ServedChannel {
    const isGone = view === undefined && this.#gone.has({ schema: 'channels', pattern: pattern.text });
    return {
      pattern,
      valueTypes,
      view: view && { fingerprint: view.fingerprint, snapshot: view.snapshot },
      access: access.channel_access && servedAccess(access.channel_access),
      ...(access.channel_presence === undefined ? {} : { presence: servedAccess(access.channel_presence) }),
      ...(access.channel_send === undefined ? {} : { send: servedAccess(access.channel_send) }),
      ...(isGone ? { isViewGone: true } : {}),
    };
  }
}

/** The parts of a compiled view that gateways need. */
function servedAccess({ view }: EntryAccess): ServedAccess {
  const { sql, valueTypes: types, claims, fingerprint, parts } = view;
  return { sql, valueTypes: types, claims, fingerprint, ...(parts === undefined ? {} : { parts }) };
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
    const [schema = 'channels'] = later.view === undefined ? ACCESS_SCHEMAS.filter((one) => later.access[one]) : [];
    const refusal: Refusal = { schema, pattern, error };
    refusals.push(refusal);
    result.set(pattern, { ...later, refusal });
  }
  return result;
}

function refusalKey({ schema, pattern, error }: Refusal): string {
  return JSON.stringify([schema, pattern, error.code, error.message]);
}
