/**
 * Refuses types whose values cannot be kept correct: their printed text can change without a commit
 * to the table, or the WAL lacks a part of it.
 */
import { readableName } from '../../postgres/quote.ts';
import type { CatalogChannel, CatalogTableColumn } from '../catalog/catalog.ts';
import type { Pattern } from '../catalog/pattern.ts';
import { nameOf, walk } from '../sql/node.ts';
import { Unsupported } from '../sql/unsupported.ts';
import type { ParsedView } from '../sql/view.ts';
import { isNaming, isXml, jsonCastIn, type Types, type ValueType } from '../values/types.ts';

/**
 * Throws Unsupported if a column of the view, a placeholder or the key has such a type. Applies
 * wherever the view is evaluated.
 */
export function refuseTypes(
  channel: CatalogChannel,
  pattern: Pattern,
  key: readonly CatalogTableColumn[],
  parsed: ParsedView,
  types: Types,
): void {
  for (const [index, { name, typeOid }] of channel.columns.entries()) {
    const type = types.byOid(typeOid);
    const reason = castFault(type) ?? (pattern.columns.includes(name) ? placeholderFault(name, type) : undefined);
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

/** Throws Unsupported if Postgres would have to parse such values from their text in the WAL. */
export function refuseRemoteTypes(parsed: ParsedView, used: readonly CatalogTableColumn[], types: Types): void {
  const naming = used.find(({ typeOid }) => isNaming(types.byOid(typeOid)));
  if (naming !== undefined)
    throw new Unsupported(
      `${readableName(naming.name)} is of type ${naming.type}, which prints as the name of an object: Postgres would look the name up again ` +
        'after the commit. Show the column unchanged, in a view without expressions that only Postgres can evaluate',
    );
  const xml = new Set(used.filter(({ typeOid }) => isXml(types.byOid(typeOid))).map(({ name }) => name));
  const expressions = parsed.targets.map(({ value }) => value).filter((value) => !('ColumnRef' in value));
  for (const expression of parsed.where === undefined ? expressions : [...expressions, parsed.where])
    walk(expression, (kind, inner) => {
      const column = kind === 'ColumnRef' ? nameOf((inner as { readonly fields?: [] }).fields) : '';
      if (xml.has(column)) throw parsed.text.refuse(`${UNDECLARED}: show the column unchanged`, inner);
    });
}

const IMMUTABLE = 'i';

function castFault(type: ValueType): string | undefined {
  const cast = jsonCastIn(type);
  if (cast === undefined || cast.jsonCast === IMMUTABLE) return undefined;
  return (
    `${cast.name} is shown by a cast to json whose function is not immutable, so its result can change without a commit ` +
    'to the table; if the function is immutable, declare it so'
  );
}

const UNDECLARED = 'xml is stored with its declaration, which the WAL does not contain';

function placeholderFault(name: string, type: ValueType): string | undefined {
  const isDeclared = isXml(type) && type.kind === 'other';
  return isDeclared ? `${UNDECLARED}: {${name}} cannot be read from a row of the WAL` : namingFault(`{${name}}`, type);
}

function namingFault(what: string, type: ValueType): string | undefined {
  if (!isNaming(type)) return undefined;
  return `${what} is of type ${type.name}, which prints as the name of an object: that can be renamed without a commit to the table`;
}
