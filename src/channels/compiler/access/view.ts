/**
 * Compiles an access view to the query that decides for many subscriptions at once which of them
 * are allowed. Presence views and send views have the same form. A presence view's columns, other
 * than the placeholders and `sub`, are a member's public data.
 */
import { SnoError } from '../../../errors.ts';
import { quoteIdentifier } from '../../../postgres/quote.ts';
import type { CatalogAccess, CatalogColumn, CatalogTable } from '../../catalog/catalog.ts';
import { missingPlaceholder, type Pattern, parsePattern } from '../../catalog/pattern.ts';
import { stayUnderPath, underPath } from '../../catalog/search-path.ts';
import type { AccessView } from '../../channel.ts';
import type { AccessParts } from '../../served/served.ts';
import { INSTEAD } from '../../sql/instead.ts';
import type { Types } from '../../values/types.ts';
import { textInput } from '../../values/value-text.ts';
import { digest } from '../digest.ts';
import { unsentFault } from '../source-table.ts';
import { basisFault } from './basis.ts';
import { accessWarnings } from './warnings.ts';

/**
 * Types, by oid, to which a claim is cast directly. The names have no length or precision: a cast
 * to varchar(3) would cut a claim to another user's name.
 */
const EXACT: Readonly<Record<number, string>> = {
  16: 'boolean',
  20: 'bigint',
  21: 'smallint',
  23: 'integer',
  25: 'text',
  1042: 'bpchar',
  1043: 'varchar',
  1082: 'date',
  1114: 'timestamp',
  1184: 'timestamptz',
  1700: 'numeric',
  2950: 'uuid',
};

export function compileAccess(
  access: CatalogAccess,
  types: Types,
  tables: readonly CatalogTable[],
): AccessView | SnoError {
  const pattern = parsePattern(access.pattern);
  if (pattern instanceof SnoError) return pattern;
  const others = access.columns.filter(({ name }) => !pattern.columns.includes(name));
  const isPresence = access.schema === 'channel_presence';
  const claims = isPresence ? others.filter(({ name }) => name === MEMBER) : others;
  const fault = accessFault(access, pattern, claims) ?? basisFault(access, types) ?? partitionFault(access, tables);
  if (fault !== undefined) return fault;
  const values = pattern.columns.map((name) => columnOf(access, name) as CatalogColumn);
  const parts: AccessParts = {
    from: underPath(access.searchPath, access.functions),
    view: `${nameOf(access)} ${VIEW}`,
    pinned: stayUnderPath(access.searchPath),
    columns: [...values, ...claims].map(({ name }) => name),
    conditions: [...values, ...claims].map((column, index) =>
      (index < values.length ? isValue : isClaim)(column, types, `${QUESTION}.p${index + 1}`),
    ),
  };
  return {
    pattern,
    sql: isPresence ? memberSql(parts, others) : accessSql(parts),
    parts,
    valueTypes: values.map(({ type }) => type),
    claims: claims.map(({ name, type, typeOid }) => ({
      name,
      type,
      input: textInput(types.byOid(typeOid), types.isDomain(typeOid)),
    })),
    fingerprint: digest([access, tables.filter(({ oid }) => access.reads.includes(oid)).map(rowsOf)]),
    warnings: accessWarnings(access, tables),
  };
}

/** The error of an access view over a partition whose changes are not in the WAL. */
function partitionFault(access: CatalogAccess, tables: readonly CatalogTable[]): SnoError | undefined {
  const [fault] = tables.flatMap((table) => (access.reads.includes(table.oid) ? (unsentFault(table) ?? []) : []));
  return fault === undefined
    ? undefined
    : new SnoError('table_unpublished', `${nameOf(access)} reads ${fault}`, { hint: INSTEAD.partition });
}

/** A table's properties that change if its rows changed without a change in the WAL. */
function rowsOf({ columns, partitions }: CatalogTable): unknown {
  return [columns, partitions.map(({ oid, attachedAs }) => [oid, attachedAs])];
}

/**
 * Queries the view once for each question. LIMIT keeps the planner from joining all questions with
 * the whole view, so that indexes are used.
 */
function accessSql({ from, view, pinned, conditions }: AccessParts): string {
  // without conditions, all questions are the same
  if (conditions.length === 0)
    return `select 1 as n from ${from} cross join (select from ${view} limit 1) found where ${pinned}`;
  const parameters = conditions.map((_, index) => `$${index + 1}::text[]`);
  const names = conditions.map((_, index) => `p${index + 1}`);
  return (
    `select ${QUESTION}.n::int from ${from} ` +
    `cross join unnest(${parameters.join(', ')}) with ordinality ${QUESTION} (${names.join(', ')}, n) ` +
    `cross join lateral (select from ${view} where ${conditions.join(' and ')} limit 1) found where ${pinned}`
  );
}

/**
 * Finds the member of each question: its id, and the text of the JSON object with the other
 * columns. If several rows match, every process selects the same one.
 */
function memberSql({ from, view, pinned, conditions }: AccessParts, columns: readonly CatalogColumn[]): string {
  const parameters = conditions.map((_, index) => `$${index + 1}::text[]`);
  const names = conditions.map((_, index) => `p${index + 1}`);
  const shown = columns.filter(({ name }) => name !== MEMBER).map(({ name }) => `${VIEW}.${quoteIdentifier(name)}`);
  const info = `(select pg_catalog.row_to_json(shown)::text from (select ${shown.join(', ')}) shown)`;
  return (
    `select ${QUESTION}.n::int, found.id, found.info from ${from} ` +
    `cross join unnest(${parameters.join(', ')}) with ordinality ${QUESTION} (${names.join(', ')}, n) ` +
    `cross join lateral (select fitting.id, fitting.info from ` +
    `(select ${VIEW}.${MEMBER}::text as id, ${info} as info from ${view} where ${conditions.join(' and ')}) fitting ` +
    `order by fitting.info collate "C" limit 1) found where ${pinned}`
  );
}

const VIEW = 'viewed';
const QUESTION = 'asked';
/** The column of a presence view that names the member. */
const MEMBER = 'sub';

function nameOf({ schema, pattern }: CatalogAccess): string {
  return `${schema}.${quoteIdentifier(pattern)}`;
}

function accessFault(access: CatalogAccess, pattern: Pattern, claims: readonly CatalogColumn[]): SnoError | undefined {
  const view = nameOf(access);
  if (access.kind !== 'v')
    return new SnoError('channel_refused', `${view} is not a view: only a view is always as current as its tables`);
  const missing = pattern.columns.find((name) => columnOf(access, name) === undefined);
  if (missing !== undefined)
    return new SnoError('pattern_invalid', `${view} ${missingPlaceholder(missing, access.columns)}`);
  if (access.schema === 'channel_presence' && claims.length === 0)
    return new SnoError(
      'channel_refused',
      pattern.columns.includes(MEMBER)
        ? `${view}: {${MEMBER}} is a placeholder, but ${MEMBER} must name the member`
        : `${view} has no column ${MEMBER}: it must name the member, by the token's claim ${MEMBER}`,
    );
  const array = claims.find(({ type }) => type.endsWith('[]'));
  if (array === undefined) return undefined;
  return new SnoError(
    'channel_refused',
    `${view}: the claim column ${array.name} is an array; give each element a row of its own, with unnest(). A claim that is ` +
      'an array matches by any of its elements',
  );
}

function columnOf(access: CatalogAccess, name: string): CatalogColumn | undefined {
  return access.columns.find((column) => column.name === name);
}

/**
 * Compares the value as the column's type, so that an index can be used. The value must also be the
 * type's own text: `01` is not an integer's. Compares only texts if the type has no equality.
 */
function isValue({ name, type, typeOid }: CatalogColumn, types: Types, parameter: string): string {
  const column = `${VIEW}.${quoteIdentifier(name)}`;
  const text = `${parameter} collate "C"`;
  if (!types.hasEquality(typeOid)) return `${column}::text collate "C" = ${text}`;
  const value = `${parameter}::${type}`;
  return `${column} = ${value} and (${value})::text collate "C" = ${text}`;
}

/**
 * Compares a column with claims. A claim whose text the column's type would change, such as `01`,
 * does not match.
 */
function isClaim({ name, type, typeOid }: CatalogColumn, types: Types, parameter: string): string {
  const column = `${VIEW}.${quoteIdentifier(name)}`;
  const claims = `${parameter}::text[]`;
  const exact = EXACT[typeOid];
  if (exact !== undefined) return `${column} = any ((${claims})::${exact}[])`;
  if (!types.hasEquality(typeOid)) return `${column}::text collate "C" = any (${claims})`;
  const cast = `(claim::${type})`;
  const printed = `${cast}::text collate "C" = claim collate "C"`;
  return `${column} = any (array(select ${cast} from unnest(${claims}) claim where ${printed}))`;
}
