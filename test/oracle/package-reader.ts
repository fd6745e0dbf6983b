/** Assembles commits from pgoutput's messages as pg-logical-replication decodes them. */
import type { Pgoutput } from 'pg-logical-replication';
import type { Row } from './model.ts';
import { bytesOf, type RowChange, type WalCommit } from './wal.ts';

export class PackageReader {
  #xid = 0;
  #changes: RowChange[] = [];

  /** Takes one message; returns the commit that it ends. */
  take(message: Pgoutput.Message): WalCommit | undefined {
    switch (message.tag) {
      case 'begin':
        // The package reads it as a signed number.
        this.#xid = message.xid >>> 0;
        this.#changes = [];
        return undefined;
      case 'insert':
        this.#change(message, undefined, rowOf(message.new));
        return undefined;
      case 'update':
        // Every table of the oracle has REPLICA IDENTITY FULL.
        this.#change(message, rowOf(message.old), rowOf(message.new));
        return undefined;
      case 'delete':
        this.#change(message, rowOf(message.old), undefined);
        return undefined;
      case 'commit': {
        const commit = { lsn: bytesOf(message.commitEndLsn ?? '0/0'), xid: this.#xid, changes: this.#changes };
        this.#changes = [];
        return commit;
      }
      default:
        return undefined;
    }
  }

  #change({ relation }: { readonly relation: Pgoutput.MessageRelation }, before?: Row, after?: Row): void {
    this.#changes.push({ table: relation.name, before, after });
  }
}

function rowOf(tuple: Readonly<Record<string, unknown>> | null): Row {
  if (tuple === null) throw new Error('the package returns no row');
  // The package's rows have no prototype.
  const row = { ...tuple };
  for (const [column, value] of Object.entries(row))
    if (value !== null && typeof value !== 'string') throw new Error(`${column} is ${typeof value}, not text or null`);
  return row as Row;
}
