/**
 * Refuses views whose rows can change without a commit to their table. Such a view cannot be kept
 * live from the WAL, wherever it is evaluated. Deny by default: a stable function is allowed only
 * if it is known to depend only on its arguments and on settings that Snö sets.
 */
import type { JsonOutput, Node, TypeName } from 'libpg-query';
import type { CatalogChannel, CatalogFunction } from '../catalog/catalog.ts';
import { INSTEAD } from '../sql/instead.ts';
import { literalOf, nameOf, walk } from '../sql/node.ts';
import { Unsupported } from '../sql/unsupported.ts';
import type { ParsedView } from '../sql/view.ts';
import { changes, functionInstead, functionRefusal } from './expressions/refused-functions.ts';
import { SETTLED_FUNCTIONS } from './settled.ts';

/**
 * Types whose input functions accept words such as `now` and `tomorrow`, or read system catalogs.
 */
const UNSETTLED_INPUT =
  /^(date|timestamp|timestamptz|time|timetz|timestamp with(out)? time zone|time with(out)? time zone|reg\w+)$/;

const SYSTEM_COLUMNS: ReadonlySet<string> = new Set(['ctid', 'xmin', 'xmax', 'cmin', 'cmax', 'tableoid']);

/**
 * Throws Unsupported if the view can change by itself, with the place in the SQL if it is known.
 */
export function refuseChanging(channel: CatalogChannel, parsed: ParsedView, isColumn: (name: string) => boolean): void {
  const { targets, joins, where } = parsed;
  const conditions = [...joins.map(({ on }) => on), ...(where === undefined ? [] : [where])];
  const nodes = [...targets.map(({ value }) => value), ...conditions];
  const calls = new Map<string, Node>();
  const casts: [TypeName, Node][] = [];
  for (const node of nodes) {
    walk(node, (kind, inner) => {
      if (kind === 'SQLValueFunction')
        throw parsed.text.refuse(changes('the current date, time, user or schema'), inner, valueInstead(inner));
      const { funcname, fields, arg, typeName, output } = inner as Parts;
      if (kind === 'FuncCall') calls.set(nameOf(funcname), inner);
      // a constant was converted once, when the view was created
      if (kind === 'TypeCast' && typeName !== undefined && arg !== undefined && literalOf(arg) === undefined)
        casts.push([typeName, inner]);
      // JSON_VALUE and JSON_QUERY make the value of RETURNING from text
      if (kind === 'JsonFuncExpr' && output?.typeName !== undefined) casts.push([output.typeName, inner]);
      const column = kind === 'ColumnRef' ? nameOf(fields) : '';
      if (SYSTEM_COLUMNS.has(column) && !isColumn(column))
        throw parsed.text.refuse(`the system column ${column} is not in the WAL`, inner, INSTEAD.system);
    });
  }
  for (const called of channel.functions) {
    const reason = reasonAgainst(called);
    if (reason === undefined) continue;
    const place = calls.get(called.name);
    const instead = insteadOf(called);
    throw place === undefined
      ? new Unsupported(reason, undefined, instead)
      : parsed.text.refuse(reason, place, instead);
  }
  const type = channel.castsByText.find((name) => UNSETTLED_INPUT.test(name));
  if (type === undefined) return;
  const cast = casts.find(([{ names }]) => sameTypeName(nameOf(names), type));
  const reason = castRefusal(type);
  throw cast === undefined
    ? new Unsupported(reason, undefined, INSTEAD.cast)
    : parsed.text.refuse(reason, cast[1], INSTEAD.cast);
}

interface Parts {
  readonly funcname?: Node[];
  readonly fields?: Node[];
  readonly arg?: Node;
  readonly typeName?: TypeName;
  readonly output?: JsonOutput;
}

function castRefusal(type: string): string {
  return (
    `a cast of text to ${type} can give a different value at a different time ('today', or a name that is dropped); ` +
    'use to_date() or to_timestamp() with a format'
  );
}

/** Compares a type's name in the grammar with the one that `format_type` prints. */
function sameTypeName(parsed: string, formatted: string): boolean {
  const short = formatted.replace(' without time zone', '').replace(' with time zone', 'tz');
  return parsed === short;
}

function insteadOf({ name, kind, returnsSet, builtin }: CatalogFunction): string {
  if (kind === 'a') return INSTEAD.total;
  if (kind === 'w') return INSTEAD.rank;
  if (returnsSet) return INSTEAD.sets;
  return builtin ? (functionInstead(name, false) ?? INSTEAD.time) : INSTEAD.function;
}

/** The hint for CURRENT_USER and similar, or CURRENT_DATE and similar. */
function valueInstead(node: Node): string {
  const { op } = node as { readonly op?: string };
  return /USER|ROLE|CATALOG|SCHEMA/.test(op ?? '') ? INSTEAD.session : INSTEAD.time;
}

function reasonAgainst(called: CatalogFunction): string | undefined {
  const { schema, name, volatility, kind, returnsSet, builtin } = called;
  if (kind === 'a') return `aggregates such as ${name}() are not supported: a channel follows single rows`;
  if (kind !== 'f') return functionRefusal(name, kind === 'w');
  if (returnsSet) return `${name}() returns sets: a channel has one row for each row of the table`;
  if (volatility === 'i') return undefined;
  if (volatility === 'v') return changes(`${name}()`);
  if (builtin)
    return SETTLED_FUNCTIONS.has(`${name}(${called.arguments.join(',')})`) ? undefined : changes(`${name}()`);
  return `${schema}.${name}() is declared stable, so it may read tables: ${changes('a view that calls it')}. If it depends only on its arguments, declare it immutable`;
}
