/** Access views: from a view's columns to the query that decides one subscription. */
import { SnoError } from '../errors.ts';
import { quoteIdentifier } from '../postgres/quote.ts';
import type { CatalogAccess, CatalogColumn } from './catalog.ts';
import type { AccessView } from './channel.ts';
import { type Pattern, parsePattern } from './pattern.ts';
import type { Types } from './types.ts';

/**
 * Types, by oid, to which a claim is cast as it is. The names have no length or precision: a cast to varchar(3) would cut a
 * claim to what somebody else is called.
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

export function compileAccess(access: CatalogAccess, types: Types): AccessView | SnoError {
  const pattern = parsePattern(access.pattern);
  if (pattern instanceof SnoError) return pattern;
  const claims = access.columns.filter(({ name }) => !pattern.columns.includes(name));
  const fault = accessFault(access, pattern, claims);
  if (fault !== undefined) return fault;
  const conditions = [
    ...pattern.columns.map((name, index) => isValue(columnOf(access, name) as CatalogColumn, types, index + 1)),
    ...claims.map((column, index) => isClaim(column, types, pattern.columns.length + index + 1)),
  ];
  const where = conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`;
  return {
    pattern,
    sql: `select true from channel_access.${quoteIdentifier(access.pattern)}${where} limit 1`,
    claims: claims.map(({ name }) => name),
    fingerprint: JSON.stringify(access),
  };
}

function accessFault(access: CatalogAccess, pattern: Pattern, claims: readonly CatalogColumn[]): SnoError | undefined {
  const view = `channel_access.${quoteIdentifier(access.pattern)}`;
  if (access.kind !== 'v')
    return new SnoError('channel_refused', `${view} is no view: only those are as new as their tables`);
  const missing = pattern.columns.find((name) => columnOf(access, name) === undefined);
  if (missing !== undefined)
    return new SnoError('pattern_invalid', `${view} has no column ${missing} for its placeholder {${missing}}`);
  const array = claims.find(({ type }) => type.endsWith('[]'));
  if (array === undefined) return undefined;
  return new SnoError(
    'channel_refused',
    `${view}: the claim column ${array.name} is an array; give each element its own row, with unnest(). A claim that is ` +
      'an array matches by any of its elements',
  );
}

function columnOf(access: CatalogAccess, name: string): CatalogColumn | undefined {
  return access.columns.find((column) => column.name === name);
}

/**
 * The value as the column's type, so that an index serves; and only where it prints as itself: `01` is no integer. By text
 * alone where the type has no equality.
 */
function isValue({ name, type, typeOid }: CatalogColumn, types: Types, parameter: number): string {
  const column = quoteIdentifier(name);
  const text = `$${parameter}::text collate "C"`;
  if (!types.hasEquality(typeOid)) return `${column}::text collate "C" = ${text}`;
  const value = `($${parameter}::text)::${type}`;
  return `${column} = ${value} and (${value})::text collate "C" = ${text}`;
}

/** Claims of a type that may not take every text as it is count only where they print as themselves. */
function isClaim({ name, type, typeOid }: CatalogColumn, types: Types, parameter: number): string {
  const column = quoteIdentifier(name);
  const claims = `$${parameter}::text[]`;
  const exact = EXACT[typeOid];
  if (exact !== undefined) return `${column} = any ((${claims})::${exact}[])`;
  if (!types.hasEquality(typeOid)) return `${column}::text collate "C" = any (${claims})`;
  const cast = `(claim::${type})`;
  const printed = `${cast}::text collate "C" = claim collate "C"`;
  return `${column} = any (array(select ${cast} from unnest(${claims}) claim where ${printed}))`;
}
