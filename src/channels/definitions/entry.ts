/** A pattern with its compiled views, and the differences between the patterns of two catalogs. */
import { ACCESS_SCHEMAS, type AccessSchema } from '../catalog/catalog.ts';
import type { Pattern } from '../catalog/pattern.ts';
import type { ChannelView, Refusal } from '../channel.ts';
import type { CompiledAccess } from './compiled-views.ts';
import { continues } from './continuity.ts';
import type { DeclaredView } from './gone-views.ts';

/** A compiled access view, presence view or send view. */
export interface EntryAccess extends CompiledAccess {
  /** Its base tables. */
  readonly tables: readonly number[];
}

/** A pattern and its compiled views. */
export interface Entry {
  readonly pattern: Pattern;
  /** The oid of the older of its views. */
  readonly oid: number;
  readonly valueTypes: readonly string[];
  readonly view: ChannelView | undefined;
  /** Its access view, presence view and send view, if they exist and are not refused. */
  readonly access: Readonly<Partial<Record<AccessSchema, EntryAccess>>>;
  /** The reason why no client can subscribe. */
  readonly refusal: Refusal | undefined;
}

/** Whether the channel waits only for open writers: it will be served without any action. */
export function isAwaiting(entry: Entry | undefined): boolean {
  return entry?.refusal?.error.code === 'writers_open';
}

export interface LoadResult {
  /**
   * New or redefined patterns, whose rows or columns may have changed, and that clients can
   * subscribe to now or soon.
   */
  readonly changed: ReadonlySet<string>;
  /** Patterns that clients can no longer subscribe to: dropped, or refused now. */
  readonly dropped: ReadonlySet<string>;
  /**
   * The access, presence and send views (`SCHEMA:PATTERN`) that are new, changed or dropped. Their
   * answers must be checked again.
   */
  readonly accessChanged: ReadonlySet<string>;
  /** New refusals. */
  readonly refused: readonly Refusal[];
  /** Views that are no longer in the catalog. */
  readonly gone: readonly DeclaredView[];
  /** Views that were missing or refused, and are served now. */
  readonly back: readonly DeclaredView[];
}

/** The differences that loading a catalog would make. */
export type Comparison = Omit<LoadResult, 'gone' | 'back'>;

/** `touched`: views that count as changed in any case. */
export function compareEntries(
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
    for (const schema of ACCESS_SCHEMAS) {
      const view = `${schema}:${text}`;
      const isSame = was?.access[schema]?.view.fingerprint === is.access[schema]?.view.fingerprint;
      if (was === undefined || !isSame || touched.has(view)) accessChanged.add(view);
    }
  }
  return { changed, dropped, accessChanged };
}

function servable(entry: Entry | undefined): Entry | undefined {
  return entry?.refusal === undefined ? entry : undefined;
}
