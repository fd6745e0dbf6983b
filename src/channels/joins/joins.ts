/** The views with joins, and the known rows of their tables. */
import type { ChannelView } from '../channel.ts';
import type { JoinPlan } from '../join-plan.ts';
import { JoinedView, type Look } from './joined-view.ts';
import { type Change, type KnownIndex, KnownTable } from './known-rows.ts';
import type { Row } from './row.ts';

/** The lookups that are not known, and the views that need each. */
export type Missing = ReadonlyMap<KnownIndex, ReadonlyMap<string, ReadonlySet<JoinedView>>>;

export class Joins {
  readonly views: readonly JoinedView[];
  readonly #tables: ReadonlyMap<number, KnownTable>;
  readonly #viewsOf = new Map<KnownTable, JoinedView[]>();
  #isLacking = false;
  readonly #look: Look = (_view, index, value) => {
    const rows = index.get(value);
    if (rows === undefined) this.#isLacking = true;
    return rows;
  };

  constructor(views: readonly ChannelView[]) {
    const joining = views.flatMap((view) => (view.join === undefined ? [] : [{ ...view, join: view.join }]));
    this.#tables = tablesOf(joining.map(({ join }) => join));
    this.views = joining.map((view) => new JoinedView(view, (oid) => this.#tables.get(oid) as KnownTable));
    for (const view of this.views)
      for (const known of new Set(view.parts.map((part) => part.known)))
        this.#viewsOf.set(known, [...(this.#viewsOf.get(known) ?? []), view]);
  }

  get tables(): Iterable<KnownTable> {
    return this.#tables.values();
  }

  /** Undefined if no view with joins reads the table. */
  table(oid: number): KnownTable | undefined {
    return this.#tables.get(oid);
  }

  viewsOf(table: KnownTable): readonly JoinedView[] {
    return this.#viewsOf.get(table) ?? [];
  }

  /** Approximate bytes of the lookups that are kept. */
  get bytes(): number {
    let bytes = 0;
    for (const { indexes } of this.tables) for (const index of indexes) if (index.isKept) bytes += index.bytes;
    return bytes;
  }

  /**
   * The unknown lookups that the evaluation of these changes needs, except for the views `without`.
   * Once they are known, their rows may need more: call it again until nothing is missing.
   */
  missing(changes: Iterable<Change>, without: ReadonlySet<JoinedView>): Missing {
    const missing = new Map<KnownIndex, Map<string, Set<JoinedView>>>();
    const look: Look = (view, index, value) => {
      const rows = index.get(value);
      if (rows === undefined) note(missing, index, value, view);
      return rows;
    };
    for (const change of changes)
      for (const view of this.viewsOf(change.table)) if (!without.has(view)) needsOf(view, change, look);
    return missing;
  }

  /** Whether the evaluation of the change needs a lookup that is not known. */
  lacks(change: Change): boolean {
    this.#isLacking = false;
    for (const view of this.viewsOf(change.table)) needsOf(view, change, this.#look);
    return this.#isLacking;
  }

  /** Increases whenever a known lookup is dropped. */
  get dropped(): number {
    let dropped = 0;
    for (const { indexes } of this.#tables.values()) for (const index of indexes) dropped += index.dropped;
    return dropped;
  }

  /** Drops all known rows. */
  clear(): void {
    for (const { indexes } of this.tables) for (const index of indexes) index.clear();
  }

  /** Drops lookups that are not kept, and unused ones first if the rest exceed `bytesMax`. */
  tidy(bytesMax: number): void {
    const kept = [];
    for (const { indexes } of this.tables)
      for (const index of indexes)
        if (index.isKept) kept.push(index);
        else index.clear();
    const bytes = kept.reduce((sum, index) => sum + index.bytes, 0);
    if (bytes > bytesMax) for (const index of kept) index.evict((index.bytes * bytesMax * KEPT_SHARE) / bytes);
  }
}

/** The share of the allowed bytes that remain when lookups are dropped. */
const KEPT_SHARE = 0.9;

function needsOf(view: JoinedView, change: Change, look: Look): void {
  for (const place of view.changedPlaces(change)) {
    if (change.oldRow !== undefined) needsOfRow(view, place, change.oldRow, look);
    if (change.newRow !== undefined) needsOfRow(view, place, change.newRow, look);
  }
}

function needsOfRow(view: JoinedView, place: number, row: Row, look: Look): void {
  view.lookDown(place, row, look);
  if (place > 0) view.basesOf(place, row, look, (base) => view.lookDown(0, base, look));
}

function note(
  missing: Map<KnownIndex, Map<string, Set<JoinedView>>>,
  index: KnownIndex,
  value: string,
  view: JoinedView,
): void {
  const values = missing.get(index);
  const views = values?.get(value);
  if (views !== undefined) views.add(view);
  else if (values !== undefined) values.set(value, new Set([view]));
  else missing.set(index, new Map([[value, new Set([view])]]));
}

/** Each table, with all columns that the views read. */
function tablesOf(plans: readonly JoinPlan[]): ReadonlyMap<number, KnownTable> {
  const parts = plans.flatMap(({ tables }) => tables);
  const oids = new Set(parts.map(({ table }) => table.oid));
  return new Map(
    [...oids].map((oid) => {
      const own = parts.filter(({ table }) => table.oid === oid);
      const numbers = new Set(own.flatMap(({ columns }) => columns.map(({ number }) => number)));
      const [{ table, key }] = own as [(typeof own)[number]];
      const columns = table.columns.filter(({ number }) => numbers.has(number));
      return [oid, new KnownTable(table, columns, key)];
    }),
  );
}
