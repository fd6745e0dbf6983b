/**
 * Rows as the walsender sends them: through the stream, the decoder, and views bound to the tables
 * as the WAL describes them.
 */
import type { BoundView, ChannelView } from '../../src/channels/channel.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import type { ChangeHandler } from '../../src/decode/change.ts';
import { PgoutputDecoder } from '../../src/decode/pgoutput.ts';
import type { Relation } from '../../src/decode/relation.ts';
import type { Tuple } from '../../src/decode/tuple.ts';
import { SnoError } from '../../src/errors.ts';
import type { Lsn } from '../../src/lsn.ts';
import type { TestDatabase } from '../support/postgres.ts';
import { streamOf } from '../wal/consumer.ts';

export interface WalRow {
  readonly bound: BoundView;
  readonly op: 'insert' | 'update' | 'delete';
  /** Only valid during the call. */
  readonly oldRow: Tuple | undefined;
  readonly newRow: Tuple | undefined;
}

export interface WalRows {
  /** Number of rows passed on so far. */
  readonly count: number;
  /** The first error. */
  readonly error: unknown;
  stop(): Promise<void>;
}

/**
 * Streams from the database's own slot, which it creates, and passes on every row of the views'
 * tables.
 */
export async function walRows(
  database: TestDatabase,
  views: () => readonly ChannelView[],
  onRow: (row: WalRow) => void,
): Promise<WalRows> {
  let count = 0;
  let error: unknown;
  let head: Lsn = 0;
  const bounds = new Map<number, BoundView>();
  const hand = (op: WalRow['op'], { oid }: Relation, oldRow: Tuple | undefined, newRow: Tuple | undefined) => {
    onRow({ op, bound: bounds.get(oid) as BoundView, oldRow, newRow });
    count++;
  };
  const handler: ChangeHandler = {
    begin: () => undefined,
    relation(relation) {
      const view = views().find(({ source }) => source === relation.oid);
      relation.wanted = view !== undefined;
      const bound = view?.bind(relation, new RemoteAnswers());
      if (bound instanceof SnoError) throw bound;
      if (bound !== undefined) bounds.set(relation.oid, bound);
    },
    insert: (relation, newRow) => hand('insert', relation, undefined, newRow),
    update: (relation, oldRow, newRow) => hand('update', relation, oldRow, newRow),
    delete: (relation, oldRow) => hand('delete', relation, oldRow, undefined),
    truncate: () => undefined,
    message: () => undefined,
    commit: (end) => {
      head = end;
    },
  };
  const decoder = new PgoutputDecoder(handler);
  const { stream } = streamOf(database, {
    handler: {
      started: async () => decoder.reset(),
      message(buffer, start, end) {
        try {
          decoder.message(buffer, start, end);
        } catch (cause) {
          error ??= cause;
        }
      },
      keepalive: () => undefined,
      flush: () => undefined,
    },
    acknowledger: { written: () => head, flushed: () => head },
    onBug: (cause) => {
      error ??= cause;
    },
  });
  await stream.start();
  return {
    get count() {
      return count;
    },
    get error() {
      return error;
    },
    stop: () => stream.stop(),
  };
}
