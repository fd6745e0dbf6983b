/** A channel pattern: the name of a channel view or access view (design: "The SQL contract"). */
export interface Pattern {
  /** The view's name: `project:{project_id}`. */
  readonly text: string;
  /** Names of the columns that the placeholders name, in order. */
  readonly columns: readonly string[];
  /** The literal text before, between and after the placeholders: one more than `columns`. */
  readonly literals: readonly string[];
}
