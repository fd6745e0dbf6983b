/**
 * The search_path for the functions that a view calls: a function body may name tables and
 * functions without a schema.
 *
 * Snö's own sessions and queries look names up in pg_catalog only. So no role can change a query's
 * meaning by a function or operator of the same name. The path is therefore set after Postgres has
 * looked up the query's own names, and before it calls any function. The planner evaluates
 * `sno.under_path()` when it reaches it in FROM.
 */
import { quoteLiteral } from '../../postgres/quote.ts';

/** Sets the path; must be the first item in FROM of a query that is planned at each run. */
export function underPath(path: string): string {
  return `sno.under_path(${quoteLiteral(path)}) sno_path`;
}

/** Also needed in WHERE of a query whose plan is reused: evaluated first at each run. */
export function stayUnderPath(path: string): string {
  return `(select set_config('search_path', ${quoteLiteral(path)}, true)) is not null`;
}
