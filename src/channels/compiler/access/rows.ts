import { SnoError } from '../../../errors.ts';
import type { Catalog, CatalogAccess } from '../../catalog/catalog.ts';
import { parsePattern } from '../../catalog/pattern.ts';
import type { ChannelView } from '../../channel.ts';
import { Unsupported } from '../../sql/unsupported.ts';
import { Types, type ValueType } from '../../values/types.ts';
import { compileInProcess } from '../compile.ts';
import { flattenView } from '../flatten.ts';
import { sourceTable } from '../source-table.ts';

/**
 * Compiles an access view as a view of rows, to find from one row of its table the channel whose
 * access a change affects.
 *
 * Undefined if one row does not show that. The view joins tables, computes something unsupported,
 * or has a placeholder whose equal values may have different texts. Or old rows lack a column that
 * it needs.
 */
export function compileAccessRows(access: CatalogAccess, catalog: Catalog): ChannelView | undefined {
  const pattern = parsePattern(access.pattern);
  // policies may let one row through because of another
  if (pattern instanceof SnoError || hasPolicies(access)) return undefined;
  try {
    const { parsed, definition, source } = flattenView(access, catalog);
    if (parsed.joins.length > 0) return undefined;
    const channel = { ...access, definition, castsByText: [], options: [], secured: [] };
    const types = new Types(catalog.types);
    if (!pattern.columns.every((name) => isNamedByText(access, name, types))) return undefined;
    const table = sourceTable(parsed.table, source, parsed.text);
    return compileInProcess(channel, pattern, parsed, table, types, catalog.server);
  } catch (error) {
    if (error instanceof SnoError || error instanceof Unsupported) return undefined;
    throw error;
  }
}

/** Whether row-level security decides which rows an access view sees. */
export function hasPolicies({ basis }: CatalogAccess): boolean {
  return basis.rights.some(({ isSecured }) => isSecured);
}

/**
 * Types whose equal values have equal texts. Numeric and floats are not among them: 1.0 and 1.00
 * are equal numerics, and 0 and -0 are equal floats.
 */
const SAME_TEXT_KINDS: ReadonlySet<ValueType['kind']> = new Set([
  'bool',
  'bytea',
  'int2',
  'int4',
  'int8',
  'text',
  'varchar',
  'bpchar',
  'date',
  'time',
  'timestamp',
  'timestamptz',
  'uuid',
  'enum',
]);

/**
 * Whether a row gives access only to the channel that its own text names. Otherwise a row with 1.00
 * would also give access to `room:1.0`.
 */
export function isNamedByText(access: CatalogAccess, placeholder: string, types: Types): boolean {
  const column = access.columns.find(({ name }) => name === placeholder);
  if (column === undefined) return false;
  const { typeOid, deterministic } = column;
  return !types.hasEquality(typeOid) || (deterministic && SAME_TEXT_KINDS.has(types.byOid(typeOid).kind));
}
