/**
 * The evaluation of a view on a row failed: a query that reads the row through the view raises an
 * error too.
 */
export class RowError extends Error {
  override readonly name = 'RowError';
}
