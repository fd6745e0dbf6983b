/** Reads the columns of a view as values that this process computes. */
import { SnoError } from '../../errors.ts';
import type { CatalogChannel, CatalogServer, CatalogTableColumn } from '../catalog/catalog.ts';
import type { ViewPlan } from '../evaluation/bound-view.ts';
import { columnsOf, columnsOfCondition, type Source, type Value } from '../evaluation/expression.ts';
import { Unsupported } from '../sql/unsupported.ts';
import type { ParsedView } from '../sql/view.ts';
import { jsonCastIn, TEXT_TYPE, type Types, type ValueType } from '../values/types.ts';
import { castTo } from './expressions/cast.ts';
import type { ExpressionReader } from './expressions/read-expression.ts';

type Outputs = ViewPlan['outputs'];

/** Throws Unsupported for a value that this process cannot print as Postgres does. */
export function readOutputs(
  channel: CatalogChannel,
  parsed: ParsedView,
  reader: ExpressionReader,
  types: Types,
): Outputs {
  return channel.columns.map((column, index) => ({
    name: column.name,
    value: outputOf(parsed, reader, index, types.byOid(column.typeOid)),
  }));
}

function outputOf(parsed: ParsedView, reader: ExpressionReader, index: number, declared: ValueType): Value {
  const target = parsed.targets[index];
  if (target === undefined) throw new Unsupported('its columns do not match its definition');
  const value = reader.shown(target.value);
  const { type } = value;
  const cast = jsonCastIn(type);
  if (cast !== undefined)
    throw parsed.text.refuse(`values of ${cast.name} are shown by their cast to json`, target.value);
  if (type.kind !== declared.kind)
    throw parsed.text.refuse(`this is of type ${declared.name}, but was understood as ${type.name}`, target.value);
  return value;
}

/** The placeholder's value: its column cast to text. */
export function placeholderOf(parsed: ParsedView, channel: CatalogChannel, outputs: Outputs, name: string): Source {
  const index = channel.columns.findIndex((column) => column.name === name);
  const { value } = outputs[index] as Outputs[number];
  const text = castTo(value, TEXT_TYPE);
  if (text !== undefined) return text.source;
  throw parsed.text.refuse(
    `the placeholder {${name}} is of type ${value.type.name}, whose cast to text differs from its stored text`,
    parsed.targets[index]?.value ?? {},
  );
}

/** Throws Unsupported for databases and functions whose results here may differ from Postgres's. */
export function refuseForeign(channel: CatalogChannel, server: CatalogServer): void {
  // characters and their order depend on the database's encoding
  if (server.encoding !== 'UTF8')
    throw new Unsupported(`databases of encoding ${server.encoding} are not supported yet`);
  // a cast may call such a function, though it looks like a built-in cast
  const foreign = channel.functions.find(({ builtin }) => !builtin);
  if (foreign !== undefined) throw new Unsupported(`the function ${foreign.name}() is not supported yet`);
}

export function columnsOfPlan({ outputs, where }: ViewPlan): readonly CatalogTableColumn[] {
  return [
    ...outputs.flatMap(({ value }) => columnsOf(value)),
    ...(where === undefined ? [] : columnsOfCondition(where)),
  ];
}

export function orThrow<T>(result: T | SnoError): T {
  if (result instanceof SnoError) throw result;
  return result;
}
