/**
 * Compiles the subqueries of a view. Each becomes one or more tests whether a table has a matching
 * row, and a condition over their results.
 *
 * NULLs are as in Postgres: `x IN (select y ...)` is true if a row equals x. Otherwise it is NULL
 * if a row exists and x or the y of a row is NULL. Otherwise it is false.
 */
import type { Node, SubLink } from 'libpg-query';
import { readableName } from '../../postgres/quote.ts';
import type { Catalog, CatalogTableColumn } from '../catalog/catalog.ts';
import { ACCEPTS, type Condition, plainValue, type Value } from '../evaluation/expression.ts';
import type { JoinPair } from '../join-plan.ts';
import { INSTEAD } from '../sql/instead.ts';
import { type ParsedSubquery, positiveSubqueries, readSubquery } from '../sql/subselect.ts';
import type { ParsedView } from '../sql/view.ts';
import { BOOL, type Types } from '../values/types.ts';
import { nullOf } from './expressions/constant.ts';
import { foldConnective, foldNot, foldTest } from './expressions/fold.ts';
import { comparison } from './expressions/read-comparison.ts';
import { ExpressionReader } from './expressions/read-expression.ts';
import { Scope } from './expressions/scope.ts';
import { sourceOf } from './flatten.ts';
import { keyOf } from './identity.ts';
import { castType, conjuncts, type Equality, equalityOf, type NamedSource } from './join-steps.ts';
import { orThrow } from './outputs.ts';
import { sourceTable } from './source-table.ts';

/** A test whether the table has a matching row. */
export interface FoundTest {
  readonly source: NamedSource;
  readonly from: number;
  readonly pairs: readonly JoinPair[];
  readonly conditions: readonly Condition[];
  readonly nullIn: CatalogTableColumn | undefined;
  readonly nullFrom: CatalogTableColumn | undefined;
  /** The column of the joined row that holds the result. */
  readonly answer: CatalogTableColumn;
}

export interface SubqueriesOptions {
  readonly parsed: ParsedView;
  readonly catalog: Catalog;
  readonly types: Types;
  /** The tables of the outer query. */
  readonly sources: readonly NamedSource[];
  /** Whether a left join may find no row of this outer table. */
  readonly mayLack: (source: number) => boolean;
}

/** The row of a table that a test looks for. */
interface Sought {
  readonly source: NamedSource;
  readonly equalities: readonly Equality[];
  readonly conditions: readonly Condition[];
  readonly nullIn?: CatalogTableColumn;
  readonly nullFrom?: CatalogTableColumn;
}

const BOOL_OID = 16;
const NULL_CONDITION: Condition = { kind: 'value', value: nullOf(BOOL) };

export class Subqueries {
  readonly tests: FoundTest[] = [];
  readonly warnings: string[] = [];
  readonly #options: SubqueriesOptions;
  readonly #positive: ReadonlySet<SubLink>;
  readonly #read = new Map<SubLink, Condition>();

  constructor(options: SubqueriesOptions) {
    this.#options = options;
    this.#positive = positiveSubqueries(options.parsed.where);
  }

  /** Throws Unsupported if it is not supported. `outer` reads expressions of the outer query. */
  read(link: SubLink, outer: ExpressionReader): Condition {
    const known = this.#read.get(link);
    if (known !== undefined) return known;
    const subquery = readSubquery(link, this.#options.parsed.text);
    const condition = this.#condition(subquery, link, outer);
    this.#read.set(link, condition);
    return condition;
  }

  #condition(subquery: ParsedSubquery, link: SubLink, outer: ExpressionReader): Condition {
    const { parsed, catalog, types, sources } = this.#options;
    const { text } = parsed;
    const source = this.#source(subquery);
    const reader = new ExpressionReader(text, new Scope([...sources, source]), types, catalog.server.version);
    const read = subquery.where === undefined ? [] : conjuncts(subquery.where).map((node) => reader.condition(node));
    const equalities = read.flatMap((condition) => this.#equality(condition, source) ?? []);
    const used = new Set(equalities.map(({ condition }) => condition));
    const sought: Sought = { source, equalities, conditions: read.filter((condition) => !used.has(condition)) };
    if (subquery.kind === 'exists') return this.#test(sought, link);
    const x = outer.value(subquery.compared as Node);
    const y = reader.value(subquery.target as Node);
    const equal = comparison(text, y, x, ACCEPTS['='] as number, link);
    const isIn = this.#in(sought, { x, y, equal }, link);
    return subquery.kind === 'in' ? isIn : foldNot(isIn);
  }

  #in(sought: Sought, { x, y, equal }: { x: Value; y: Value; equal: Condition }, link: SubLink): Condition {
    const { source, equalities, conditions } = sought;
    const same = this.#equality(equal, source);
    const matches = this.#test(
      same === undefined
        ? { ...sought, conditions: [...conditions, equal] }
        : { ...sought, equalities: [same, ...equalities] },
      link,
    );
    const isOpen = { x: this.#mayBeNull(x), y: this.#mayBeNull(y) };
    if (this.#positive.has(link) || !(isOpen.x || isOpen.y)) return matches;
    const unknown: Condition[] = [];
    if (equalities.length > 0 || same === undefined) {
      const isUnknown = foldTest({ kind: 'test', of: equal, is: -1, negated: false });
      unknown.push(this.#test({ ...sought, conditions: [...conditions, isUnknown] }, link));
    } else {
      if (isOpen.y) unknown.push(this.#add({ ...sought, nullIn: same.own }, 0, []));
      if (isOpen.x) unknown.push(this.#ifNull(sought, same, link));
      this.#warn(source, same, isOpen);
    }
    return foldConnective('or', [matches, foldConnective('and', [NULL_CONDITION, foldConnective('or', unknown)])]);
  }

  /** True if x is NULL and a row exists. */
  #ifNull(sought: Sought, { other, from }: Equality, link: SubLink): Condition {
    if (this.#options.mayLack(from))
      throw this.#options.parsed.text.refuse(
        `${readableName(other.name)} is NULL where the left join finds no row, and then NOT IN depends on all rows of the subquery`,
        link,
        INSTEAD.notExists,
      );
    return this.#add({ ...sought, nullFrom: other }, from, []);
  }

  #warn(
    { table }: NamedSource,
    { own, other, from }: Equality,
    isOpen: { readonly x: boolean; readonly y: boolean },
  ): void {
    const outside = this.#options.sources[from] as NamedSource;
    const names = [
      ...(isOpen.x ? [readableName(outside.table.schema, outside.table.name, other.name)] : []),
      ...(isOpen.y ? [readableName(table.schema, table.name, own.name)] : []),
    ];
    for (const name of names)
      this.warnings.push(
        `${name} may be NULL, so NOT IN reads many rows where it is: declare it NOT NULL, or write NOT EXISTS`,
      );
  }

  /**
   * Finds rows by the columns that equal columns of one outer table: that with the most of them.
   */
  #test({ equalities, conditions, ...sought }: Sought, link: SubLink): Condition {
    const { types, parsed } = this.#options;
    const counts = new Map<number, number>();
    for (const { from } of equalities) counts.set(from, (counts.get(from) ?? 0) + 1);
    const [best] = [...counts].sort(([a, some], [b, others]) => others - some || a - b);
    if (best === undefined)
      throw parsed.text.refuse(
        'subqueries are not supported whose rows need not equal anything outside: each change would concern all rows',
        link,
        INSTEAD.subquery,
      );
    const [from] = best;
    const used = new Map<number, Equality>();
    for (const each of equalities)
      if (each.from === from && !used.has(each.own.number)) used.set(each.own.number, each);
    const pairing = [...used.values()];
    const rest = equalities.filter((each) => !pairing.includes(each)).map(({ condition }) => condition);
    const pairs = pairing.map(({ own, other }) => ({
      from: other.number,
      key: own.number,
      type: castType(own, types),
    }));
    return this.#add({ ...sought, conditions: [...conditions, ...rest] }, from, pairs);
  }

  #add(
    { source, conditions, nullIn, nullFrom }: Omit<Sought, 'equalities'>,
    from: number,
    pairs: readonly JoinPair[],
  ): Condition {
    const answer = answerColumn(this.tests.length);
    this.tests.push({ source, from, pairs, conditions, nullIn, nullFrom, answer });
    return { kind: 'value', value: plainValue({ kind: 'column', column: answer }, BOOL) };
  }

  #source({ table }: ParsedSubquery): NamedSource {
    const { catalog, parsed } = this.#options;
    const found = sourceTable(table, sourceOf(table, catalog), parsed.text);
    orThrow(keyOf(found));
    return { alias: table.alias, table: found, columns: found.columns.map((column) => ({ ...column })) };
  }

  #equality(condition: Condition, source: NamedSource): Equality | undefined {
    const { sources, types } = this.#options;
    return equalityOf(condition, [...sources, source], sources.length, types);
  }

  #mayBeNull({ source }: Value): boolean {
    if (source.kind === 'constant') return source.text === null;
    if (source.kind !== 'column' || !source.column.notNull) return true;
    const outside = this.#options.sources.findIndex(({ columns }) => columns.includes(source.column));
    return outside !== -1 && this.#options.mayLack(outside);
  }
}

/** A column of joined rows that holds a subquery's result. */
export function answerColumn(number: number): CatalogTableColumn {
  return {
    name: `subquery ${number}`,
    number: 0,
    typeOid: BOOL_OID,
    typeModifier: -1,
    type: 'boolean',
    bytewise: true,
    deterministic: true,
    collation: null,
    notNull: true,
    generated: '',
    expression: null,
    toastable: false,
    version: 0,
  };
}
