/** Access views: from a view's columns to the query that decides one subscription. */
import { SnoError } from '../errors.ts';
import { quoteIdentifier } from '../postgres/quote.ts';
import type { CatalogAccess, CatalogColumn } from './catalog.ts';
import type { AccessView } from './channel.ts';
import { type Pattern, parsePattern } from './pattern.ts';

/** The kinds of relation that a SELECT may read, and be an access view. */
const KINDS: ReadonlySet<string> = new Set(['v', 'm']);

export function compileAccess(access: CatalogAccess): AccessView | SnoError {
  const pattern = parsePattern(access.pattern);
  if (pattern instanceof SnoError) return pattern;
  const claims = access.columns.filter(({ name }) => !pattern.columns.includes(name));
  const fault = accessFault(access, pattern, claims);
  if (fault !== undefined) return fault;
  const conditions = [
    ...pattern.columns.map((name, index) => isValue(columnOf(access, name) as CatalogColumn, index + 1)),
    ...claims.map((column, index) => isClaim(column, pattern.columns.length + index + 1)),
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
  if (!KINDS.has(access.kind)) return new SnoError('channel_refused', `${view} is not a view`);
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

/** The value as the column's type, so that an index serves; and only where it prints as itself: `01` is no integer. */
function isValue({ name, type }: CatalogColumn, parameter: number): string {
  const value = `($${parameter}::text)::${type}`;
  return `${quoteIdentifier(name)} = ${value} and (${value})::text collate "C" = $${parameter}::text collate "C"`;
}

function isClaim({ name, type }: CatalogColumn, parameter: number): string {
  return `${quoteIdentifier(name)} = any (($${parameter}::text[])::${type}[])`;
}
