/**
 * Reads one channel's rows in one consistent view of the database, as frames of limited size.
 */
import type pg from 'pg';
import type { ResolvedChannel } from '../channels/channel.ts';
import { SnoError } from '../errors.ts';
import { textFrame } from '../frame.ts';
import { Visibility } from './visibility.ts';

export interface SnapshotSink {
  /** Called once, before the first row: what the snapshot sees. False: it is of no use, another must be taken. */
  taken(visibility: Visibility): boolean;
  /** A `snapshot` frame. Resolves when the socket takes the next; false: nobody wants it any more. */
  frame(frame: Buffer): Promise<boolean>;
}

const FRAME_BYTES = 256 * 1024;
const FETCH_ROWS_FIRST = 16;
const FETCH_ROWS_MAX = 5_000;
const STATEMENT_TIMEOUT_MS = 60_000;
/** SQLSTATE classes of a value that its column's type does not take: data exceptions, and constraints of a domain. */
const DATA_EXCEPTION = /^2[23]/;

interface Row {
  readonly sno_key: string;
  readonly sno_data: string;
}

/**
 * Streams the rows to `sink`. True: all were sent; false: they were not wanted or of no use. Throws SnoError: `channel_unknown` for values that their types do
 * not take, `try_again` where the database can't be asked.
 */
export async function readSnapshot(pool: pg.Pool, channel: ResolvedChannel, sink: SnapshotSink): Promise<boolean> {
  const sql = channel.view?.snapshot.sql;
  if (sql === undefined)
    throw new SnoError(
      'snapshot_unavailable',
      `channel ${channel.name} has no rows, it carries published messages only`,
    );
  let client: pg.PoolClient;
  try {
    client = await pool.connect();
  } catch (error) {
    throw new SnoError('try_again', 'the database could not be reached for a snapshot', { cause: error });
  }
  let failure: Error | undefined;
  try {
    await client.query(
      `begin isolation level repeatable read read only; set local statement_timeout = ${STATEMENT_TIMEOUT_MS}`,
    );
    const { rows } = await client.query<{ snapshot: string }>('select pg_current_snapshot()::text as snapshot');
    if (!sink.taken(new Visibility((rows[0] as { snapshot: string }).snapshot))) return false;
    await client.query(`declare sno_snapshot no scroll cursor for ${sql}`, [...channel.values]);
    return await sendRows(client, channel.name, sink);
  } catch (error) {
    failure = error as Error;
    const code = (error as { code?: unknown }).code;
    if (typeof code === 'string' && DATA_EXCEPTION.test(code)) {
      failure = undefined;
      throw new SnoError(
        'channel_unknown',
        `there is no channel ${channel.name}: a value does not fit its column's type`,
      );
    }
    throw new SnoError('try_again', `the snapshot of ${channel.name} could not be read`, { cause: error });
  } finally {
    const ended =
      failure ??
      (await client.query('rollback').then(
        () => undefined,
        (error: Error) => error,
      ));
    client.release(ended);
  }
}

async function sendRows(client: pg.PoolClient, channel: string, sink: SnapshotSink): Promise<boolean> {
  const frames = new RowFrames(channel);
  for (let wanted = FETCH_ROWS_FIRST; ; ) {
    const { rows } = await client.query<Row>(`fetch ${wanted} from sno_snapshot`);
    const isLast = rows.length < wanted;
    let bytes = 0;
    for (const row of rows) {
      bytes += row.sno_data.length + row.sno_key.length;
      const frame = frames.add(row);
      if (frame !== undefined && !(await sink.frame(frame))) return false;
    }
    if (isLast) return sink.frame(frames.last());
    wanted = Math.max(
      1,
      Math.min(FETCH_ROWS_MAX, wanted * 4, Math.floor((FETCH_ROWS_MAX_BYTES * rows.length) / Math.max(1, bytes))),
    );
  }
}

const FETCH_ROWS_MAX_BYTES = 4 * FRAME_BYTES;

class RowFrames {
  readonly #channel: string;
  #rows: string[] = [];
  #bytes = 0;
  #part = 0;

  constructor(channel: string) {
    this.#channel = channel;
  }

  /** Takes a row; returns a frame where there is enough for one. */
  add(row: Row): Buffer | undefined {
    const full = this.#bytes > 0 && this.#bytes + row.sno_data.length > FRAME_BYTES ? this.#frame(false) : undefined;
    const text = `{"key":${row.sno_key},"data":${row.sno_data}}`;
    this.#rows.push(text);
    this.#bytes += text.length;
    return full;
  }

  last(): Buffer {
    return this.#frame(true);
  }

  #frame(isLast: boolean): Buffer {
    this.#part++;
    const frame = textFrame(
      `{"type":"snapshot","channel":"${this.#channel}","rows":[${this.#rows.join(',')}],"part":${this.#part},"last":${isLast}}`,
    );
    this.#rows = [];
    this.#bytes = 0;
    return frame;
  }
}
