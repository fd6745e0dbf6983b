/**
 * The search_path for the functions that a view calls: a function body may name tables and
 * functions without a schema.
 *
 * Snö's own sessions and queries look names up in pg_catalog only. So no role can change a query's
 * meaning by a function or operator of the same name. The path is therefore set after Postgres has
 * looked up the query's own names, and before it calls any function. The planner evaluates
 * `sno.under_path()` when it reaches it in FROM.
 */
import { createHash } from 'node:crypto';
import { quoteLiteral } from '../../postgres/quote.ts';
import type { CatalogFunction } from './catalog.ts';

/**
 * Sets the path; must be the first item in FROM of a query that is planned at each run, or that has
 * another text for other functions. `functions`: those that the query calls. A session that has run
 * them with other bodies forgets their plans: Postgres keeps a plan that calls f(anyelement) after
 * f(integer) was created.
 */
export function underPath(path: string, functions: readonly CatalogFunction[]): string {
  const bodies = functions.flatMap(({ body }) => body ?? []);
  const digest = bodies.length === 0 ? '' : `, '${createHash('md5').update(bodies.join()).digest('hex')}'`;
  return `sno.under_path(${quoteLiteral(path)}${digest}) sno_path`;
}

/** Also needed in WHERE of a query whose plan is reused: evaluated first at each run. */
export function stayUnderPath(path: string): string {
  return `(select set_config('search_path', ${quoteLiteral(path)}, true)) is not null`;
}
