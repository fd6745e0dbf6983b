/**
 * Finds the channels or patterns whose access a change of a row may end, so that it is checked
 * again. A row that gave access has changed or is deleted, or a new row takes its place. What a
 * presence view shows may also begin with a row: a client that waits to appear then appears.
 */

import type { Relation } from '../decode/relation.ts';
import { NULL, TEXT, type Tuple } from '../decode/tuple.ts';
import { SnoError } from '../errors.ts';
import { ByteWriter, sameBytes } from '../memory/byte-writer.ts';
import type { AccessSchema } from './catalog/catalog.ts';
import type { BoundView, ConcernedBy } from './channel.ts';
import type { AccessSource } from './definitions/registry.ts';
import { RowMemory, SeenRows } from './evaluation/seen-rows.ts';
import type { ClaimValue } from './events.ts';
import type { RemoteAnswers } from './remote-answers.ts';
import { RowError } from './values/row-error.ts';

/** `index`: position of the column in rows. */
interface BoundClaim {
  readonly name: string;
  readonly type: string;
  readonly index: number;
}

/** A ConcernedBy that is bound to the table's columns in the WAL. */
interface BoundConcern {
  readonly view: BoundView | undefined;
  readonly claim: BoundClaim | undefined;
}

/** An access, presence or send view over a table. */
interface Guard {
  readonly schema: AccessSchema;
  readonly pattern: string;
  /** Finds the subscriptions that a row affects; undefined if one row does not show that. */
  readonly bound: readonly BoundConcern[] | undefined;
  /** Whether the rows of the view are those of the table. */
  readonly isTable: boolean;
  /** Whether an additional row changes no answer that a client still has. */
  readonly onlyGrows: boolean;
  /** The columns that it reads; undefined if it may read all. */
  readonly seen: SeenRows | undefined;
}

/**
 * The access views over one table, and the columns of it that they read. Views that read the same
 * columns share one SeenRows.
 */
interface Guards {
  readonly guards: readonly Guard[];
  readonly seen: readonly SeenRows[];
}

export interface GuardViews {
  /** The access views that read the table. */
  accessOf(tableOid: number): readonly AccessSource[];
}

export interface RecheckSink {
  /** Without a channel: every channel of the pattern. Without a claim: all clients. */
  recheck(schema: AccessSchema, pattern: string, channel?: string, claim?: ClaimValue): void;
}

const NO_GUARDS: Guards = { guards: [], seen: [] };

export class AccessGuards {
  readonly #views: GuardViews;
  readonly #sink: RecheckSink;
  readonly #answers: RemoteAnswers;
  readonly #tables = new Map<number, Guards>();
  readonly #memory = new RowMemory();
  readonly #oldChannel = new ByteWriter(256);
  readonly #newChannel = new ByteWriter(256);

  constructor(views: GuardViews, sink: RecheckSink, answers: RemoteAnswers) {
    this.#views = views;
    this.#sink = sink;
    this.#answers = answers;
  }

  /** Drops the tables and rows: a new stream may describe different ones. */
  reset(): void {
    this.#tables.clear();
    this.#memory.clear();
  }

  /**
   * Binds the access views to the table as it is at this point of the WAL. Returns whether any view
   * reads it.
   */
  bind(relation: Relation): boolean {
    const seen = new Map<string, SeenRows>();
    const guards = this.#views.accessOf(relation.oid).map(({ rows, columns, ...source }): Guard => {
      const { schema, pattern, isTable } = source;
      return {
        schema,
        pattern,
        isTable,
        // a client that may not appear stays subscribed, and appears with its row
        onlyGrows: source.onlyGrows && schema !== 'channel_presence',
        bound: rows && this.#bind(relation, rows),
        seen: columns && this.#rowsOf(relation, columns, seen),
      };
    });
    this.#tables.set(relation.oid, { guards, seen: [...seen.values()] });
    return guards.length > 0;
  }

  insert(relation: Relation, newRow: Tuple): void {
    const { guards, seen } = this.#of(relation);
    for (const rows of seen) rows.insert(newRow);
    for (const guard of guards) if (!guard.onlyGrows) this.#guard(guard, undefined, newRow);
  }

  update(relation: Relation, oldRow: Tuple | undefined, newRow: Tuple): void {
    const { guards, seen } = this.#of(relation);
    for (const rows of seen) rows.update(oldRow, newRow);
    for (const guard of guards) if (guard.seen?.isSame !== true) this.#guard(guard, oldRow, newRow);
  }

  delete(relation: Relation, oldRow: Tuple): void {
    const { guards, seen } = this.#of(relation);
    for (const rows of seen) rows.delete(oldRow);
    for (const guard of guards) this.#guard(guard, oldRow, undefined);
  }

  truncate(relation: Relation): void {
    const { guards, seen } = this.#of(relation);
    for (const rows of seen) rows.truncate();
    for (const { schema, pattern } of guards) this.#sink.recheck(schema, pattern);
  }

  /**
   * Handles a row that gave access and has changed or is deleted. If its evaluation fails, every
   * channel of the pattern is checked again.
   */
  #guard(guard: Guard, oldRow: Tuple | undefined, newRow: Tuple | undefined): void {
    try {
      this.#guardRow(guard, oldRow, newRow);
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      this.#sink.recheck(guard.schema, guard.pattern);
    }
  }

  #guardRow(
    { schema, pattern, bound, isTable, onlyGrows }: Guard,
    oldRow: Tuple | undefined,
    newRow: Tuple | undefined,
  ): void {
    // an update without an old row changed no column that determines the channel
    const row = oldRow ?? newRow;
    if (bound === undefined || row === undefined) return this.#sink.recheck(schema, pattern);
    for (const concern of bound) {
      const { view } = concern;
      const isUpdate = oldRow !== undefined && newRow !== undefined;
      if (isTable && isUpdate && view !== undefined && this.#givesTheSame(view, oldRow, newRow)) return;
      this.#recheck(schema, pattern, concern, row);
      // in a view over several tables, the new row may end access that another row gave
      const isNewRowRead = !isTable || schema === 'channel_presence';
      if (isNewRowRead && !onlyGrows && newRow !== undefined) this.#recheck(schema, pattern, concern, newRow);
    }
  }

  /** Checks the subscriptions that the row affects. NULL equals no value. */
  #recheck(schema: AccessSchema, pattern: string, { view, claim }: BoundConcern, row: Tuple): void {
    const channel = this.#oldChannel;
    if (view !== undefined && (!view.matches(row) || !this.#name(view, row, channel))) return;
    if (claim !== undefined && row.kinds[claim.index] === NULL) return;
    this.#sink.recheck(
      schema,
      pattern,
      view && channel.buffer.toString('latin1', 0, channel.length),
      claim && claimIn(row, claim),
    );
  }

  /** Undefined if the table lacks the columns, or the WAL lacks the old values. */
  #bind(relation: Relation, rows: readonly ConcernedBy[]): readonly BoundConcern[] | undefined {
    const bound: BoundConcern[] = [];
    for (const { view, claim } of rows) {
      const fit = view?.bind(relation, this.#answers);
      const index = relation.columns.findIndex(
        ({ name, typeOid, identity }) => name === claim?.column.name && typeOid === claim.column.typeOid && identity,
      );
      const isKnown = claim !== undefined && index >= 0;
      if (fit instanceof SnoError || (fit === undefined && !isKnown)) return undefined;
      bound.push({ view: fit, claim: isKnown ? { name: claim.name, type: claim.column.type, index } : undefined });
    }
    return bound;
  }

  #givesTheSame(bound: BoundView, oldRow: Tuple, newRow: Tuple): boolean {
    if (!bound.matches(oldRow) || !this.#name(bound, oldRow, this.#oldChannel)) return false;
    if (!bound.matches(newRow) || !this.#name(bound, newRow, this.#newChannel)) return false;
    return sameBytes(this.#oldChannel, this.#newChannel) && !bound.differs(oldRow, newRow);
  }

  /**
   * Undefined if a column that the view reads is missing in the WAL: a generated column may change
   * through another column.
   */
  #rowsOf(relation: Relation, columns: readonly string[], known: Map<string, SeenRows>): SeenRows | undefined {
    const indexes = columns.map((name) => relation.columns.findIndex((column) => column.name === name));
    if (indexes.includes(-1)) return undefined;
    const name = indexes.join();
    const rows = known.get(name) ?? new SeenRows(this.#memory, relation, indexes);
    known.set(name, rows);
    return rows;
  }

  #of(relation: Relation): Guards {
    return this.#tables.get(relation.oid) ?? NO_GUARDS;
  }

  #name(bound: BoundView, row: Tuple, channel: ByteWriter): boolean {
    channel.length = 0;
    return bound.channel(row, channel);
  }
}

/** Undefined if the WAL lacks the value. */
function claimIn(row: Tuple, { name, type, index }: BoundClaim): ClaimValue | undefined {
  if (row.kinds[index] !== TEXT) return undefined;
  return { name, type, text: row.buffer.toString('utf8', row.starts[index], row.ends[index]) };
}
