/** Asks Postgres to evaluate rows for a view. */
import type pg from 'pg';
import type { RemoteQuery } from './channel.ts';
import type { RemoteAnswer } from './remote-answers.ts';
import { RowError } from './row-error.ts';

type ResultRow = Readonly<Record<string, string | null>>;

export interface RemoteAskOptions {
  readonly pool: pg.Pool;
  /** Resolves when it is time for another try. */
  readonly pause: (attempt: number) => Promise<void>;
  /** Hears of a try that failed for another reason than the rows. */
  readonly onUnreachable: (error: Error) => void;
}

/** SQLSTATE classes that say something of the connection or the server, not of the question. */
const TRANSIENT = /^(08|25|40|53|55|57|58|XX)/;
/** Something that the view uses is not there (any more): no row can be evaluated. */
const UNDEFINED = /^(42|3F|0A)/;

/**
 * One answer a row, in order; `parameters` are arrays of the same length. Tries again, for as long as it takes, where Postgres can't be
 * reached: without the answer nothing may go on. Rows whose evaluation fails get a RowError each, and harm no others.
 */
export async function askRemote(
  options: RemoteAskOptions,
  query: RemoteQuery,
  parameters: readonly (readonly unknown[])[],
): Promise<readonly RemoteAnswer[]> {
  const count = parameters[0]?.length ?? 0;
  for (let attempt = 1; ; attempt++) {
    try {
      const { rows } = await options.pool.query<ResultRow>(query.sql, parameters as unknown[]);
      return rows.map((row) => answerOf(row, query.valueCount));
    } catch (error) {
      const { code, message } = error as { code?: unknown; message: string };
      if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code) || TRANSIENT.test(code)) {
        options.onUnreachable(error as Error);
        await options.pause(attempt);
        continue;
      }
      if (count === 1 || UNDEFINED.test(code)) return Array.from({ length: count }, () => new RowError(message));
      const half = count >>> 1;
      const first = await askRemote(
        options,
        query,
        parameters.map((array) => array.slice(0, half)),
      );
      return [
        ...first,
        ...(await askRemote(
          options,
          query,
          parameters.map((array) => array.slice(half)),
        )),
      ];
    }
  }
}

function answerOf(row: ResultRow, valueCount: number): RemoteAnswer {
  if (row['sno_in'] === null) return undefined;
  const data = row['sno_data'];
  const placeholders = Array.from({ length: valueCount }, (_, index) => {
    const value = row[`sno_v${index}`];
    return value == null ? null : Buffer.from(value);
  });
  return { placeholders, data: data == null ? null : Buffer.from(data) };
}
