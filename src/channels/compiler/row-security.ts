/**
 * Refuses channel views to which row-level security applies. A snapshot has only the rows that
 * policies allow, while the WAL has all rows: subscribers would receive hidden rows.
 */
import { SnoError } from '../../errors.ts';
import { quoteIdentifier, readableName } from '../../postgres/quote.ts';
import type { CatalogChannel, CatalogSecured } from '../catalog/catalog.ts';

/** Throws `row_security` if policies apply to what the view reads. */
export function refuseSecured({ pattern, secured }: Pick<CatalogChannel, 'pattern' | 'secured'>): void {
  const [first] = secured;
  if (first === undefined) return;
  throw new SnoError(
    'row_security',
    `channels.${quoteIdentifier(pattern)}: row-level security of ${first.relation} applies to ${readerOf(first)}, by whose rights ` +
      `${first.reader} reads it: a snapshot would lack the rows that policies hide, while the WAL has all rows`,
    { hint: [...new Set(secured.flatMap(statementsFor))].join('\n') },
  );
}

function readerOf({ role }: CatalogSecured): string {
  return role === null ? "the service's role" : `the role ${readableName(role)}`;
}

/**
 * Statements that make the table's owner read it: by default policies do not apply to the owner.
 */
function statementsFor({ reader, relation, role, owner, isForced, isInvoker }: CatalogSecured): string[] {
  return [
    ...(isForced ? [`ALTER TABLE ${relation} NO FORCE ROW LEVEL SECURITY;`] : []),
    ...(isInvoker ? [`ALTER VIEW ${reader} RESET (security_invoker);`] : []),
    ...(role === owner ? [] : [`ALTER VIEW ${reader} OWNER TO ${readableName(owner)};`]),
  ];
}
