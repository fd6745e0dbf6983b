/** Random tables, views that join them, and transactions. */
import { Random } from '../oracle/random.ts';

export class Draw extends Random {
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** A whole number from `low` to `high`. */
  int(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }
}

const TABLES = ['t0', 't1', 't2', 't3'] as const;

/** All tables alike: every join by `id`, `k` or `e` is possible, and keys change. */
export const SCHEMA = `${TABLES.map(
  (name) => `
  create table ${name} (id int primary key, k text collate "C" not null unique, a int, b text, c bool not null default true,
    r int, rk text collate "C", n numeric, e text collate "C" unique,
    made text generated always as (coalesce(b, 'none') || k) stored);
  alter table ${name} replica identity full;
  create index on ${name} (r); create index on ${name} (rk);`,
).join('')}
  create schema if not exists channels;`;

export interface RandomView {
  readonly pattern: string;
  readonly sql: string;
  /** The channels that clients follow, with the value of `g` in each. */
  readonly channels: readonly { readonly name: string; readonly g: number | undefined }[];
}

const UNIQUE: ReadonlySet<string> = new Set(['id', 'k', 'e']);
const GROUPS = 4;
const IDS = 12;

export function randomView(random: Draw, number: number): RandomView {
  const base = random.pick(TABLES);
  const aliases = ['x0'];
  const joins: string[] = [];
  for (let join = random.int(0, 3); join > 0; join--) {
    const alias = `x${aliases.length}`;
    const from = random.pick(aliases);
    const pair = random.pick([
      `${alias}.id = ${from}.r`,
      `${from}.rk = ${alias}.k`,
      `${alias}.id = ${from}.a`,
      `${alias}.id = ${from}.id`,
      `${alias}.e = ${from}.rk`,
    ]);
    const extra = random.chance(0.25) ? ` and ${condition(random, [alias, from])}` : '';
    joins.push(`${random.pick(['join', 'left join', 'left join'])} ${random.pick(TABLES)} ${alias} on ${pair}${extra}`);
    aliases.push(alias);
  }
  const isGrouped = random.chance(0.6);
  const columns = ['x0.id'];
  if (isGrouped) columns.push(`${random.pick(aliases)}.a as g`);
  for (let output = random.int(1, 4); output > 0; output--)
    columns.push(
      `${random.pick([`${random.pick(aliases)}.b`, `${random.pick(aliases)}.n`, `${random.pick(aliases)}.k`, `${random.pick(aliases)}.c`, `coalesce(${random.pick(aliases)}.b, ${random.pick(aliases)}.k)`])} as o${output}`,
    );
  if (random.chance(0.2)) columns.push(`${subquery(random, aliases)} as sub`);
  const conditions: string[] = [];
  if (random.chance(0.4)) conditions.push(condition(random, aliases));
  for (let count = random.pick([0, 1, 1, 2]); count > 0; count--) conditions.push(subquery(random, aliases));
  // expressions that only Postgres evaluates
  if (random.chance(0.3)) columns.push(`initcap(${random.pick(aliases)}.b) as only`);
  if (random.chance(0.2)) columns.push(`${random.pick(aliases)}.made`);
  if (random.chance(0.1)) conditions.push(`(upper(${random.pick(aliases)}.b) < 'B2') is not true`);
  const where = conditions.length === 0 ? '' : ` where ${conditions.join(random.pick([' and ', ' and ', ' or ']))}`;
  const pattern = isGrouped ? `v${number}:{g}` : `v${number}`;
  const sql = `create view channels."${pattern}" as select ${columns.join(', ')} from ${base} x0 ${joins.join(' ')}${where}`;
  const channels = isGrouped
    ? Array.from({ length: GROUPS }, (_, g) => ({ name: `v${number}:${g}`, g }))
    : [{ name: pattern, g: undefined }];
  return { pattern, sql, channels };
}

/** `[NOT] EXISTS` or `[NOT] IN`, whose columns may be NULL. */
function subquery(random: Draw, aliases: readonly string[]): string {
  const outer = random.pick(aliases);
  const other = random.pick(aliases);
  const table = random.pick(TABLES);
  const equal = random.pick([
    `s.id = ${outer}.r`,
    `s.a = ${outer}.a`,
    `${outer}.rk = s.k`,
    `s.r = ${outer}.id`,
    `s.r = ${outer}.r and s.a = ${outer}.a`,
    `s.a = ${outer}.a and s.r = ${other}.r`,
  ]);
  const extra = random.pick(['', '', ' and s.c', ' and s.b is not null', ` and s.a > ${other}.a`, ` and not s.c`]);
  const not = random.pick(['', 'not ']);
  const [x, y] = random.pick([
    ['r', 'a'],
    ['a', 'r'],
    ['rk', 'k'],
    ['k', 'rk'],
    ['id', 'r'],
    ['b', 'b'],
  ] as const);
  const inside = random.pick([
    `${not}exists (select from ${table} s where ${equal}${extra})`,
    `${outer}.${x} ${not}in (select s.${y} from ${table} s where ${equal}${extra})`,
    // a left join may find no row, and then it depends on all rows
    `x0.${x} ${not}in (select s.${y} from ${table} s where s.id > 0${extra})`,
    `x0.${x} <> all (select s.${y} from ${table} s)`,
    `${outer}.n ${not}in (select s.n from ${table} s where ${equal}${extra})`,
  ]);
  return random.pick([
    inside,
    inside,
    `(${inside} or ${other}.c)`,
    `not (${inside} and ${other}.c)`,
    `(${inside}) is not true`,
    `coalesce(${inside}, ${other}.c)`,
  ]);
}

function condition(random: Draw, aliases: readonly string[]): string {
  const [one, other] = [random.pick(aliases), random.pick(aliases)];
  return random.pick([
    `${one}.c`,
    `not ${one}.c`,
    `${one}.a > 1`,
    `${one}.b is not null`,
    `${one}.a = ${other}.r`,
    `(${one}.c or ${other}.a is null)`,
    `${one}.b <> 'b1'`,
    `(${one}.n > 1.5) is not false`,
  ]);
}

/** The statements of a transaction. */
export function randomTransaction(random: Draw): readonly string[] {
  const statements: string[] = [];
  for (let count = random.pick([1, 1, 1, 2, 3, 5]); count > 0; count--) {
    const statement = randomStatement(random);
    if (random.chance(0.1)) statements.push('savepoint s', randomStatement(random), 'rollback to s');
    statements.push(statement);
  }
  return statements;
}

function randomStatement(random: Draw): string {
  const table = random.pick(TABLES);
  const id = random.int(0, IDS - 1);
  const column = random.pick(['a', 'b', 'c', 'r', 'rk', 'n', 'k', 'id', 'r', 'rk', 'a', 'e', 'e']);
  return random.pick([
    insert(random, table, id),
    insert(random, table, id),
    insert(random, table, id),
    update(random, table, id, column),
    update(random, table, id, column),
    update(random, table, id, column),
    update(random, table, id, column),
    `update ${table} set ${random.pick(['b', 'r', 'a', 'n'])} = null where id % 3 = ${id % 3}`,
    `delete from ${table} where id = ${id}`,
    `delete from ${table} where id = ${id}`,
    // two rows swap their keys
    `update ${table} set k = 's' || k where id = ${id} and k not like 's%'; update ${table} o set k = substr(p.k, 2) from ${table} p where p.id = ${id} and p.k like 's%' and o.id = ${(id + 1) % IDS} and not exists (select from ${table} q where q.k = substr(p.k, 2))`,
    `update ${table} set a = a where id = ${id}`,
  ]);
}

function insert(random: Draw, table: string, id: number): string {
  const values = ['k', 'a', 'b', 'c', 'r', 'rk', 'n', 'e'].map((column) => textFor(random, column));
  return `insert into ${table} (id, k, a, b, c, r, rk, n, e) values (${id}, ${values.join(', ')}) on conflict do nothing`;
}

function update(random: Draw, table: string, id: number, column: string): string {
  const value = textFor(random, column);
  const free = UNIQUE.has(column) ? ` and not exists (select from ${table} o where o.${column} = ${value})` : '';
  return `update ${table} set ${column} = ${value} where id = ${id}${free}`;
}

function textFor(random: Draw, column: string): string {
  switch (column) {
    case 'k':
      return `'k${random.int(0, 15)}'`;
    case 'rk':
    case 'e':
      return random.chance(0.15) ? 'null' : `'k${random.int(0, 15)}'`;
    case 'b':
      return random.pick(['null', "'b1'", "'b2'", "'é\"\\'"]);
    case 'c':
      return random.pick(['true', 'false']);
    case 'n':
      return random.pick(['null', '1.5', '1.50', '2', '-0.10']);
    case 'a':
      return random.chance(0.15) ? 'null' : String(random.int(0, GROUPS - 1));
    default:
      return random.chance(0.1) && column !== 'id' ? 'null' : String(random.int(0, IDS - 1));
  }
}
