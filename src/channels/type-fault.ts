/**
 * Types whose values cannot be kept right, whoever evaluates the view: what they print can change without a commit to
 * the table.
 */
import { readableName } from '../postgres/quote.ts';
import type { CatalogChannel, CatalogTableColumn } from './catalog.ts';
import { type ParsedView, Unsupported } from './parse.ts';
import type { Pattern } from './pattern.ts';
import { isNaming, jsonCastIn, type Types, type ValueType } from './types.ts';

/** Throws Unsupported where a column of the view, a placeholder or the key is of such a type. */
export function refuseTypes(
  channel: CatalogChannel,
  pattern: Pattern,
  key: readonly CatalogTableColumn[],
  parsed: ParsedView,
  types: Types,
): void {
  for (const [index, { name, typeOid }] of channel.columns.entries()) {
    const type = types.byOid(typeOid);
    const reason = castFault(type) ?? (pattern.columns.includes(name) ? namingFault(`{${name}}`, type) : undefined);
    if (reason !== undefined) throw parsed.text.refuse(reason, parsed.targets[index]?.value ?? {});
  }
  for (const { name, typeOid } of key) {
    const type = types.byOid(typeOid);
    const column = `the key column ${readableName(name)}`;
    const cast = jsonCastIn(type);
    const reason =
      cast === undefined
        ? namingFault(column, type)
        : `${column} is shown by a cast to json of ${cast.name}, not by its text`;
    if (reason !== undefined) throw new Unsupported(reason);
  }
}

const IMMUTABLE = 'i';

function castFault(type: ValueType): string | undefined {
  const cast = jsonCastIn(type);
  if (cast === undefined || cast.jsonCast === IMMUTABLE) return undefined;
  return (
    `${cast.name} is shown by a cast to json whose function is not immutable, so what it gives can change without a commit ` +
    'to the table; declare the function immutable, where it is'
  );
}

function namingFault(what: string, type: ValueType): string | undefined {
  if (!isNaming(type)) return undefined;
  return `${what} is of type ${type.name}, which prints as the name of something: that can be renamed without a commit to the table`;
}
