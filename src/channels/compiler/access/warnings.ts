/**
 * Warnings that `sno check` shows about access views: their access may end later than at a commit.
 */
import { readableName } from '../../../postgres/quote.ts';
import { type CatalogAccess, type CatalogTable, SCHEMA_NAMES } from '../../catalog/catalog.ts';
import { pathWarnings } from '../warnings.ts';
import { clockUses } from './basis.ts';

const UNNOTICED = 'that alone ends no subscription: Snö notices at the next check, when a table below the view changes';
const ROLES =
  'ALTER ROLE, and GRANT or REVOKE of a role, fire no event trigger, so they end access within about 10 seconds, not at their commit';

export function accessWarnings(access: CatalogAccess, tables: readonly CatalogTable[]): string[] {
  const view = `the ${SCHEMA_NAMES[access.schema]} view`;
  const warnings: string[] = [];
  const clock = clockUses(access);
  if (clock.length > 0)
    warnings.push(`${view} depends on the time, by ${clock.join(', ')}; when time passes, ${UNNOTICED}`);
  for (const { relation, role, isReadable, isSecured, isByRole } of access.basis.rights) {
    const reader = role === null ? "the service's role" : `the role ${readableName(role)}`;
    if (!isReadable)
      warnings.push(`${view} reads ${relation} by the rights of ${reader}, which may not read it: no client may join`);
    else if (isSecured)
      warnings.push(
        `the policies of ${relation} apply to ${reader}, by whose rights ${view} reads it. Which of them apply depends ` +
          `on its attributes and memberships: ${ROLES}`,
      );
    else if (isByRole)
      warnings.push(
        `${reader} may read all of ${relation} for ${view} only as a superuser, by BYPASSRLS or as a member of another ` +
          `role: ${ROLES}`,
      );
  }
  for (const { kind, schema, name } of tables.filter(({ oid }) => access.reads.includes(oid)))
    if (kind === 'm')
      warnings.push(
        `${view} reads the materialized view ${readableName(schema, name)}: access ends only when that is refreshed, ` +
          'and only if the event triggers are installed: without them, Snö does not notice a REFRESH',
      );
  return [...new Set([...warnings, ...pathWarnings(access.functions, access.searchPath)])];
}
