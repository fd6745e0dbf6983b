/** Warnings about views that are allowed but may surprise; `sno check` and the log show them. */
import { readableName } from '../../postgres/quote.ts';
import type { CatalogFunction, CatalogTable, CatalogTableColumn } from '../catalog/catalog.ts';
import { isNaming, partsOf, type ValueType } from '../values/types.ts';

export interface WarnedOf {
  readonly table: CatalogTable;
  /** The view's columns. */
  readonly outputs: readonly { readonly name: string; readonly type: ValueType }[];
  /** Outputs computed from several columns, of which the WAL may have one and lack another. */
  readonly mixed: readonly string[];
  /** Outputs whose values may be missing when a row moves from one channel to another. */
  readonly missingInMoves: readonly string[];
  /**
   * Columns of the table that Postgres needs to evaluate the view, and whose values may be missing
   * in any update.
   */
  readonly missing: readonly CatalogTableColumn[];
}

export function warningsOf({ table, outputs, mixed, missingInMoves, missing }: WarnedOf): string[] {
  const name = readableName(table.schema, table.name);
  const warnings: string[] = [];
  for (const output of outputs) {
    const { type } = output;
    const column = readableName(output.name);
    if (losesDigits(type))
      warnings.push(
        `${column} is ${type.name}, sent as a JSON number: JavaScript loses digits above 2^53. ` +
          `Write ${column}::text as ${column} if that matters`,
      );
    if (isNaming(type))
      warnings.push(
        `${column} is ${type.name}, which prints as the name of an object: when that is renamed or dropped, subscribers ` +
          'see the former name until the row changes',
      );
  }
  if (table.rowSecurity)
    warnings.push(
      `${name} has row-level security, which does not reach the WAL: the access view alone decides who sees its rows`,
    );
  if (table.partitions.some(({ isGuarded }) => !isGuarded))
    warnings.push(
      `the WAL does not contain a TRUNCATE of a single partition of ${name}, and some of its partitions lack the trigger that ` +
        'notices it; run as their owner: SELECT sno.guard_partitions();',
    );
  if (mixed.length > 0)
    warnings.push(
      `${listed(mixed)} is computed from several columns: if a value of one is more than about 2 kB and an update changes another, the ` +
        `large value is not in the WAL, and the channel is reset; ALTER TABLE ${name} REPLICA IDENTITY FULL avoids that`,
    );
  if (missingInMoves.length > 0)
    warnings.push(
      `if a row moves from one channel to another without a change of ${listed(missingInMoves)}, a value of more than about 2 kB is ` +
        `not in the WAL, and the channel is reset; ALTER TABLE ${name} REPLICA IDENTITY FULL avoids that`,
    );
  if (missing.length > 0)
    warnings.push(
      `if an update leaves ${listed(missing.map((column) => column.name))} unchanged, a value of more than about 2 kB is not in the WAL, ` +
        'so Postgres cannot evaluate the row, and the channel is reset',
    );
  return warnings;
}

/** Warns of functions whose bodies look names up in the search_path. */
export function pathWarnings(functions: readonly CatalogFunction[], path: string): string[] {
  const names = functions
    .filter(({ needsPath }) => needsPath)
    .map(({ schema, name }) => `${readableName(schema, name)}()`);
  if (names.length === 0) return [];
  return [
    `Postgres looks up names without a schema in ${[...new Set(names)].join(', ')} by the search_path of the view's owner, which is now ` +
      `${path}; ALTER FUNCTION ... SET search_path fixes it`,
  ];
}

function listed(names: readonly string[]): string {
  return names.map((name) => readableName(name)).join(', ');
}

function losesDigits(type: ValueType): boolean {
  return partsOf(type).some(({ kind }) => kind === 'int8' || kind === 'numeric');
}
