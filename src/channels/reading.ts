/** What the parts of the reader of expressions ask of one another. */
import type { Node } from 'libpg-query';
import type { Condition, Value } from './expression.ts';
import type { DefinitionText } from './parse.ts';
import type { Types } from './types.ts';

export interface Reading {
  readonly text: DefinitionText;
  readonly types: Types;
  /** server_version_num */
  readonly version: number;
  /** Of any type. Its bytes may not be its text form (`Value.printed`). */
  value(node: Node): Value;
  /** Of any type, its bytes the text form of the value. */
  shown(node: Node): Value;
  /** Of type boolean. */
  condition(node: Node): Condition;
}
