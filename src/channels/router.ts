/**
 * Finds the channels of each changed row, and writes their events. The work per row depends only on
 * the number of channel views on its table.
 */

import type { ChangeHandler } from '../decode/change.ts';
import type { Relation } from '../decode/relation.ts';
import type { Tuple } from '../decode/tuple.ts';
import type { Lsn } from '../lsn.ts';
import { ByteWriter, sameBytes } from '../memory/byte-writer.ts';
import { beginOldValues, endOldValues } from '../memory/old-values.ts';
import type { PatternCounts } from '../metrics/patterns.ts';
import { secondsOf } from '../postgres/commit-time.ts';
import { AccessGuards } from './access-guards.ts';
import type { BoundView } from './channel.ts';
import type { Redefinition } from './definitions/definitions.ts';
import type { AccessSource } from './definitions/registry.ts';
import type { EventSink } from './events.ts';
import { parsePublished, parseTrace } from './published.ts';
import type { RemoteAnswers } from './remote-answers.ts';
import { type BoundRoute, type ChannelViews, type FitEvents, type Route, Routes } from './routes.ts';
import { RowError } from './values/row-error.ts';

/** The part of the registry that the router uses. */
export interface ViewSource extends ChannelViews {
  /** The access views that read the table. */
  accessOf(tableOid: number): readonly AccessSource[];
  /** The pattern of this channel name; undefined if no pattern matches it. */
  patternOf(channel: string): string | undefined;
}

/** The router's reports. */
export interface RouterEvents extends FitEvents {
  /**
   * A `sno.catalog` message: the definitions as of this point of the WAL. Returns the patterns
   * whose meaning changed.
   */
  catalog(json: string, lsn: Lsn): Iterable<Redefinition>;
  /** A transaction with a marker of Snö has committed. */
  marker(id: string): void;
  dropped(reason: 'payload_malformed' | 'channel_unknown', detail: string): void;
  /** `count`: number of events, 1 by default. */
  counted(op: keyof typeof OP | 'message', count?: number): void;
  /** A commit was read. `rows`: its changed rows of tables that views read. */
  committed(rows: number): void;
  countsOf(pattern: string): PatternCounts;
  /** Evaluating the view over a row of a commit failed. */
  failed(pattern: string, error: RowError): void;
}

const OP = {
  insert: Buffer.from('{"op":"insert","key":'),
  update: Buffer.from('{"op":"update","key":'),
  delete: Buffer.from('{"op":"delete","key":'),
  truncate: Buffer.from('{"op":"truncate"}'),
};
const DATA = Buffer.from(',"data":');
const UNCHANGED = Buffer.from(',"unchanged":[');
const CLOSE_BRACKET = 0x5d;
const CLOSE_BRACE = 0x7d;

const CLOSED = -1;

export class Router implements ChangeHandler {
  readonly #views: ViewSource;
  readonly #sink: EventSink;
  readonly #events: RouterEvents;
  readonly #guards: AccessGuards;
  readonly #relations = new Map<number, Relation>();
  readonly #routes: Routes;
  /** False during a commit that was handled before. */
  #fresh = false;
  /** Changed rows of this commit. */
  #rows = 0;
  /** When this commit was made, in seconds since 1970. */
  #committedAt = 0;
  #markers: string[] = [];
  /**
   * The patterns that get no more events in this commit: their subscribers are reset at its end.
   */
  readonly #void = new Set<string>();
  /** Where the event being written begins; CLOSED if none is being written. */
  #openedAt = CLOSED;
  readonly #oldChannel = new ByteWriter(256);
  readonly #newChannel = new ByteWriter(256);
  readonly #unchanged = new ByteWriter(256);
  /** The record of a row's old values. */
  readonly #old = new ByteWriter(1_024);

  constructor(views: ViewSource, sink: EventSink, answers: RemoteAnswers, events: RouterEvents) {
    this.#views = views;
    this.#sink = sink;
    this.#guards = new AccessGuards(views, sink, answers);
    this.#routes = new Routes(views, answers, events, events.countsOf);
    this.#events = events;
  }

  /** Binds the views to the tables again, after the definitions changed. */
  rebind(): void {
    for (const relation of this.#relations.values()) this.relation(relation);
  }

  /** Drops the tables: a new stream describes them again. */
  reset(): void {
    this.#relations.clear();
    this.#routes.clear();
    this.#guards.reset();
    this.#markers = [];
  }

  begin(xid: number, commitLsn: Lsn, committedAt: number): void {
    this.#markers.length = 0;
    this.#void.clear();
    this.#routes.begin();
    this.#rows = 0;
    this.#committedAt = secondsOf(committedAt);
    this.#fresh = this.#sink.begin(xid, commitLsn, committedAt);
  }

  relation(relation: Relation): void {
    this.#relations.set(relation.oid, relation);
    const hasRoutes = this.#routes.bind(relation);
    relation.wanted = this.#guards.bind(relation) || hasRoutes;
  }

  insert(relation: Relation, newRow: Tuple): void {
    if (!this.#fresh) return;
    this.#rows++;
    this.#guards.insert(relation, newRow);
    for (const route of this.#routes.of(relation)) {
      if (!this.#serves(route, relation)) continue;
      try {
        this.#insert(route, newRow);
      } catch (error) {
        this.#failed(route, error);
      }
    }
  }

  update(relation: Relation, oldRow: Tuple | undefined, newRow: Tuple): void {
    if (!this.#fresh) return;
    this.#rows++;
    this.#guards.update(relation, oldRow, newRow);
    for (const route of this.#routes.of(relation)) {
      if (!this.#serves(route, relation)) continue;
      try {
        this.#update(route, oldRow, newRow);
      } catch (error) {
        this.#failed(route, error);
      }
    }
  }

  delete(relation: Relation, oldRow: Tuple): void {
    if (!this.#fresh) return;
    this.#rows++;
    this.#guards.delete(relation, oldRow);
    for (const route of this.#routes.of(relation)) {
      if (!this.#serves(route, relation)) continue;
      try {
        this.#delete(route, oldRow);
      } catch (error) {
        this.#failed(route, error);
      }
    }
  }

  truncate(relations: readonly Relation[]): void {
    if (!this.#fresh) return;
    for (const relation of relations) {
      this.#guards.truncate(relation);
      for (const { pattern, counts } of this.#routes.of(relation)) {
        this.#sink.truncate(pattern);
        this.#count('truncate', counts);
      }
    }
  }

  message(prefix: string, lsn: Lsn, buffer: Buffer, start: number, end: number): void {
    if (!this.#fresh) return;
    if (prefix === 'sno.publish') this.#publish(buffer, start, end);
    else if (prefix === 'sno.trace') this.#trace(buffer, start, end);
    else if (prefix === 'sno.marker') this.#markers.push(buffer.toString('utf8', start, end));
    else if (prefix === 'sno.catalog') {
      for (const [pattern, how] of this.#events.catalog(buffer.toString('utf8', start, end), lsn))
        if (how === 'changed' || how === 'dropped') this.#sink.redefined(pattern, how);
        else this.#sink.recheck(how, pattern);
      this.rebind();
    }
  }

  commit(endLsn: Lsn): void {
    if (!this.#fresh) return;
    this.#fresh = false;
    this.#routes.reportFit();
    this.#sink.commit(endLsn);
    this.#events.committed(this.#rows);
    for (const id of this.#markers) this.#events.marker(id);
  }

  #insert(route: BoundRoute, newRow: Tuple): void {
    const { bound } = route;
    if (bound.matches(newRow) && this.#name(bound, newRow, this.#newChannel))
      this.#put('insert', route, this.#newChannel, newRow);
  }

  #update(route: BoundRoute, oldRow: Tuple | undefined, newRow: Tuple): void {
    const { bound } = route;
    const isIn = bound.matches(newRow) && this.#name(bound, newRow, this.#newChannel);
    if (oldRow === undefined) {
      // no column of the identity changed, and WHERE and placeholders use no others: the row stays
      // in its channel
      if (isIn) this.#put('update', route, this.#newChannel, newRow);
      return;
    }
    const wasIn = bound.matches(oldRow) && this.#name(bound, oldRow, this.#oldChannel);
    if (isIn && wasIn && sameBytes(this.#oldChannel, this.#newChannel) && !bound.keyDiffers(oldRow, newRow)) {
      if (bound.differs(oldRow, newRow)) this.#put('update', route, this.#newChannel, newRow, oldRow);
      return;
    }
    if (wasIn) this.#remove(route, this.#oldChannel, oldRow);
    if (isIn) this.#put('insert', route, this.#newChannel, newRow, undefined, true);
  }

  #delete(route: BoundRoute, oldRow: Tuple): void {
    const { bound } = route;
    if (bound.matches(oldRow) && this.#name(bound, oldRow, this.#oldChannel))
      this.#remove(route, this.#oldChannel, oldRow);
  }

  /**
   * Resets the pattern after the evaluation of a row failed: a query of the view would fail too, so
   * subscribers' copies are no longer correct.
   */
  #failed({ pattern }: Route, error: unknown): void {
    if (!(error instanceof RowError)) throw error;
    if (this.#openedAt !== CLOSED) this.#sink.bytes.length = this.#openedAt;
    this.#openedAt = CLOSED;
    this.#events.failed(pattern, error);
    this.#giveUp(pattern);
  }

  /**
   * Whether events are written for the route's rows. False if the rows cannot be read, or no client
   * would receive them.
   */
  #serves(route: Route, relation: Relation): route is BoundRoute {
    if (this.#void.size > 0 && this.#void.has(route.pattern)) return false;
    if (route.bound !== undefined) return true;
    this.#routes.giveUp(route, relation);
    this.#giveUp(route.pattern);
    return false;
  }

  #giveUp(pattern: string): void {
    this.#void.add(pattern);
    this.#sink.redefined(pattern, 'changed');
  }

  #name(bound: BoundView, row: Tuple, channel: ByteWriter): boolean {
    channel.length = 0;
    return bound.channel(row, channel);
  }

  /**
   * Writes an insert or update. `oldRow`: the row's earlier state in this channel, if the WAL has
   * it. `moved`: the row was in another channel, so clients of this channel lack its unchanged
   * values.
   */
  #put(
    op: 'insert' | 'update',
    { pattern, bound, counts }: BoundRoute,
    channel: ByteWriter,
    row: Tuple,
    oldRow?: Tuple,
    moved = false,
  ): void {
    const { bytes } = this.#sink;
    const start = bytes.length;
    this.#openedAt = start;
    bytes.append(OP[op]);
    bound.key(row, bytes);
    bytes.append(DATA);
    const dataAt = bytes.length;
    const unchanged = this.#unchanged;
    unchanged.length = 0;
    const isTold = bound.data(row, bytes, unchanged);
    if (!isTold || (moved && unchanged.length > 0)) {
      bytes.length = start;
      this.#openedAt = CLOSED;
      this.#sink.incomplete(pattern, channel);
      return;
    }
    const old = oldRow === undefined || unchanged.length > 0 ? undefined : this.#oldValues(bound, oldRow, dataAt);
    if (unchanged.length > 0) {
      bytes.append(UNCHANGED);
      bytes.copy(unchanged.buffer, 0, unchanged.length);
      bytes.byte(CLOSE_BRACKET);
    }
    bytes.byte(CLOSE_BRACE);
    this.#openedAt = CLOSED;
    this.#count(op, counts);
    this.#sink.event(pattern, channel, start, old);
  }

  #remove({ pattern, bound, counts }: BoundRoute, channel: ByteWriter, row: Tuple): void {
    const { bytes } = this.#sink;
    const start = bytes.length;
    bytes.append(OP.delete);
    bound.key(row, bytes);
    const old = this.#oldValues(bound, row, bytes.length);
    bytes.byte(CLOSE_BRACE);
    this.#count('delete', counts);
    this.#sink.event(pattern, channel, start, old);
  }

  /**
   * The record of the row's old values in the view; undefined if the WAL has only the row's
   * identity. `dataAt`: start of the new row's JSON, which ends at the end of `sink.bytes`.
   */
  #oldValues(bound: BoundView, row: Tuple, dataAt: number): ByteWriter | undefined {
    if (row.keyOnly) return undefined;
    const old = this.#old;
    const unchanged = this.#unchanged;
    unchanged.length = 0;
    beginOldValues(old);
    try {
      if (!bound.data(row, old, unchanged) || unchanged.length > 0) return undefined;
    } catch (error) {
      // The event needs only the new row.
      if (error instanceof RowError) return undefined;
      throw error;
    }
    const { buffer, length } = this.#sink.bytes;
    endOldValues(old, buffer, dataAt, length);
    return old;
  }

  #count(op: keyof typeof OP | 'message', counts: PatternCounts): void {
    this.#events.counted(op);
    counts.events++;
    counts.lastEventAt = this.#committedAt;
  }

  #trace(buffer: Buffer, start: number, end: number): void {
    const traceparent = parseTrace(buffer, start, end);
    if (traceparent !== undefined) this.#sink.trace(traceparent);
    else this.#events.dropped('payload_malformed', 'a sno.trace message in the WAL');
  }

  #publish(buffer: Buffer, start: number, end: number): void {
    const published = parsePublished(buffer, start, end);
    if (published === undefined) {
      this.#events.dropped('payload_malformed', 'a sno.publish message in the WAL');
      return;
    }
    const pattern = this.#views.patternOf(published.channel);
    if (pattern === undefined) {
      this.#events.dropped('channel_unknown', published.channel);
      return;
    }
    const { bytes } = this.#sink;
    const at = bytes.length;
    bytes.copy(buffer, published.start, end);
    this.#count('message', this.#events.countsOf(pattern));
    this.#sink.message(pattern, published.channel, published.event, at, published.except);
  }
}
