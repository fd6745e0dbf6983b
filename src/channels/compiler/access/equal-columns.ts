/**
 * Finds columns of the tables in a SELECT that are equal in each row of its result, by its WHERE
 * and its joins. For access views over several tables: a changed row of one of them then names the
 * channel that the change affects.
 *
 *     select p.id as project, m.person as sub from projects p join members m on m.project = p.id
 *
 * A row of `members` contributes only to rows of the view with the same `project`.
 *
 * Other clauses are not examined: their tables are `unknown`, and their conditions add no equality.
 */
import type { JoinExpr, Node, RangeVar, SelectStmt, SubLink } from 'libpg-query';
import { nameOf, walk } from '../../sql/node.ts';
import { positiveSubqueries } from '../../sql/subselect.ts';

/** A table in a FROM, also of a subquery. */
export interface Occurrence {
  readonly schema: string;
  readonly name: string;
  readonly alias: string;
  readonly level: Level;
  /** Equalities in rows that a row of this table contributes to. */
  readonly own: Equality[];
}

export interface Column {
  readonly of: Occurrence;
  readonly name: string;
}

type Equality = readonly [Column, Column];

/** A SELECT and its FROM. Its subqueries see its tables. */
interface Level {
  readonly outer: Level | undefined;
  /** Whether its FROM has unknown names, which may hide outer ones. */
  isOpaque: boolean;
  readonly occurrences: Occurrence[];
  /** Equalities of each row that it finds. */
  readonly equalities: Equality[];
}

/** Clauses with which each row of the result still consists of one row of each table. */
const CLAUSES: ReadonlySet<string> = new Set([
  'targetList',
  'fromClause',
  'whereClause',
  'distinctClause',
  'sortClause',
  'limitOption',
  'op',
]);
/** In a subquery, clauses after the WHERE apply only to rows that it has selected. */
const CLAUSES_INSIDE: ReadonlySet<string> = new Set([...CLAUSES, 'groupClause', 'havingClause']);

export class EqualColumns {
  /** All tables, also those of subqueries. */
  readonly occurrences: Occurrence[] = [];
  /** Tables whose rows may affect the result in another way. */
  readonly unknown: RangeVar[] = [];
  readonly #top: Level | undefined;

  constructor(select: SelectStmt) {
    this.#top = this.#read(select, undefined, CLAUSES);
  }

  /** The column that an expression of the SELECT list names; undefined if it is not a column. */
  columnOf(value: Node | undefined): Column | undefined {
    return this.#top && value && this.#column(value, this.#top);
  }

  /**
   * The columns of a table that equal this column in all rows that a row of it contributes to.
   * Equalities with a column that is not `exact` are left out: `A = b AND b = a` if b ignores case.
   */
  equalTo(column: Column, of: Occurrence, isExact: (column: Column) => boolean): readonly string[] {
    const equalities = [...of.own];
    for (let level: Level | undefined = of.level; level !== undefined; level = level.outer)
      equalities.push(...level.equalities);
    const found = [column];
    const add = (other: Column) => {
      if (isExact(other) && !found.some((known) => isSame(known, other))) found.push(other);
    };
    // the list grows during the loop: it visits added columns
    for (const known of found)
      for (const [one, other] of equalities) {
        if (isSame(one, known)) add(other);
        if (isSame(other, known)) add(one);
      }
    return found.flatMap((each) => (each.of === of ? each.name : []));
  }

  #read(select: SelectStmt, outer: Level | undefined, clauses: ReadonlySet<string>): Level | undefined {
    if (!isPlain(select, clauses)) {
      this.#giveUp(select);
      return undefined;
    }
    const { fromClause = [], whereClause, targetList = [], groupClause, havingClause, sortClause } = select;
    const level: Level = { outer, isOpaque: false, occurrences: [], equalities: [] };
    for (const source of fromClause) this.#from(source, level, true);
    if (whereClause !== undefined) this.#conditions(whereClause, level, level.equalities);
    const positive = positiveSubqueries(whereClause);
    for (const part of [whereClause, targetList, groupClause, havingClause, sortClause])
      this.#subqueries(part, level, positive);
    return level;
  }

  /** `isKept`: each row of the result has a row of this item, or satisfies its conditions. */
  #from(source: Node, level: Level, isKept: boolean): void {
    if ('RangeVar' in source) this.#table(source.RangeVar, level);
    else if ('JoinExpr' in source) this.#join(source.JoinExpr, level, isKept);
    else {
      level.isOpaque = true;
      if ('RangeFunction' in source) this.#subqueries(source, level, new Set());
      else this.#giveUp(source);
    }
  }

  #table(table: RangeVar, level: Level): Occurrence | undefined {
    const { schemaname, relname = '', alias, inh } = table;
    if (schemaname === undefined || inh !== true || alias?.colnames !== undefined) {
      level.isOpaque = true;
      this.unknown.push(table);
      return undefined;
    }
    const occurrence = { schema: schemaname, name: relname, alias: alias?.aliasname ?? relname, level, own: [] };
    level.occurrences.push(occurrence);
    this.occurrences.push(occurrence);
    return occurrence;
  }

  #join(join: JoinExpr, level: Level, isKept: boolean): void {
    const { jointype, larg, rarg, quals, usingClause, isNatural, alias } = join;
    const isLeft = jointype === 'JOIN_LEFT';
    const isKnown = isLeft || jointype === 'JOIN_INNER';
    if (!isKnown || larg === undefined || rarg === undefined || isNatural === true || alias !== undefined) {
      level.isOpaque = true;
      return this.#giveUp(join);
    }
    this.#from(larg, level, isKept);
    let right: Occurrence | undefined;
    if (isLeft && 'RangeVar' in rarg) right = this.#table(rarg.RangeVar, level);
    else this.#from(rarg, level, isKept && !isLeft);
    this.#subqueries(quals, level, new Set());
    if (quals === undefined || usingClause !== undefined) return;
    if (!isLeft && isKept) return this.#conditions(quals, level, level.equalities);
    // the result also has rows without a partner: the conditions hold only with a row of the right
    if (right === undefined || !isKept) return;
    const found: Equality[] = [];
    this.#conditions(quals, level, found);
    for (const [one, other] of found) if ((one.of === right) !== (other.of === right)) right.own.push([one, other]);
  }

  /** Adds the equalities of columns that a condition joins with AND. */
  #conditions(condition: Node, level: Level, to: Equality[]): void {
    if ('BoolExpr' in condition && condition.BoolExpr.boolop === 'AND_EXPR') {
      for (const part of condition.BoolExpr.args ?? []) this.#conditions(part, level, to);
      return;
    }
    if (!('A_Expr' in condition)) return;
    const { kind, name = [], lexpr, rexpr } = condition.A_Expr;
    if (kind !== 'AEXPR_OP' || name.length !== 1 || nameOf(name) !== '=') return;
    const [one, other] = [lexpr && this.#column(lexpr, level), rexpr && this.#column(rexpr, level)];
    if (one !== undefined && other !== undefined) to.push([one, other]);
  }

  /** `positive`: the subqueries whose result may be false in place of NULL. */
  #subqueries(part: unknown, level: Level, positive: ReadonlySet<SubLink>): void {
    for (const link of linksIn(part)) {
      const { subselect, testexpr } = link;
      const select = subselect !== undefined && 'SelectStmt' in subselect ? subselect.SelectStmt : undefined;
      const inner = select && this.#read(select, level, CLAUSES_INSIDE);
      this.#subqueries(testexpr, level, new Set());
      if (inner === undefined || testexpr === undefined || !positive.has(link)) continue;
      const [target] = select?.targetList ?? [];
      const value = target !== undefined && 'ResTarget' in target ? target.ResTarget.val : undefined;
      const [one, other] = [this.#column(testexpr, level), value && this.#column(value, inner)];
      if (one !== undefined && other !== undefined) inner.equalities.push([one, other]);
    }
  }

  #column(value: Node, level: Level): Column | undefined {
    if (!('ColumnRef' in value)) return undefined;
    const fields = (value.ColumnRef.fields ?? []).map((field) => nameOf([field]));
    // Postgres prints columns without their table only if there is no other table
    const [only] = level.occurrences;
    if (fields.length === 1 && level.outer === undefined && only !== undefined && !level.isOpaque)
      return level.occurrences.length > 1 ? undefined : { of: only, name: fields[0] as string };
    const [alias, name] = fields as [string, string];
    if (fields.length !== 2 || name === '') return undefined;
    for (let at: Level | undefined = level; at !== undefined; at = at.outer) {
      const of = at.occurrences.find((occurrence) => occurrence.alias === alias);
      if (of !== undefined) return { of, name };
      if (at.isOpaque) return undefined;
    }
    return undefined;
  }

  #giveUp(part: unknown): void {
    walk(part, (kind, node) => {
      if (kind === 'RangeVar') this.unknown.push(node as RangeVar);
    });
  }
}

function isSame(one: Column, other: Column): boolean {
  return one.of === other.of && one.name === other.name;
}

function isPlain(select: SelectStmt, clauses: ReadonlySet<string>): boolean {
  const { op = 'SETOP_NONE', distinctClause = [], limitOption = 'LIMIT_OPTION_DEFAULT' } = select;
  if (op !== 'SETOP_NONE' || limitOption !== 'LIMIT_OPTION_DEFAULT') return false;
  // in the list, plain DISTINCT has one empty node; DISTINCT ON has its expressions
  if (distinctClause.some((node) => Object.keys(node).length > 0)) return false;
  return Object.entries(select).every(([clause, value]) => clauses.has(clause) || !isGiven(value));
}

function isGiven(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
}

/** The subqueries of an expression, without those within them. */
function linksIn(part: unknown): readonly SubLink[] {
  if (typeof part !== 'object' || part === null) return [];
  return Object.entries(part).flatMap(([kind, inner]) => (kind === 'SubLink' ? [inner as SubLink] : linksIn(inner)));
}
