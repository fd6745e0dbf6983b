/** Evaluating a view over a row failed, as it would in a query: whoever reads that row through the view gets an error. */
export class RowError extends Error {
  override readonly name = 'RowError';
}
