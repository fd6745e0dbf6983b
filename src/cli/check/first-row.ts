/**
 * Checks whether the functions that a view calls can run: Postgres resolves the names in their
 * bodies only when it runs them.
 */
import type pg from 'pg';
import type { CatalogAccess, CatalogChannel, ViewSchema } from '../../channels/catalog/catalog.ts';
import { underPath } from '../../channels/catalog/search-path.ts';
import { quoteIdentifier } from '../../postgres/quote.ts';

/** Maximum time for the first row of a view, in ms. */
const FIRST_ROW_MS_MAX = 2_000;
const CANCELED = '57014';

/**
 * Returns a warning if the first row of the view cannot be read under its owner's search_path. An
 * empty view gives no warning. Runs in the caller's transaction and leaves it unchanged.
 */
export async function firstRowFault(
  client: pg.ClientBase,
  schema: ViewSchema,
  { pattern, searchPath, functions }: CatalogChannel | CatalogAccess,
): Promise<readonly string[]> {
  if (!functions.some(({ needsPath }) => needsPath)) return [];
  const view = `${schema}.${quoteIdentifier(pattern)}`;
  await client.query('savepoint sno_first_row');
  try {
    await client.query(`set local search_path = pg_catalog; set local statement_timeout = ${FIRST_ROW_MS_MAX}`);
    await client.query(
      `select row_to_json(v.*)::text from ${underPath(searchPath, functions)} cross join ${view} v limit 1`,
    );
    return [];
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message: string };
    return code === CANCELED ? [] : [`${view} cannot be read under search_path ${searchPath}: ${message}`];
  } finally {
    await client.query('rollback to savepoint sno_first_row');
  }
}
