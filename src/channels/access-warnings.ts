/** Access views that take access away without a commit to a table that they read: allowed, and shown by `sno check`. */
import { readableName } from '../postgres/quote.ts';
import type { CatalogAccess, CatalogFunction, CatalogTable } from './catalog.ts';
import { SETTLED_FUNCTIONS } from './settled.ts';
import { pathWarnings } from './warnings.ts';

const UNNOTICED =
  'that alone ends no subscription: it is noticed at the next check, when a table below the view changes';

/** Keywords for the time and the session, as pg_get_viewdef prints them. */
const CURRENT = /\b(CURRENT_[A-Z]+|LOCALTIME(STAMP)?|SESSION_USER|USER)\b/;
const QUOTED = /'(?:[^']|'')*'|"(?:[^"]|"")*"/g;

export function accessWarnings(access: CatalogAccess, tables: readonly CatalogTable[]): string[] {
  const warnings: string[] = [];
  const names = new Set(access.functions.flatMap(changing));
  if (names.size > 0)
    warnings.push(
      `the access view calls ${[...names].join(', ')}, which may give another answer without a commit to a table below the view; ${UNNOTICED}`,
    );
  const keyword = [access.definition, ...access.through].map((text) => CURRENT.exec(text.replace(QUOTED, "''"))?.[0]);
  for (const name of new Set(keyword))
    if (name !== undefined)
      warnings.push(
        `the access view depends on ${name} (the session is that of Snö, under its own role); ${UNNOTICED}`,
      );
  for (const { kind, schema, name } of tables.filter(({ oid }) => access.reads.includes(oid)))
    if (kind === 'm')
      warnings.push(
        `the access view reads the materialized view ${readableName(schema, name)}: access ends when that is refreshed, ` +
          'and only where the event triggers are installed: without them nothing tells of a REFRESH',
      );
  return [...warnings, ...pathWarnings(access.functions, access.searchPath)];
}

/** The name of a function that reads tables, as far as anybody knows, or the time. */
function changing({ schema, name, arguments: types, volatility, builtin }: CatalogFunction): string[] {
  if (volatility === 'i') return [];
  if (!builtin) return [`${readableName(schema, name)}()`];
  return volatility === 's' && SETTLED_FUNCTIONS.has(`${name}(${types.join(',')})`) ? [] : [`${name}()`];
}
