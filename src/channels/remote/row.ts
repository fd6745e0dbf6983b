/**
 * Writes the SQL that builds a table's row from the texts in the WAL. Each value gets its column's
 * type, length or precision, and collation, as in the table.
 */
import { quoteIdentifier } from '../../postgres/quote.ts';
import type { CatalogFunction, CatalogTable, CatalogTableColumn, CatalogType } from '../catalog/catalog.ts';
import { Unsupported } from '../sql/unsupported.ts';

export interface RemoteRowParts {
  /** The name of the row in the view. */
  readonly alias: string;
  /** Columns whose texts are sent. */
  readonly columns: readonly CatalogTableColumn[];
  /** Columns that are computed from them. */
  readonly generated: readonly CatalogTableColumn[];
  /**
   * Set if a left join may find no row: one of `columns` that is NULL only then. The generated
   * columns are NULL then too.
   */
  readonly key?: CatalogTableColumn | undefined;
  /**
   * The table, if the view names its row as a whole. The row is then built with the table's row
   * type, from all columns.
   */
  readonly whole: CatalogTable | undefined;
  /** The functions that the view calls. */
  readonly functions: readonly CatalogFunction[];
  readonly types: readonly CatalogType[];
  /** The number of the first column: its text is `u.cN`. */
  readonly first: number;
}

export interface RemoteRow {
  /** The item for FROM. */
  readonly sql: string;
  /**
   * The same without domains, so that no constraint of a domain can fail. A stored value may
   * violate a constraint that was added NOT VALID, or that calls a function that was replaced.
   *
   * Undefined if the row has no domains, or if leaving them out could change the result.
   */
  readonly unchecked: string | undefined;
  /** For each column, whether its text is sent as the only element of an array's text. */
  readonly asElement: readonly boolean[];
}

/** Throws Unsupported for a column whose values cannot be built from their texts. */
export function remoteRow(parts: RemoteRowParts): RemoteRow {
  const types = new Map(parts.types.map((type) => [type.oid, type]));
  const asElement = parts.columns.map((column) => isElement(column, types));
  const sql = rowOf(parts, asElement, ({ type }) => type);
  const plain = rowOf(parts, asElement, ({ type, typeOid }) => plainType(typeOid, types) ?? type);
  const unchecked = plain === sql || needsDomains(parts, types) ? undefined : plain;
  return { sql, unchecked, asElement };
}

/** `typeOf` returns the SQL type of a column in the built row. */
function rowOf(
  { columns, generated, key, whole, alias, first }: RemoteRowParts,
  asElement: readonly boolean[],
  typeOf: (column: CatalogTableColumn) => string,
): string {
  const given = columns.map((column, index) => {
    const type = typeOf(column);
    const text = `u.c${first + index}`;
    const value = asElement[index] === true ? `(${text}::${type}[])[1]` : `${text}::${type}`;
    return `${collated(value, column)} as ${quoteIdentifier(column.name)}`;
  });
  const computed = ({ expression }: CatalogTableColumn) =>
    // not IS NULL, which a row of NULLs is as well
    key === undefined
      ? expression
      : `case when b.${quoteIdentifier(key.name)} is distinct from null then ${expression} end`;
  const made = new Map(
    generated.map((column) => [column.name, collated(`(${computed(column)})::${typeOf(column)}`, column)]),
  );
  const row = `(select ${given.join(', ')}) b`;
  if (whole === undefined) {
    const added = [...made].map(([name, expression]) => `, ${expression} as ${quoteIdentifier(name)}`);
    return `(select b.*${added.join('')} from ${row}) ${quoteIdentifier(alias)}`;
  }
  // not a record: functions may take the table's row type
  const values = whole.columns.map(({ name }) => made.get(name) ?? `b.${quoteIdentifier(name)}`);
  const type = `${quoteIdentifier(whole.schema)}.${quoteIdentifier(whole.name)}`;
  return `(select row(${values.join(', ')})::${type} as sno_row from ${row}) sno_whole, unnest(array[sno_whole.sno_row]) ${quoteIdentifier(alias)}`;
}

/**
 * In a subquery's target list, COLLATE sets the column's collation. As for a table's column, an
 * explicit collation in the view takes precedence.
 */
function collated(value: string, { collation }: CatalogTableColumn): string {
  return collation === null ? value : `(${value}) collate ${collation}`;
}

type TypesByOid = ReadonlyMap<number, CatalogType>;

/**
 * For some types, a cast of text uses another function than the input function, which reads the
 * texts in the WAL. The elements of an array are always read by the input function of their type.
 */
function isElement({ name, typeOid }: CatalogTableColumn, types: TypesByOid): boolean {
  const type = baseOf(typeOid, types);
  if (type?.castOfText !== true) return false;
  if (type.element === 0 && !type.castOfTextToArray) return true;
  throw new Unsupported(
    `the column ${quoteIdentifier(name)} is of type ${type.name}, whose cast from text is a function: Snö cannot pass its values to Postgres`,
  );
}

/** The type below all domains. */
function baseOf(oid: number, types: TypesByOid): CatalogType | undefined {
  const type = types.get(oid);
  return type === undefined || type.base === 0 ? type : baseOf(type.base, types);
}

/** The type without its domains, as SQL; undefined if it has none. */
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

/**
 * Whether the view's answers may depend on values having a domain type. Built-in functions ignore
 * domains.
 */
function needsDomains({ columns, generated, whole, functions }: RemoteRowParts, types: TypesByOid): boolean {
  // the functions that generated columns call are unknown
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
