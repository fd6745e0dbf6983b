/**
 * Reads and types a view's expressions, as pg_get_viewdef prints them: every operator's types are
 * known. Refuses, with its place, an expression whose result here may differ from Postgres's.
 */
import type { A_Expr, BoolExpr, BooleanTest, ColumnRef, FuncCall, Node, NullTest, SubLink } from 'libpg-query';
import type { CatalogTableColumn } from '../../catalog/catalog.ts';
import { ACCEPTS, type Condition, plainValue, type Value } from '../../evaluation/expression.ts';
import { shapedType } from '../../evaluation/shaped.ts';
import type { DefinitionText } from '../../sql/definition-text.ts';
import { INSTEAD } from '../../sql/instead.ts';
import { literalOf, nameOf } from '../../sql/node.ts';
import { RowError } from '../../values/row-error.ts';
import { BOOL, TEXT_TYPE, type Types } from '../../values/types.ts';
import { printed } from './cast.ts';
import { collationOf } from './collation.ts';
import { constantOf } from './constant.ts';
import type { ExpressionContext } from './context.ts';
import { foldConnective, foldNot, foldTest } from './fold.ts';
import { isDecidedByForm, isNull } from './never-null.ts';
import { readArray, readQuantified, readSubscript } from './read-array.ts';
import { CallReader } from './read-call.ts';
import { readCast, readCollate, readLiteral } from './read-cast.ts';
import { readCase, readCoalesce, readExtreme, readNullIf } from './read-choice.ts';
import { compareIn, comparison, EQUAL } from './read-comparison.ts';
import { changes, functionRefusal } from './refused-functions.ts';
import type { Scope } from './scope.ts';

type NodeKind = Node extends infer Each ? (Each extends unknown ? keyof Each : never) : never;
type NodeOf<Kind extends NodeKind> = Extract<Node, Record<Kind, unknown>>[Kind &
  keyof Extract<Node, Record<Kind, unknown>>];

interface Form<Kind extends NodeKind, Result> {
  /** For the documentation. */
  readonly is: string;
  readonly read: (reader: ExpressionReader, content: NodeOf<Kind>, node: Node) => Result;
}
type Forms<Result> = { readonly [Kind in NodeKind]?: Form<Kind, Result> };

/** The truth values of IS [NOT] TRUE, FALSE, UNKNOWN. */
const UNKNOWN = -1;
const TESTS: Readonly<Record<BooleanTest['booltesttype'] & string, readonly [is: number, negated: boolean]>> = {
  IS_TRUE: [1, false],
  IS_NOT_TRUE: [1, true],
  IS_FALSE: [0, false],
  IS_NOT_FALSE: [0, true],
  IS_UNKNOWN: [UNKNOWN, false],
  IS_NOT_UNKNOWN: [UNKNOWN, true],
};
const SYSTEM_COLUMNS: ReadonlySet<string> = new Set(['ctid', 'xmin', 'xmax', 'cmin', 'cmax', 'tableoid']);
const COMPARING: ReadonlySet<string> = new Set(['AEXPR_OP_ANY', 'AEXPR_OP_ALL', 'AEXPR_DISTINCT']);

/** Reasons for refusing certain kinds of nodes. */
const REFUSALS: Readonly<Partial<Record<NodeKind, string>>> = {
  SQLValueFunction: changes('this'),
  RowExpr: 'rows are not supported yet',
};

export interface SubqueryReader {
  read(link: SubLink, outer: ExpressionReader): Condition;
}

export class ExpressionReader implements ExpressionContext {
  /** Nodes that give a value, by the parser's name. */
  static readonly values: Forms<Value> = {
    ColumnRef: { is: 'columns', read: (reader, column) => reader.#column(column) },
    A_Const: { is: 'constants', read: readLiteral },
    TypeCast: {
      is: 'constants of a type, and casts: `CAST (x AS type)`, `x::type`, `x::type(length)`',
      read: (reader, cast, node) =>
        cast.typeName?.arrayBounds === undefined ? readCast(reader, cast, node) : readArray(reader, node),
    },
    CollateClause: { is: '`COLLATE "C"`', read: readCollate },
    FuncCall: { is: 'functions, as below', read: (reader, call, node) => reader.#function(call, node) },
    A_Expr: {
      is: 'operators, as below; `NULLIF (x, y)`',
      read: (reader, expression, node) => reader.#operator(expression, node),
    },
    CaseExpr: { is: '`CASE WHEN`, `CASE x WHEN y` where x and y are of one type', read: readCase },
    CoalesceExpr: { is: '`COALESCE`', read: readCoalesce },
    MinMaxExpr: { is: '`GREATEST`, `LEAST`', read: readExtreme },
    A_ArrayExpr: { is: '`ARRAY[...]` of constants', read: (reader, _, node) => readArray(reader, node) },
    A_Indirection: { is: '`array[index]`', read: readSubscript },
  };

  /** Nodes that give a condition. */
  static readonly conditions: Forms<Condition> = {
    BoolExpr: { is: '`AND`, `OR`, `NOT`', read: (reader, connective) => reader.#connective(connective) },
    NullTest: { is: '`IS [NOT] NULL`', read: (reader, test, node) => reader.#nullTest(test, node) },
    BooleanTest: {
      is: '`IS [NOT] TRUE`, `FALSE`, `UNKNOWN`',
      read: (reader, { arg, booltesttype }, node) => reader.#truthTest(arg as Node, node, booltesttype),
    },
    SubLink: {
      is: '`[NOT] EXISTS`, `[NOT] IN` over [one table](channels.md#subqueries)',
      read: (reader, link) => reader.#subquery(link),
    },
    A_Expr: {
      is: 'comparisons: `= <> < <= > >=`, `IS [NOT] DISTINCT FROM`, `BETWEEN [SYMMETRIC]`, `IN`, `ANY` and `ALL` over arrays',
      read: (reader, expression, node) => reader.#comparison(expression, node),
    },
  };

  readonly text: DefinitionText;
  readonly types: Types;
  readonly version: number;
  readonly #scope: Scope;
  readonly #calls: CallReader;
  readonly #subqueries: SubqueryReader | undefined;

  /** `subqueries`: without it, they are refused. */
  constructor(text: DefinitionText, scope: Scope, types: Types, version: number, subqueries?: SubqueryReader) {
    this.text = text;
    this.#subqueries = subqueries;
    this.types = types;
    this.version = version;
    this.#scope = scope;
    this.#calls = new CallReader(text, types);
  }

  value(node: Node): Value {
    if (isCondition(node)) {
      const condition = this.condition(node);
      return condition.kind === 'value' ? condition.value : plainValue({ kind: 'condition', condition }, BOOL);
    }
    try {
      return this.#read(ExpressionReader.values, node);
    } catch (error) {
      if (error instanceof RowError) throw this.text.refuse(`this is an error for every row: ${error.message}`, node);
      throw error;
    }
  }

  shown(node: Node): Value {
    const value = printed(this.value(node));
    if (value === undefined) throw this.text.refuse('this value is not supported yet', node);
    return value;
  }

  condition(node: Node): Condition {
    if (isCondition(node)) return this.#read(ExpressionReader.conditions, node);
    const value = this.value(node);
    if (value.type.kind !== 'bool') throw this.text.refuse(`this is of type ${value.type.name}, not boolean`, node);
    return { kind: 'value', value };
  }

  #read<Result>(forms: Forms<Result>, node: Node): Result {
    const [[kind, content]] = Object.entries(node) as [[NodeKind, never]];
    const form = forms[kind] as Form<never, Result> | undefined;
    if (form !== undefined) return form.read(this, content, node);
    throw this.text.refuse(REFUSALS[kind] ?? 'this expression is not supported yet', node);
  }

  #column(reference: ColumnRef): Value {
    const fields = reference.fields ?? [];
    const name = nameOf(fields);
    const qualifier = fields.length === 1 ? undefined : nameOf(fields.slice(0, 1));
    const isOurs = fields.length <= 2 && this.#scope.names(qualifier);
    if (!isOurs || name === '') throw this.text.refuse('whole rows are not supported yet', { ColumnRef: reference });
    const column = this.#scope.column(qualifier, name);
    if (column !== undefined) return this.#columnValue(column, reference);
    const reason = SYSTEM_COLUMNS.has(name)
      ? `the system column ${name} is not in the WAL`
      : `there is no column ${name} in the table`;
    throw this.text.refuse(reason, reference);
  }

  #columnValue(column: CatalogTableColumn, place: object): Value {
    if (column.generated !== '') throw this.text.refuse('generated columns are not supported yet', place);
    const type = this.types.byOid(column.typeOid);
    const source = { kind: 'column', column, shaped: shapedType(type) } as const;
    return { ...plainValue(source, type), ...collationOf(column) };
  }

  #function(call: FuncCall, place: Node): Value {
    const { funcname = [], args = [], over, agg_star, agg_distinct, agg_order, agg_filter, func_variadic } = call;
    const name = nameOf(funcname);
    const isOurs = funcname.length === 1 || nameOf(funcname.slice(0, 1)) === 'pg_catalog';
    const isPlain = !(agg_star || agg_distinct || agg_order || agg_filter || func_variadic);
    if (over !== undefined || !isOurs || !isPlain)
      throw this.text.refuse(functionRefusal(name, over !== undefined), place);
    return this.#calls.function(
      name,
      args.map((arg) => this.#argument(arg)),
      place,
    );
  }

  /** Reads an argument. EXTRACT(field FROM ...) names its field without a type. */
  #argument(node: Node): Value {
    const text = literalOf(node)?.text;
    return (typeof text === 'string' ? constantOf(TEXT_TYPE, text) : undefined) ?? this.value(node);
  }

  #operator(expression: A_Expr, place: Node): Value {
    const { kind = 'AEXPR_OP', name = [], lexpr, rexpr } = expression;
    if (kind === 'AEXPR_NULLIF') return readNullIf(this, expression, place);
    if (kind !== 'AEXPR_OP' || name.length !== 1 || rexpr === undefined)
      throw this.text.refuse('this expression is not supported yet', place);
    const operands = lexpr === undefined ? [rexpr] : [lexpr, rexpr];
    return this.#calls.operator(
      nameOf(name),
      operands.map((operand) => this.value(operand)),
      place,
    );
  }

  #connective({ boolop, args = [] }: BoolExpr): Condition {
    const of = args.map((arg) => this.condition(arg));
    if (boolop === 'NOT_EXPR') return foldNot(of[0] as Condition);
    return foldConnective(boolop === 'AND_EXPR' ? 'and' : 'or', of);
  }

  #subquery(link: SubLink): Condition {
    if (this.#subqueries === undefined)
      throw this.text.refuse('subqueries are not supported here', link, INSTEAD.subquery);
    return this.#subqueries.read(link, this);
  }

  /** Refuses a null test that Postgres may decide without evaluating its argument. */
  #mustEvaluate(arg: Node | undefined, place: Node): void {
    if (isDecidedByForm(arg, this.version))
      throw this.text.refuse('Postgres may know without evaluating this that it is never null', place);
  }

  #nullTest({ arg, nulltesttype }: NullTest, place: Node): Condition {
    this.#mustEvaluate(arg, place);
    const value = this.value(arg as Node);
    if (value.type.kind === 'composite') throw this.text.refuse('IS NULL over a row type is not supported yet', place);
    return foldTest({ kind: 'null', of: value, negated: nulltesttype === 'IS_NOT_NULL' });
  }

  #truthTest(arg: Node, place: Node, type: BooleanTest['booltesttype'] = 'IS_TRUE'): Condition {
    const [is, negated] = TESTS[type];
    if (is === UNKNOWN) this.#mustEvaluate(arg, place);
    return foldTest({ kind: 'test', of: this.condition(arg), is, negated });
  }

  #comparison(expression: A_Expr, place: Node): Condition {
    const { kind, lexpr, rexpr, name } = expression;
    const accepts = ACCEPTS[nameOf(name)];
    if (accepts === undefined || name?.length !== 1)
      throw this.text.refuse(`the operator ${nameOf(name)} is not supported here yet`, place);
    if (kind === 'AEXPR_OP_ANY' || kind === 'AEXPR_OP_ALL') return readQuantified(this, expression, accepts, place);
    if (kind === 'AEXPR_DISTINCT' && isNull(rexpr)) this.#mustEvaluate(lexpr, place);
    if (kind === 'AEXPR_DISTINCT' && isNull(lexpr)) this.#mustEvaluate(rexpr, place);
    const left = this.value(lexpr as Node);
    const right = this.value(rexpr as Node);
    if (kind !== 'AEXPR_DISTINCT') return comparison(this.text, left, right, accepts, place);
    return foldTest({ kind: 'distinct', left, right, compare: compareIn(this.text, left, right, EQUAL, place) });
  }
}

/** Whether the node gives a condition. */
function isCondition(node: Node): boolean {
  if (!('A_Expr' in node)) return Object.hasOwn(ExpressionReader.conditions, Object.keys(node)[0] as string);
  const { kind = 'AEXPR_OP', name, lexpr } = node.A_Expr;
  return COMPARING.has(kind) || (kind === 'AEXPR_OP' && lexpr !== undefined && Object.hasOwn(ACCEPTS, nameOf(name)));
}
