/**
 * Writes a channel's commits into a collection: each commit is one transaction of the collection, a
 * new snapshot is one truncate.
 */
import type { SyncConfig } from '@tanstack/db';
import type { ChangeEvent } from '../../protocol.ts';
import type { LiveUpdate, LiveView } from '../live.ts';
import { identify } from '../rows.ts';

type Collection<Row extends object, Key extends string | number> = Parameters<SyncConfig<Row, Key>['sync']>[0];

export class Synced<Row extends object, Key extends string | number> {
  readonly #view: LiveView<Row>;
  readonly #keyOf: (row: Row) => Key;
  readonly #collection: Collection<Row, Key>;
  /** The rows written so far, by their keys in the database. */
  #rows = new Map<string, Row>();

  constructor(view: LiveView<Row>, keyOf: (row: Row) => Key, collection: Collection<Row, Key>) {
    this.#view = view;
    this.#keyOf = keyOf;
    this.#collection = collection;
  }

  update({ reason, changes }: LiveUpdate<Row>): void {
    if (reason === 'snapshot') this.load();
    else if (reason === 'commit') this.#apply(changes);
  }

  /** The channel was refused before its first row. */
  fail(error: unknown): void {
    if (this.#collection.collection.status === 'loading') this.#collection.markError(error);
  }

  /** Replaces all rows. Makes the collection ready. */
  load(): void {
    this.#replace(new Map(this.#view.entries().map(({ key, data }) => [identify(key), data])));
  }

  #replace(rows: Map<string, Row>): void {
    const { begin, truncate, write, commit } = this.#collection;
    // An invalid key throws here, before the transaction begins.
    const byKey = new Map([...rows.values()].map((row) => [this.#keyOf(row), row]));
    this.#rows = rows;
    begin();
    truncate();
    for (const value of byKey.values()) write({ type: 'insert', value });
    void commit();
  }

  #apply(changes: readonly ChangeEvent<Row>[]): void {
    const { begin, write, commit } = this.#collection;
    const before = new Map<string, Row | undefined>();
    const rows = this.#rows;
    const note = (identity: string, row: Row | undefined): void => {
      if (!before.has(identity)) before.set(identity, rows.get(identity));
      if (row === undefined) rows.delete(identity);
      else rows.set(identity, row);
    };
    let isTruncated = false;
    for (const event of changes) {
      if (event.op === 'truncate') {
        isTruncated = true;
        rows.clear();
        continue;
      }
      const identity = identify(event.key);
      if (event.op === 'delete') note(identity, undefined);
      else note(identity, event.unchanged === undefined ? event.data : { ...rows.get(identity), ...event.data });
    }
    if (isTruncated) {
      this.#replace(rows);
      return;
    }
    // The collection's keys may pass from one row to another within the commit.
    const [gone, kept] = [new Set<Key>(), new Map<Key, Row>()];
    for (const [identity, old] of before) {
      const row = rows.get(identity);
      if (old !== undefined) gone.add(this.#keyOf(old));
      if (row !== undefined) kept.set(this.#keyOf(row), row);
    }
    begin();
    try {
      for (const key of gone) if (!kept.has(key)) write({ type: 'delete', key });
      for (const [key, value] of kept) write({ type: gone.has(key) ? 'update' : 'insert', value });
    } finally {
      // The collection refuses a key that two rows have. The transaction must not stay open.
      void commit();
    }
  }
}
