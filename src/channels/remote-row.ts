/**
 * A table's row for Postgres to evaluate, made of the texts that the WAL brings: each value has its column's type,
 * length or precision and collation, as it has in the table.
 */
import { quoteIdentifier } from '../postgres/quote.ts';
import type { CatalogFunction, CatalogTable, CatalogTableColumn, CatalogType } from './catalog.ts';
import { Unsupported } from './parse.ts';

export interface RemoteRowParts {
  /** The name of the row in the view. */
  readonly alias: string;
  /** Columns whose texts are sent. */
  readonly columns: readonly CatalogTableColumn[];
  /** Columns to be computed from them. */
  readonly generated: readonly CatalogTableColumn[];
  /** The table, where the view names its row as a whole: then its row is made, of all columns. */
  readonly whole: CatalogTable | undefined;
  /** The functions that the view calls. */
  readonly functions: readonly CatalogFunction[];
  readonly types: readonly CatalogType[];
}

export interface RemoteRow {
  /** What stands in FROM. The text of the n-th column is `u.cN`. */
  readonly sql: string;
  /**
   * The same without domains, which no constraint of a domain can fail: a value that a table holds may break one (that was
   * added NOT VALID, or calls a function that was replaced). Undefined where that makes no difference, or could make another.
   */
  readonly unchecked: string | undefined;
  /** Of each column whether its text goes as the one element of an array's text. */
  readonly asElement: readonly boolean[];
}

/** Throws Unsupported for a column whose values cannot be made of their texts. */
export function remoteRow(parts: RemoteRowParts): RemoteRow {
  const types = new Map(parts.types.map((type) => [type.oid, type]));
  const asElement = parts.columns.map((column) => isElement(column, types));
  const sql = rowOf(parts, asElement, ({ type }) => type);
  const plain = rowOf(parts, asElement, ({ type, typeOid }) => plainType(typeOid, types) ?? type);
  const unchecked = plain === sql || needsDomains(parts, types) ? undefined : plain;
  return { sql, unchecked, asElement };
}

/** `typeOf` says as what type the view is to see a column. */
function rowOf(
  { columns, generated, whole, alias }: RemoteRowParts,
  asElement: readonly boolean[],
  typeOf: (column: CatalogTableColumn) => string,
): string {
  const told = columns.map((column, index) => {
    const type = typeOf(column);
    const value = asElement[index] === true ? `(u.c${index}::${type}[])[1]` : `u.c${index}::${type}`;
    return `${collated(value, column)} as ${quoteIdentifier(column.name)}`;
  });
  const made = new Map(
    generated.map((column) => [column.name, collated(`(${column.expression})::${typeOf(column)}`, column)]),
  );
  const row = `(select ${told.join(', ')}) b`;
  if (whole === undefined) {
    const added = [...made].map(([name, expression]) => `, ${expression} as ${quoteIdentifier(name)}`);
    return `(select b.*${added.join('')} from ${row}) ${quoteIdentifier(alias)}`;
  }
  // not a record: functions may take the table's row type
  const values = whole.columns.map(({ name }) => made.get(name) ?? `b.${quoteIdentifier(name)}`);
  const type = `${quoteIdentifier(whole.schema)}.${quoteIdentifier(whole.name)}`;
  return `(select row(${values.join(', ')})::${type} as sno_row from ${row}) w, unnest(array[w.sno_row]) ${quoteIdentifier(alias)}`;
}

/** In a subquery's target list this is the collation of its column, which gives way to others as a table's does. */
function collated(value: string, { collation }: CatalogTableColumn): string {
  return collation === null ? value : `(${value}) collate ${collation}`;
}

type TypesByOid = ReadonlyMap<number, CatalogType>;

/**
 * A cast of text to some types is another function than their input, which reads what the WAL brings. The elements of an
 * array are always read by the input function of their type.
 */
function isElement({ name, typeOid }: CatalogTableColumn, types: TypesByOid): boolean {
  const type = baseOf(typeOid, types);
  if (type?.castOfText !== true) return false;
  if (type.element === 0 && !type.castOfTextToArray) return true;
  throw new Unsupported(
    `the column ${quoteIdentifier(name)} is of type ${type.name}, to which text is cast by a function: Postgres cannot be given its values`,
  );
}

/** The type below all domains. */
function baseOf(oid: number, types: TypesByOid): CatalogType | undefined {
  const type = types.get(oid);
  return type === undefined || type.base === 0 ? type : baseOf(type.base, types);
}

/** The type without its domains, as SQL; undefined where there are none. */
function plainType(oid: number, types: TypesByOid): string | undefined {
  const type = types.get(oid);
  if (type === undefined) return undefined;
  if (type.base !== 0) return plainType(type.base, types) ?? type.baseType ?? undefined;
  if (type.element === 0) return undefined;
  // a domain over arrays has no array type of its base
  if (isArray(baseOf(type.element, types))) return undefined;
  const element = plainType(type.element, types);
  return element === undefined ? undefined : `${element}[]`;
}

function isArray(type: CatalogType | undefined): boolean {
  return type !== undefined && type.element !== 0;
}

/** Whether the view's answers may depend on that values are of a domain. Built-in functions take no notice of domains. */
function needsDomains({ columns, generated, whole, functions }: RemoteRowParts, types: TypesByOid): boolean {
  // what generated columns call is not known
  if (whole !== undefined || generated.length > 0) return true;
  const names = new Set(columns.flatMap(({ typeOid }) => domainNames(typeOid, types)));
  return functions.some(
    ({ builtin, arguments: taken }) => !builtin && taken.some((name) => name.startsWith('any') || names.has(name)),
  );
}

/** The names of the domains in a type, and of their arrays. */
function domainNames(oid: number, types: TypesByOid): readonly string[] {
  const type = types.get(oid);
  if (type === undefined) return [];
  const inner = [type.base, type.element].filter((each) => each !== 0).flatMap((each) => domainNames(each, types));
  return type.base === 0 ? inner : [type.name, `_${type.name}`, ...inner];
}
