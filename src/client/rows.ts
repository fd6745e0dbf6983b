/**
 * The rows of one channel by key, in the order of their arrival. The array of them is immutable. It
 * is made when it is read, and stays the same until the next commit.
 */
import type { ChangeEvent, Key, SnapshotRow } from '../protocol.ts';
import type { Change, Commit } from './event.ts';
import type { Delivery, Item } from './state/machine.ts';

/** A row's identity: the values of its key columns, in the server's order. */
export const identify = (key: Key): string => JSON.stringify(Object.values(key));

type RowEvent<Row> = Extract<ChangeEvent<Row>, { readonly data: Row }>;

export class Rows<Row> {
  #rows = new Map<string, Row>();
  #array: readonly Row[] | undefined;
  /** One key of the channel, which shows the key's columns and the types of their values. */
  #sample: Key = {};
  /** The changes of commits that are being delivered to handles. */
  readonly #changes = new WeakMap<Commit, readonly Change<Row>[]>();
  /** Whether rows have arrived. */
  loaded = false;

  get size(): number {
    return this.#rows.size;
  }

  /** Do not modify it: it is shared. */
  get array(): readonly Row[] {
    this.#array ??= [...this.#rows.values()];
    return this.#array;
  }

  /** The rows with their keys. */
  entries(): SnapshotRow<Row>[] {
    const columns = Object.keys(this.#sample);
    return [...this.#rows].map(([identity, data]) => {
      const values = JSON.parse(identity) as readonly unknown[];
      return { key: Object.fromEntries(columns.map((column, at) => [column, values[at]])), data };
    });
  }

  /**
   * `key`: the key's columns by name, in any order, or the bare value if the key is one column. A
   * number may be given as its text, and a text as its number, since a view may show the key as
   * `id::text`.
   */
  get(key: unknown): Row | undefined {
    const samples = Object.entries(this.#sample);
    const given = isKey(key) ? samples.map(([column]) => key[column]) : [key];
    const values = given.map((value, at) => (typeof value === 'bigint' ? likened(value, samples[at]?.[1]) : value));
    const exact = this.#rows.get(JSON.stringify(values));
    return exact ?? this.#rows.get(JSON.stringify(values.map((value, at) => likened(value, samples[at]?.[1]))));
  }

  /** The current rows. Later commits do not change this array. */
  copy(): Rows<Row> {
    const copy = new Rows<Row>();
    copy.#rows = new Map(this.#rows);
    copy.#array = this.#array;
    copy.#sample = this.#sample;
    copy.loaded = this.loaded;
    return copy;
  }

  /** Returns the changes of a commit that was applied. */
  changesOf(commit: Commit<Row>): readonly Change<Row>[] {
    return this.#changes.get(commit) ?? commit.events;
  }

  /** Applies a delivery, which always has whole commits. */
  apply(delivery: Delivery<Row>): void {
    if (delivery.kind === 'joined') {
      if (delivery.rows !== undefined) this.#load(delivery.rows);
      for (const item of delivery.items) this.#applyItem(item);
    } else if (delivery.kind === 'commit') this.#applyItem(delivery);
  }

  #load(rows: readonly SnapshotRow<Row>[]): void {
    this.#rows = new Map(rows.map(({ key, data }) => [identify(key), data]));
    this.#sample = rows[0]?.key ?? {};
    this.#array = undefined;
    this.loaded = true;
  }

  #applyItem(item: Item<Row>): void {
    // Rows that were only just requested arrive with their snapshot.
    if (item.kind !== 'commit' || !this.loaded) return;
    const changes = item.commit.events.map((event) => this.#applyEvent(event));
    this.#changes.set(item.commit, changes);
    this.#array = undefined;
  }

  #applyEvent(event: ChangeEvent<Row>): Change<Row> {
    if (event.op === 'truncate') {
      this.#rows.clear();
      return event;
    }
    const identity = identify(event.key);
    const old = this.#rows.get(identity);
    if (event.op === 'delete') this.#rows.delete(identity);
    else this.#upsert(event, identity, old);
    return old === undefined ? event : { ...event, old };
  }

  #upsert({ key, data, unchanged }: RowEvent<Row>, identity: string, old: Row | undefined): void {
    if (Object.keys(this.#sample).length === 0) this.#sample = key;
    // Postgres did not send unchanged values: the held row has them.
    this.#rows.set(identity, unchanged === undefined ? data : { ...old, ...data });
  }
}

const isKey = (key: unknown): key is Key => typeof key === 'object' && key !== null;

/** Converts a value of a key to the type of `sample`: a number or a text. */
function likened(value: unknown, sample: unknown): unknown {
  if (typeof sample === 'number' && (typeof value === 'bigint' || (typeof value === 'string' && value.trim() !== '')))
    return Number(value);
  return typeof value === 'bigint' || (typeof sample === 'string' && typeof value === 'number') ? String(value) : value;
}
