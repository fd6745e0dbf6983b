/** What is allowed, but may surprise: shown by `sno check` and in the log. */
import { readableName } from '../postgres/quote.ts';
import type { ViewPlan } from './bound-view.ts';
import type { CatalogTable, CatalogTableColumn } from './catalog.ts';
import { columnsOf } from './expression.ts';
import { isNaming, partsOf, type ValueType } from './types.ts';

export function warningsOf(table: CatalogTable, plan: ViewPlan, identifying: readonly CatalogTableColumn[]): string[] {
  const name = readableName(table.schema, table.name);
  const warnings: string[] = [];
  for (const output of plan.outputs) {
    const { type } = output.value;
    const column = readableName(output.name);
    if (losesDigits(type))
      warnings.push(
        `${column} is ${type.name}, sent as a JSON number: JavaScript loses digits above 2^53. ` +
          `Write ${column}::text as ${column} where that matters`,
      );
    if (isNaming(type))
      warnings.push(
        `${column} is ${type.name}, which prints as the name of something: when that is renamed or dropped, subscribers ` +
          'see the former name until the row changes',
      );
  }
  if (table.rowSecurity)
    warnings.push(
      `${name} has row-level security, which does not reach the WAL: the access view alone decides who sees its rows`,
    );
  const mixed = table.replicaIdentity === 'f' ? [] : toastable(plan, (columns) => columns.size > 1);
  if (mixed.length > 0)
    warnings.push(
      `${mixed.join(', ')} is computed of several columns: where a value of one is more than about 2 kB, and another is updated, the ` +
        `former is not in the WAL, and the channel is reset; ALTER TABLE ${name} REPLICA IDENTITY FULL avoids that`,
    );
  const partial = table.replicaIdentity === 'f' || identifying.length === 0 ? [] : toastable(plan);
  if (partial.length > 0)
    warnings.push(
      `where a row moves from one channel to another without a change of ${partial.join(', ')}, a value of more than about 2 kB is ` +
        `not in the WAL, and the channel is reset; ALTER TABLE ${name} REPLICA IDENTITY FULL avoids that`,
    );
  return warnings;
}

function losesDigits(type: ValueType): boolean {
  return partsOf(type).some(({ kind }) => kind === 'int8' || kind === 'numeric');
}

/** Outputs made of columns that may come unsent: of any, or of several that are `wanted`. */
function toastable(
  plan: ViewPlan,
  wanted: (columns: ReadonlySet<CatalogTableColumn>) => boolean = () => true,
): string[] {
  return plan.outputs
    .filter(({ value }) => {
      const columns = new Set(columnsOf(value));
      const mayBeUnsent = (column: CatalogTableColumn) =>
        column.toastable && !plan.key.some((key) => key.column === column);
      return wanted(columns) && [...columns].some(mayBeUnsent);
    })
    .map((output) => readableName(output.name));
}
