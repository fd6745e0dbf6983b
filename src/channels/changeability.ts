/**
 * Whether a view's rows can change without a commit to its table. Such a view cannot be kept live from the WAL, whoever
 * evaluates it. Deny by default: of the functions that are stable, only those are let through of which it is known that
 * they depend on nothing but their arguments and the pinned settings.
 */
import type { Node } from 'libpg-query';
import type { CatalogChannel, CatalogFunction } from './catalog.ts';
import { nameOf } from './node.ts';
import { type ParsedView, Unsupported } from './parse.ts';
import { changes, functionRefusal } from './refused-functions.ts';

/** Built-in stable functions (pg_proc.proname) that depend on their arguments and on pinned settings alone. */
const SETTLED = new Set(
  // text of values, under DateStyle, IntervalStyle, TimeZone, bytea_output, extra_float_digits
  (
    'format concat concat_ws textanycat anytextcat array_to_string quote_literal quote_nullable to_char to_number to_date to_timestamp ' +
    'to_json to_jsonb row_to_json array_to_json json_build_object json_build_array json_object jsonb_build_object jsonb_build_array ' +
    // time zones: TimeZone is UTC
    'timezone timestamptz timestamp date time timetz date_trunc date_part extract make_timestamptz isfinite ' +
    'timestamptz_pl_interval timestamptz_mi_interval interval_pl_timestamptz timestamptz_date timestamptz_time timestamptz_timestamp ' +
    'date_timestamptz timestamp_timestamptz generate_series ' +
    'date_eq_timestamptz date_ne_timestamptz date_lt_timestamptz date_le_timestamptz date_gt_timestamptz date_ge_timestamptz date_cmp_timestamptz ' +
    'timestamptz_eq_date timestamptz_ne_date timestamptz_lt_date timestamptz_le_date timestamptz_gt_date timestamptz_ge_date timestamptz_cmp_date ' +
    'timestamp_eq_timestamptz timestamp_ne_timestamptz timestamp_lt_timestamptz timestamp_le_timestamptz timestamp_gt_timestamptz timestamp_ge_timestamptz timestamp_cmp_timestamptz ' +
    'timestamptz_eq_timestamp timestamptz_ne_timestamp timestamptz_lt_timestamp timestamptz_le_timestamp timestamptz_gt_timestamp timestamptz_ge_timestamp timestamptz_cmp_timestamp'
  ).split(' '),
);

/** Types whose input functions know words such as `now` and `tomorrow`, or look into the catalogs. */
const UNSETTLED_INPUT =
  /^(date|timestamp|timestamptz|time|timetz|timestamp with(out)? time zone|time with(out)? time zone|reg\w+)(\(\d\))?$/;

const SYSTEM_COLUMNS: ReadonlySet<string> = new Set(['ctid', 'xmin', 'xmax', 'cmin', 'cmax', 'tableoid']);

/** Throws Unsupported, with the place underlined where it can be found, if the view can change by itself. */
export function refuseChanging(channel: CatalogChannel, parsed: ParsedView, isColumn: (name: string) => boolean): void {
  const nodes = [...parsed.targets.map(({ value }) => value), ...(parsed.where === undefined ? [] : [parsed.where])];
  const calls = new Map<string, Node>();
  for (const node of nodes) {
    walk(node, (kind, inner) => {
      if (kind === 'SubLink')
        throw parsed.text.refuse('subqueries are not supported: a channel view reads one table', inner);
      if (kind === 'SQLValueFunction')
        throw parsed.text.refuse(changes('the current date, time, user or schema'), inner);
      const { funcname, fields } = inner as { readonly funcname?: Node[]; readonly fields?: Node[] };
      if (kind === 'FuncCall') calls.set(nameOf(funcname), inner);
      const column = kind === 'ColumnRef' ? nameOf(fields) : '';
      if (SYSTEM_COLUMNS.has(column) && !isColumn(column))
        throw parsed.text.refuse(`the system column ${column} is not in the WAL`, inner);
    });
  }
  for (const called of channel.functions) {
    const reason = reasonAgainst(called);
    if (reason === undefined) continue;
    const place = calls.get(called.name);
    throw place === undefined ? new Unsupported(reason) : parsed.text.refuse(reason, place);
  }
  const type = channel.castsByText.find((name) => UNSETTLED_INPUT.test(name));
  if (type !== undefined)
    throw new Unsupported(
      `a cast of text to ${type} can give another value at another time ('today', or a name that is dropped); ` +
        'use to_date() or to_timestamp() with a format',
    );
}

function reasonAgainst({ schema, name, volatility, kind, returnsSet, builtin }: CatalogFunction): string | undefined {
  if (kind !== 'f' || returnsSet) return functionRefusal(name, kind === 'w');
  if (volatility === 'i') return undefined;
  if (volatility === 'v') return changes(`${name}()`);
  if (builtin) return SETTLED.has(name) ? undefined : changes(`${name}()`);
  return `${schema}.${name}() is declared stable, so it may read tables: ${changes('a view that calls it')}. Where it depends on nothing but its arguments, declare it immutable`;
}

/** Calls `visit` for each node below, itself included, with its kind. */
export function walk(node: unknown, visit: (kind: string, inner: Node) => void): void {
  if (typeof node !== 'object' || node === null) return;
  for (const [kind, inner] of Object.entries(node)) {
    if (/^[A-Z]/.test(kind) && typeof inner === 'object' && inner !== null) visit(kind, inner as Node);
    walk(inner, visit);
  }
}
