/**
 * Random access views over small tables, as SQL. Each query has the columns id, x and y, and its
 * rows do not depend on Postgres's plan.
 */
import type { AccessSchema } from '../../src/channels/catalog/catalog.ts';
import type { Random } from '../oracle/random.ts';

/** Tables of every kind that an access view can read. Few views read `busy`. */
export const TABLES_SQL = `
  create table a (id int primary key, x int, y int, busy int);
  alter table a replica identity full;
  create table b (id int primary key, x int, y int, busy int);
  create table c (id int, x int, y int, busy int, primary key (id, x)) partition by list (x);
  create table c_low partition of c for values in (0, 1);
  create table c_high partition of c default;
  create table d (id int primary key, x int, y int, busy int);
  create table d_more (primary key (id)) inherits (d);`;
export const TABLES = ['a', 'b', 'c', 'd', 'd_more'] as const;
const READ = ['a', 'b', 'c', 'd', 'only d'] as const;
const ORDER = 'id desc, x, y';
const BUSY = [
  'true',
  't.y is null',
  'coalesce(t.busy, 0) < 3',
  "(to_jsonb(t) ->> 'busy') is distinct from '3'",
  '(select count(*) from b where b.busy = t.busy) = 0',
] as const;

export class RandomViews {
  readonly #random: Random;
  #count = 0;
  readonly #views: string[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** An access view for a pattern with the placeholder {x}, after the views that it reads. */
  accessView(pattern: string, schema: AccessSchema): string {
    this.#views.length = 0;
    const source = () => this.#source(1 + this.#random.below(2));
    const top = this.#one<() => string>([
      () => `select t.x, t.y as sub from ${this.#one(READ)} t where ${this.#condition('t', 0)}`,
      () => `select t.x, t.y as sub from ${this.#one(READ)} t where ${this.#one(BUSY)}`,
      () =>
        `select q.x, q.y as sub from ${source()} q join ${this.#one(READ)} t on t.id = q.id where ${this.#one(BUSY)}`,
      () =>
        `select q.x, q.y as sub from ${source()} q left join ${this.#one(READ)} t on t.id = q.x where ${this.#one(BUSY)}`,
      ...Array.from({ length: 5 }, () => () => `select q.x, q.y as sub from ${source()} q`),
      ...Array.from({ length: 15 }, () => () => this.#joined()),
    ])();
    return [...this.#views, `create view ${schema}."${pattern}" as ${top};`].join('\n');
  }

  /** Tables that are joined in the view's own FROM, and subqueries over one table. */
  #joined(): string {
    const aliases = [this.#name()];
    let from = `${this.#one(READ)} ${aliases[0]}`;
    const equality = (one: string, other: string) => {
      const column = this.#one(['x', 'x', 'id', 'y']);
      return `${one}.${column} = ${other}.${this.#one([column, column, 'x'])}`;
    };
    for (let count = this.#random.below(3); count > 0; count--) {
      const [alias, other] = [this.#name(), this.#one(aliases)];
      const kind = this.#one(['join', 'join', 'left join', 'left join', 'right join', 'full join']);
      // FULL JOIN takes no other condition
      const more = kind === 'full join' ? '' : this.#one(['', ` and ${equality(other, alias)}`, ` and ${alias}.y > 0`]);
      from += ` ${kind} ${this.#one(READ)} ${alias} on ${equality(alias, other)}${more}`;
      aliases.push(alias);
    }
    const conditions: string[] = [];
    for (let count = this.#random.below(3); count > 0; count--) {
      const [one, other, s] = [this.#one(aliases), this.#one(aliases), this.#name()];
      const where = `${equality(s, one)}${this.#one(['', ` and ${equality(other, s)}`, ` and ${s}.y > 0`])}`;
      const inside = this.#one([
        `exists (select from ${this.#one(READ)} ${s} where ${where})`,
        `${one}.x in (select ${s}.x from ${this.#one(READ)} ${s})`,
        `${one}.x in (select ${s}.x from ${this.#one(READ)} ${s} where ${where})`,
        `${one}.x = any (select ${s}.id from ${this.#one(READ)} ${s} where ${where} group by ${s}.id)`,
        `${one}.y ${this.#one(['<>', '>='])} any (select ${s}.x from ${this.#one(READ)} ${s} where ${where})`,
        `${one}.y ${this.#one(['<>', '>='])} all (select ${s}.x from ${this.#one(READ)} ${s} where ${where})`,
      ]);
      conditions.push(
        this.#one([
          equality(one, other),
          `${one}.y is null`,
          inside,
          inside,
          `not ${inside}`,
          `(${inside} or ${other}.y is null)`,
          `(${inside}) is not true`,
        ]),
      );
    }
    const where = conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`;
    const list = `${this.#one(aliases)}.x, ${this.#one(aliases)}.y as sub`;
    return `select ${this.#one(['', '', 'distinct '])}${list} from ${from}${where}`;
  }

  #query(depth: number): string {
    const [t, u] = [this.#name(), this.#name()];
    const source = () => this.#source(depth - 1);
    const plain = `select ${t}.id, ${t}.x, ${t}.y from ${source()} ${t}`;
    const where = () => this.#condition(t, depth - 1);
    const join = this.#one(['join', 'left join', 'right join', 'full join']);
    const set = `${this.#one(['union', 'union', 'except', 'intersect'])} ${this.#one(['', 'all'])}`;
    return this.#one<() => string>([
      () => plain,
      () => `${plain} where ${where()}`,
      () => `${plain} where ${where()} and ${where()}`,
      () => `select ${t}.id, ${u}.x, ${t}.y from ${source()} ${t} join ${source()} ${u} on ${u}.x = ${t}.x`,
      () => `select ${t}.id, ${u}.x, ${t}.y from ${source()} ${t} ${join} ${source()} ${u} on ${u}.x = ${t}.x`,
      () => `${plain} left join ${source()} ${u} using (x) where ${u}.id is null`,
      () => `select distinct ${t}.id, ${t}.x, ${t}.y from ${source()} ${t}`,
      () => `select distinct on (${t}.x) ${t}.id, ${t}.x, ${t}.y from ${source()} ${t} order by ${t}.x, ${ORDER}`,
      () =>
        `select distinct on (${t}.x) ${t}.id, ${t}.x, ${t}.y from ${this.#one(READ)} ${t} order by ${t}.x, ${ORDER}`,
      () => `select distinct on (id) ${t}.id, ${t}.x, ${t}.y from ${source()} ${t} where ${where()} order by id, x, y`,
      () => `${plain} order by ${ORDER} limit ${this.#random.below(4)}`,
      () => `${plain} order by ${ORDER} offset ${this.#random.below(3)}`,
      () => `${plain} order by x fetch first 1 rows with ties`,
      () =>
        `select ${t}.id, ${t}.x, ${t}.y from (select s.*, row_number() over (partition by x order by ${ORDER}) n from ${source()} s) ${t} where n = 1`,
      () => `select ${t}.id, ${t}.x, (count(*) over (partition by ${t}.x))::int y from ${source()} ${t}`,
      () => `select max(${t}.id) id, ${t}.x, min(${t}.y) y from ${source()} ${t} group by ${t}.x`,
      () => `select ${t}.id, ${t}.x, ${t}.y from ${source()} ${t} group by id, x, y having count(*) = 1`,
      () => `select max(id) id, count(*)::int x, 1 y from ${source()} ${t}`,
      () => `(${this.#query(depth - 1)}) ${set} (${this.#query(depth - 1)})`,
      () => `(${plain}) union all (${plain}) order by ${ORDER} limit 2`,
      () => `with w as (${this.#query(depth - 1)}) ${plain} where exists (select from w where w.x = ${t}.x)`,
      () => `with w as materialized (${this.#query(depth - 1)}) select id, x, y from w`,
      () =>
        `with recursive w(id, x, y) as (${plain} union select w.id, w.x + 1, w.y from w where w.x < 2) select id, x, y from w`,
      () =>
        `select ${t}.id, ${u}.x, ${u}.y from ${source()} ${t} cross join lateral (select s.x, s.y from ${source()} s where s.x = ${t}.x order by s.id desc, s.x, s.y limit 1) ${u}`,
      () => `select ${t}.id, (select max(s.x) from ${source()} s) x, ${t}.y from ${source()} ${t}`,
      () =>
        `select ${t}.id, ${t}.x, (exists (select from ${source()} s where s.x = ${t}.x))::int y from ${source()} ${t}`,
      () => `select ${t}.id, g.x, ${t}.y from ${source()} ${t}, generate_series(0, ${t}.x) g (x)`,
      () =>
        `select (array_agg(id order by ${ORDER}))[1] id, ${t}.x, count(*)::int y from ${source()} ${t} group by rollup (x)`,
    ])();
  }

  /** A table, a subquery or a view. */
  #source(depth: number): string {
    if (depth <= 0) return this.#one(READ);
    const query = this.#query(depth);
    if (this.#random.below(4) > 0) return `(${query})`;
    const view = `view_${this.#name()}`;
    this.#views.push(`create view ${view} (id, x, y) as ${query};`);
    return view;
  }

  #condition(t: string, depth: number): string {
    const s = this.#name();
    const number = this.#random.below(4);
    const simple: (() => string)[] = [
      () => `${t}.x ${this.#one(['=', '<>', '<', '>='])} ${number}`,
      () => `${t}.y is ${this.#one(['', 'not'])} null`,
      () => `${t}.x = any (array[0, ${number}])`,
      () => `coalesce(${t}.y, ${number}) > 1`,
    ];
    if (depth <= 0) return this.#one(simple)();
    const source = () => this.#source(depth - 1);
    const inner = () => this.#condition(t, depth - 1);
    const exists = () => `exists (select from ${source()} ${s} where ${s}.x = ${t}.x)`;
    const found = () => `select ${s}.x from ${source()} ${s} where ${this.#condition(s, depth - 1)}`;
    return this.#one<() => string>([
      ...simple,
      exists,
      exists,
      () => `not ${exists()}`,
      () => `${t}.x in (${found()})`,
      () => `${t}.x not in (${found()})`,
      () => `${t}.x ${this.#one(['>', '='])} all (${found()})`,
      () => `${t}.x <> any (${found()})`,
      () => `${t}.x = (select max(${s}.x) from ${source()} ${s})`,
      () => `(select count(*) from ${source()} ${s} where ${s}.x = ${t}.x) < 2`,
      () => `(${exists()}) = ${this.#one(['true', 'false'])}`,
      () => `(${exists()}) is ${this.#one(['not true', 'true'])}`,
      () => `case when ${exists()} then ${this.#one(['true', 'false'])} else ${t}.y is null end`,
      () => `array(${found()}) = '{}'`,
      () => `(${t}.x, ${t}.id) in (select ${s}.x, ${s}.id from ${source()} ${s})`,
      () => `not (${inner()})`,
      () => `(${inner()} or ${inner()})`,
      () => `(${inner()} and ${inner()})`,
    ])();
  }

  #name(): string {
    return `t${++this.#count}`;
  }

  #one<T>(list: readonly T[]): T {
    return list[this.#random.below(list.length)] as T;
  }
}
