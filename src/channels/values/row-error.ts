/**
 * Evaluating a view over a row failed, as it would in a query: reading that row through the view
 * raises an error.
 */
export class RowError extends Error {
  override readonly name = 'RowError';
}
