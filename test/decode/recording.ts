/**
 * pgoutput messages of a real server, recorded through a slot, and the decoder's events for them.
 */
import type { ChangeHandler } from '../../src/decode/change.ts';
import { PgoutputDecoder } from '../../src/decode/pgoutput.ts';
import type { Relation } from '../../src/decode/relation.ts';
import { NULL, type Tuple, UNCHANGED } from '../../src/decode/tuple.ts';
import { formatLsn } from '../../src/lsn.ts';
import type { TestDatabase } from '../support/postgres.ts';

export interface Recording {
  /** Returns the messages of all commits since the last call. */
  take(): Promise<Buffer[]>;
}

/** Starts recording all tables of `publication`. */
export async function record(database: TestDatabase, publication: string): Promise<Recording> {
  const slot = `record_${database.name}`;
  await database.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  const options = "'proto_version', '1', 'publication_names', $2, 'messages', 'true'";
  const sql = `select data from pg_logical_slot_get_binary_changes($1, null, null, ${options})`;
  return {
    async take() {
      return (await database.query<{ data: Buffer }>(sql, [slot, publication])).rows.map(({ data }) => data);
    },
  };
}

/** A row by its columns' names: text, null, or undefined for an unchanged TOASTed value. */
export type Row = Record<string, string | null | undefined>;

export type Event =
  | { readonly kind: 'begin'; readonly xid: number; readonly lsn: string; readonly at: number }
  | { readonly kind: 'commit'; readonly lsn: string }
  | { readonly kind: 'relation'; readonly relation: Relation }
  | { readonly kind: 'insert'; readonly table: string; readonly row: Row }
  | {
      readonly kind: 'update';
      readonly table: string;
      readonly old?: Row;
      readonly keyOnly?: boolean;
      readonly row: Row;
    }
  | { readonly kind: 'delete'; readonly table: string; readonly old: Row; readonly keyOnly: boolean }
  | { readonly kind: 'truncate'; readonly tables: readonly string[] }
  | { readonly kind: 'message'; readonly prefix: string; readonly lsn: string; readonly content: Buffer };

/** Records each call of the decoder, and copies its bytes. */
export class Events implements ChangeHandler {
  readonly list: Event[] = [];

  begin(xid: number, lsn: number, at: number): void {
    this.list.push({ kind: 'begin', xid, lsn: formatLsn(lsn), at });
  }

  commit(lsn: number): void {
    this.list.push({ kind: 'commit', lsn: formatLsn(lsn) });
  }

  relation(relation: Relation): void {
    this.list.push({ kind: 'relation', relation });
  }

  insert(relation: Relation, row: Tuple): void {
    this.list.push({ kind: 'insert', table: relation.name, row: rowOf(relation, row) });
  }

  update(relation: Relation, old: Tuple | undefined, row: Tuple): void {
    const before = old === undefined ? {} : { old: rowOf(relation, old), keyOnly: old.keyOnly };
    this.list.push({ kind: 'update', table: relation.name, ...before, row: rowOf(relation, row) });
  }

  delete(relation: Relation, old: Tuple): void {
    this.list.push({ kind: 'delete', table: relation.name, old: rowOf(relation, old), keyOnly: old.keyOnly });
  }

  truncate(relations: readonly Relation[]): void {
    this.list.push({ kind: 'truncate', tables: relations.map(({ name }) => name) });
  }

  message(prefix: string, lsn: number, buffer: Buffer, start: number, end: number): void {
    this.list.push({ kind: 'message', prefix, lsn: formatLsn(lsn), content: Buffer.from(buffer.subarray(start, end)) });
  }
}

export const UNSENT = undefined;

function rowOf({ columns }: Relation, { buffer, kinds, starts, ends }: Tuple): Row {
  const value = (column: number) => {
    if (kinds[column] === NULL) return null;
    return kinds[column] === UNCHANGED ? UNSENT : buffer.toString('utf8', starts[column], ends[column]);
  };
  return Object.fromEntries(columns.map(({ name }, column) => [name, value(column)]));
}

/** Decodes messages as the stream passes them: each is a part of a larger buffer. */
export function decodeAll(messages: readonly Buffer[], decoder: PgoutputDecoder): void {
  const padding = Buffer.from('tIUD\0\0\0\u0001');
  for (const message of messages) {
    const buffer = Buffer.concat([padding, message, padding]);
    decoder.message(buffer, padding.length, padding.length + message.length);
  }
}

/** Returns the events of a new decoder for these messages. */
export function eventsOf(messages: readonly Buffer[]): Event[] {
  const events = new Events();
  decodeAll(messages, new PgoutputDecoder(events));
  return events.list;
}
