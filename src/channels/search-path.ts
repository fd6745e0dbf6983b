/**
 * The search_path under which the functions that a view calls run: a body may name tables and functions without a schema.
 *
 * Snö's own sessions look names up in pg_catalog alone, and so do its queries, whose text nobody else may give another
 * meaning to by a function or operator of the same name. The path is therefore set after a query's own names have been
 * looked up, and before anything is called: the planner computes `sno.under_path()` when it comes to it in FROM.
 */
import { quoteLiteral } from '../postgres/quote.ts';

/** To stand first in FROM of a query that is planned each time that it runs. */
export function underPath(path: string): string {
  return `sno.under_path(${quoteLiteral(path)}) sno_path`;
}

/** To stand in WHERE too, of a query whose plan is kept: evaluated before all else each time that it runs. */
export function stayUnderPath(path: string): string {
  return `(select set_config('search_path', ${quoteLiteral(path)}, true)) is not null`;
}
