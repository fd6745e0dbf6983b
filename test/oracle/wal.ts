/**
 * The commits in the WAL, and a reader of pgoutput (Postgres docs, "Logical Replication Message
 * Formats") that shares no code with the server's. The tap reads each message with
 * pg-logical-replication (package-reader.ts) and with this reader.
 */
import type { Row } from './model.ts';

export interface RowChange {
  readonly table: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

export interface WalCommit {
  /** End of the commit record, in bytes from the start of the WAL. */
  readonly lsn: number;
  /** A 32-bit number. */
  readonly xid: number;
  readonly changes: readonly RowChange[];
}

/** Converts `16/B374D848` to a number of bytes. */
export function bytesOf(lsn: string): number {
  const [high, low] = lsn.split('/') as [string, string];
  return Number.parseInt(high, 16) * 2 ** 32 + Number.parseInt(low, 16);
}

/** The inverse of `bytesOf`. */
export function lsnOf(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 32).toString(16)}/${(bytes % 2 ** 32).toString(16)}`;
}

interface Relation {
  readonly table: string;
  readonly columns: readonly string[];
}

/** Assembles pgoutput's messages into commits. */
export class WalReader {
  readonly #relations = new Map<number, Relation>();
  #xid = 0;
  #changes: RowChange[] = [];

  /** Takes one message. Returns the commit if the message ends it. */
  take(message: Buffer): WalCommit | undefined {
    const at = new Cursor(message);
    switch (String.fromCharCode(at.byte())) {
      case 'B':
        at.skip(16);
        this.#xid = at.int32();
        this.#changes = [];
        return undefined;
      case 'R':
        this.#relation(at);
        return undefined;
      case 'I': {
        const relation = this.#relationOf(at);
        at.skip(1);
        this.#change(relation, undefined, row(at, relation, undefined));
        return undefined;
      }
      case 'U': {
        const relation = this.#relationOf(at);
        // all oracle tables have REPLICA IDENTITY FULL, so the WAL always has the old row
        at.skip(1);
        const before = row(at, relation, undefined);
        at.skip(1);
        this.#change(relation, before, row(at, relation, before));
        return undefined;
      }
      case 'D': {
        const relation = this.#relationOf(at);
        at.skip(1);
        this.#change(relation, row(at, relation, undefined), undefined);
        return undefined;
      }
      case 'C': {
        at.skip(9);
        const commit = { lsn: at.int64(), xid: this.#xid, changes: this.#changes };
        this.#changes = [];
        return commit;
      }
      default:
        return undefined;
    }
  }

  #relation(at: Cursor): void {
    const oid = at.int32();
    at.text();
    const table = at.text();
    at.skip(1);
    const columns = Array.from({ length: at.int16() }, () => {
      at.skip(1);
      const name = at.text();
      at.skip(8);
      return name;
    });
    this.#relations.set(oid, { table, columns });
  }

  #relationOf(at: Cursor): Relation {
    const oid = at.int32();
    const relation = this.#relations.get(oid);
    if (relation === undefined) throw new Error(`pgoutput has not described relation ${oid}`);
    return relation;
  }

  #change({ table }: Relation, before: Row | undefined, after: Row | undefined): void {
    this.#changes.push({ table, before, after });
  }
}

function row(at: Cursor, { columns }: Relation, before: Row | undefined): Row {
  const count = at.int16();
  if (count !== columns.length) throw new Error(`a tuple of ${count} columns where there are ${columns.length}`);
  return Object.fromEntries(columns.map((column) => [column, value(at, before?.[column])]));
}

function value(at: Cursor, unchanged: string | null | undefined): string | null {
  switch (String.fromCharCode(at.byte())) {
    case 'n':
      return null;
    case 't':
      return at.bytes(at.int32());
    case 'u':
      if (unchanged === undefined) throw new Error('a value is marked as unchanged, but the old row is missing');
      return unchanged;
    default:
      throw new Error('a value is neither null, nor text, nor unchanged');
  }
}

class Cursor {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  skip(count: number): void {
    this.#at += count;
  }

  byte(): number {
    return this.#buffer.readUInt8(this.#at++);
  }

  int16(): number {
    this.#at += 2;
    return this.#buffer.readUInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.#buffer.readUInt32BE(this.#at - 4);
  }

  int64(): number {
    this.#at += 8;
    return Number(this.#buffer.readBigUInt64BE(this.#at - 8));
  }

  bytes(count: number): string {
    this.#at += count;
    return this.#buffer.toString('utf8', this.#at - count, this.#at);
  }

  /** Reads up to a NUL. */
  text(): string {
    const end = this.#buffer.indexOf(0, this.#at);
    const text = this.#buffer.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return text;
  }
}
