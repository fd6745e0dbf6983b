/** Common to the answers of the admin API. See ../types.ts. */

/** The body of each answer with a status of 400 or more. */
export interface ApiProblem {
  /** A code of docs/errors.md. */
  readonly code: string;
  readonly message: string;
}

/** Common to lists. `offset` and `limit` of the request choose a part. */
export interface Page {
  /** Number of items that match the request. */
  readonly total: number;
  readonly offset: number;
  readonly limit: number;
}
