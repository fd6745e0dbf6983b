/**
 * The results of a channel view for the rows of its table, from Postgres and from the compiled
 * view.
 */
import type { BoundView } from '../../src/channels/channel.ts';
import { RowError } from '../../src/channels/values/row-error.ts';
import type { Tuple } from '../../src/decode/tuple.ts';
import type { TestDatabase } from '../support/postgres.ts';
import { Reading } from './compiled.ts';

/** Stands for a row whose evaluation fails. */
export const ERROR = 'error';
/** Stands for a row that the view does not contain. */
const OUT = 'out';

/** SQL to run once in a database before `postgresAnswers`. */
export const ATTEMPT = `
  create function public.attempt(query text) returns text language plpgsql as $$
  declare answer text; begin execute query into answer; return coalesce(answer, '${OUT}'); exception when others then return '${ERROR}'; end $$`;

/**
 * Postgres's result for each row of the table, by its id. Asks for one row at a time if some cause
 * errors. The view must have the id.
 */
export async function postgresAnswers(database: TestDatabase, view: string, table: string): Promise<string[]> {
  const json = (condition: string) => `select row_to_json(v.*)::text from channels."${view}" v where ${condition}`;
  try {
    const { rows } = await database.query<{ data: string | null }>(
      `select (${json('v.id = t.id')}) as data from ${table} t order by t.id`,
    );
    return rows.map(({ data }) => data ?? OUT);
  } catch {
    const { rows } = await database.query<{ data: string }>(
      `select public.attempt(format($1, id)) as data from ${table} order by id`,
      [json('v.id = %s')],
    );
    return rows.map(({ data }) => data);
  }
}

export function ownAnswer(bound: BoundView, row: Tuple): string {
  try {
    return bound.matches(row) ? new Reading(bound).data(row).data : OUT;
  } catch (error) {
    if (error instanceof RowError) return ERROR;
    throw error;
  }
}
