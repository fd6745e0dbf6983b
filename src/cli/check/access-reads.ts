/**
 * Checks whether indexes serve an access view's query, which runs for every subscription. Only
 * Postgres knows which index serves a join, a cast or an expression, so this uses EXPLAIN.
 * Sequential scans are disabled for the plan. If the plan still reads a whole table, the table has
 * no index for the query, even if the query is fast while the table is small.
 */
import { type Node, parseSync } from 'libpg-query';
import type pg from 'pg';
import type { CatalogAccess } from '../../channels/catalog/catalog.ts';
import type { AccessView } from '../../channels/channel.ts';
import { nameOf, walk } from '../../channels/sql/node.ts';
import { quoteIdentifier, readableName } from '../../postgres/quote.ts';

/**
 * Minimum rows of a table for a warning: reading a smaller table whole is fast. A table without
 * statistics counts as large.
 */
const ROWS_MIN = 1_000;

/** Matches the warning for a view that Postgres cannot plan, such as for a missing right. */
export const CANNOT_BE_QUERIED = / cannot be queried: /;

/** One node of EXPLAIN (FORMAT JSON, VERBOSE). */
interface Plan {
  readonly 'Node Type': string;
  readonly Schema?: string;
  readonly 'Relation Name'?: string;
  readonly Alias?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly Plans?: readonly Plan[];
  readonly [member: string]: unknown;
}

/** When each view is queried. */
const OCCASIONS = {
  channel_access: 'for each subscription',
  channel_presence: 'for each member',
  channel_send: 'for each subscriber that sends',
} as const;

/** Nodes that read a table. A bitmap scan has its indexes below it. */
const SCAN = /^(Seq|Index|Index Only|Bitmap Heap) Scan$/;
const CONDITION = /^(Filter|Recheck Cond|.* Filter|.* Cond)$/;

const PLANNER = `
  set local search_path = pg_catalog;
  set local plan_cache_mode = force_generic_plan;
  set local enable_seqscan = off;
  set local enable_hashjoin = off;
  set local enable_mergejoin = off`;

/**
 * Returns a warning for each table that is read whole for a question. Runs in the caller's
 * transaction and leaves it unchanged.
 */
export async function accessReads(
  client: pg.ClientBase,
  { schema }: Pick<CatalogAccess, 'schema'>,
  { pattern, sql, claims }: AccessView,
): Promise<readonly string[]> {
  const parameters = pattern.columns.length + claims.length;
  if (parameters === 0) return [];
  const view = `${schema}.${quoteIdentifier(pattern.text)}`;
  await client.query('savepoint sno_access');
  try {
    const plan = await planOf(client, sql, parameters);
    const conditions = nodesOf(plan).flatMap((node) =>
      Object.entries(node).flatMap(([member, text]) => (CONDITION.test(member) ? [String(text)] : [])),
    );
    const warnings: string[] = [];
    for (const scan of nodesOf(plan).filter((node) => SCAN.test(node['Node Type']))) {
      const alias = scan.Alias ?? '';
      // without a condition on it, reading its first row is enough
      if (!conditions.some((text) => text.includes(`${readableName(alias)}.`))) continue;
      const table = await tableOf(client, scan);
      if (isServed(scan, table.leading) || (table.rows >= 0 && table.rows < ROWS_MIN)) continue;
      const columns = [...new Set(conditions.flatMap((text) => comparedIn(text, alias, table.texts)))];
      const hint =
        columns.length === 0
          ? `no index serves ${String(scan['Filter'] ?? 'its join')}`
          : `no index begins with a column that the view compares there; CREATE INDEX ON ${table.name} (${columns.map((name) => readableName(name)).join(', ')});`;
      warnings.push(`${OCCASIONS[schema]}, ${view} reads all of ${table.name}: ${hint}`);
    }
    return [...new Set(warnings)];
  } catch (error) {
    return [`${view} cannot be queried: ${(error as Error).message}`];
  } finally {
    await client.query('rollback to savepoint sno_access; deallocate all');
  }
}

async function planOf(client: pg.ClientBase, sql: string, parameters: number): Promise<Plan> {
  await client.query(`${PLANNER}; prepare sno_access as ${sql}`);
  const nulls = Array.from({ length: parameters }, () => 'null').join(', ');
  const { rows } = await client.query<{ 'QUERY PLAN': string }>({
    text: `explain (format json, verbose) execute sno_access (${nulls})`,
    types: { getTypeParser: () => String },
  });
  // planning the query may have set the search_path of the view's functions
  await client.query('set local search_path = pg_catalog');
  const [explained] = JSON.parse(rows[0]?.['QUERY PLAN'] ?? '') as [{ readonly Plan: Plan }];
  return explained.Plan;
}

function nodesOf(plan: Plan): readonly Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

interface ScannedTable {
  /** Name of the table; a partition has its root's name. */
  readonly name: string;
  /** Row count of the last ANALYZE; -1: never analyzed. */
  readonly rows: number;
  /** Its varchar columns. They are compared as text, which an index over the column serves. */
  readonly texts: readonly string[];
  /** The first column or expression of each index of the scan, by the index's name. */
  readonly leading: Readonly<Record<string, string>>;
}

async function tableOf(client: pg.ClientBase, scan: Plan): Promise<ScannedTable> {
  const indexes = nodesOf(scan).flatMap(({ 'Index Name': index }) => index ?? []);
  const { rows } = await client.query<{ facts: string }>(
    `select json_build_object('schema', n.nspname, 'name', root.relname, 'rows', c.reltuples,
       'texts', array(select a.attname from pg_attribute a where a.attrelid = c.oid and a.atttypid = 'varchar'::regtype),
       'leading', (
         select coalesce(json_object_agg(i.relname, pg_get_indexdef(i.oid, 1, true)), '{}')
         from pg_class i where i.relnamespace = c.relnamespace and i.relname = any ($3)))::text as facts
     from pg_class c
     join pg_class root on root.oid = coalesce(pg_partition_root(c.oid), c.oid)
     join pg_namespace n on n.oid = root.relnamespace
     where c.relnamespace = to_regnamespace($1) and c.relname = $2`,
    [quoteIdentifier(scan.Schema ?? ''), scan['Relation Name'], indexes],
  );
  const facts = JSON.parse(rows[0]?.facts ?? '') as ScannedTable & { readonly schema: string };
  return { ...facts, name: readableName(facts.schema, facts.name) };
}

/** Whether an index narrows the scan by its first column. */
function isServed(scan: Plan, leading: ScannedTable['leading']): boolean {
  return nodesOf(scan).some(({ 'Index Name': index = '', 'Index Cond': condition }) => {
    const first = leading[index];
    if (condition === undefined || first === undefined) return false;
    const unqualified = condition.replaceAll(`${readableName(scan.Alias ?? '')}.`, '');
    return new RegExp(`(?<![\\w$"])${first.replace(/[^\w\s]/g, '\\$&')}(?![\\w$"])`).test(unqualified);
  });
}

/**
 * The columns of a table that a condition compares for equality, as they are or, of `texts`, by
 * their text.
 */
function comparedIn(condition: string, alias: string, texts: readonly string[]): readonly string[] {
  const columns: string[] = [];
  walk(parsed(condition), (kind, inner) => {
    if (kind !== 'A_Expr') return;
    const { name, lexpr, rexpr } = inner as Comparison;
    if (nameOf(name) !== '=') return;
    for (const side of [lexpr, rexpr]) {
      const [table, column] =
        (side?.ColumnRef ?? side?.TypeCast?.arg?.ColumnRef)?.fields?.map((part) => nameOf([part])) ?? [];
      if (table !== alias || column === undefined) continue;
      if (side?.TypeCast === undefined || texts.includes(column)) columns.push(column);
    }
  });
  return columns;
}

interface Comparison {
  readonly name?: Node[];
  readonly lexpr?: Operand;
  readonly rexpr?: Operand;
}

interface Operand {
  readonly ColumnRef?: { readonly fields?: Node[] };
  readonly TypeCast?: { readonly arg?: Operand };
}

/** Undefined if the text is not SQL: EXPLAIN has a notation of its own for subplans. */
function parsed(condition: string): unknown {
  try {
    return parseSync(`select ${condition}`);
  } catch {
    return undefined;
  }
}
