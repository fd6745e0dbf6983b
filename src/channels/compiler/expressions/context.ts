/** The interface between the parts of the expression reader. */
import type { Node } from 'libpg-query';
import type { Condition, Value } from '../../evaluation/expression.ts';
import type { DefinitionText } from '../../sql/definition-text.ts';
import type { Types } from '../../values/types.ts';

export interface ExpressionContext {
  readonly text: DefinitionText;
  readonly types: Types;
  /** server_version_num. */
  readonly version: number;
  /** A value of any type. Its bytes may not be its text form (`Value.printed`). */
  value(node: Node): Value;
  /** A value of any type, whose bytes are its text form. */
  shown(node: Node): Value;
  /** A condition, of type boolean. */
  condition(node: Node): Condition;
}
