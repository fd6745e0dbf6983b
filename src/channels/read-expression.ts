/**
 * Types the expressions of a view, as pg_get_viewdef prints them (fully cast, every operator's types known), and
 * refuses by name what is not known to mean the same here as in Postgres.
 */
import type {
  A_ArrayExpr,
  A_Const,
  A_Expr,
  BoolExpr,
  BooleanTest,
  CollateClause,
  ColumnRef,
  Node,
  NullTest,
  TypeCast,
  TypeName,
} from 'libpg-query';
import { visitArray } from './array-text.ts';
import { castTo } from './cast.ts';
import type { CatalogTable, CatalogTableColumn } from './catalog.ts';
import { collationOf, combinedCollation } from './collation.ts';
import { comparable, compareOf } from './compare.ts';
import { constantOf, nullOf } from './constant.ts';
import { ACCEPTS, type Condition, type Value } from './expression.ts';
import { literalOf, nameOf, schemaOf } from './node.ts';
import type { DefinitionText } from './parse.ts';
import { changes, functionRefusal } from './refused-functions.ts';
import { arrayOf, BOOL, isScalar, isText, type ScalarType, type Types } from './types.ts';

type NodeKind = Node extends infer Each ? (Each extends unknown ? keyof Each : never) : never;
type NodeOf<Kind extends NodeKind> = Extract<Node, Record<Kind, unknown>>[Kind &
  keyof Extract<Node, Record<Kind, unknown>>];

/** The truth values of IS [NOT] TRUE, FALSE, UNKNOWN. */
const TESTS: Readonly<Record<BooleanTest['booltesttype'] & string, readonly [is: number, negated: boolean]>> = {
  IS_TRUE: [1, false],
  IS_NOT_TRUE: [1, true],
  IS_FALSE: [0, false],
  IS_NOT_FALSE: [0, true],
  IS_UNKNOWN: [-1, false],
  IS_NOT_UNKNOWN: [-1, true],
};
const SYSTEM_COLUMNS: ReadonlySet<string> = new Set(['ctid', 'xmin', 'xmax', 'cmin', 'cmax', 'tableoid']);
const BYTEWISE_COLLATIONS: ReadonlySet<string> = new Set(['C', 'POSIX', 'ucs_basic']);

/** Why other kinds of nodes are refused. */
const REFUSALS: Readonly<Partial<Record<NodeKind, string>>> = {
  SubLink: 'subqueries are not supported: a channel view reads one table',
  CaseExpr: 'CASE is not supported yet',
  CoalesceExpr: 'COALESCE is not supported yet',
  MinMaxExpr: 'GREATEST and LEAST are not supported yet',
  A_Indirection: 'subscripts and fields are not supported yet',
  RowExpr: 'rows are not supported yet',
  A_ArrayExpr: 'arrays are supported in = ANY (ARRAY[...]) only, so far',
};
const OPERATORS: Readonly<Partial<Record<A_Expr['kind'] & string, string>>> = {
  AEXPR_NULLIF: 'NULLIF is not supported yet',
  AEXPR_LIKE: 'LIKE is not supported yet',
};

export class ExpressionReader {
  readonly #text: DefinitionText;
  readonly #table: CatalogTable;
  readonly #alias: string;
  readonly #types: Types;

  constructor(text: DefinitionText, table: CatalogTable, alias: string, types: Types) {
    this.#text = text;
    this.#table = table;
    this.#alias = alias;
    this.#types = types;
  }

  /** An expression of any type. */
  value(node: Node): Value {
    if ('ColumnRef' in node) return this.#column(node.ColumnRef);
    if ('A_Const' in node) return this.#literal(node.A_Const);
    if ('TypeCast' in node) return this.#cast(node.TypeCast);
    if ('CollateClause' in node) return this.#collate(node.CollateClause);
    const source = { kind: 'condition', condition: this.condition(node) } as const;
    return { source, type: BOOL, printed: true, single: false, collation: 'none', explicit: false };
  }

  /** An expression of type boolean. */
  condition(node: Node): Condition {
    if ('BoolExpr' in node) return this.#connective(node.BoolExpr);
    if ('NullTest' in node) return this.#nullTest(node.NullTest);
    if ('BooleanTest' in node) return this.#truthTest(node.BooleanTest);
    if ('A_Expr' in node) return this.#operator(node.A_Expr);
    if (!('ColumnRef' in node || 'A_Const' in node || 'TypeCast' in node)) throw this.#refusal(node);
    const value = this.value(node);
    if (value.type.kind !== 'bool') throw this.#text.refuse(`this is of type ${value.type.name}, not boolean`, node);
    return { kind: 'value', value };
  }

  #refusal(node: Node): Error {
    const [kind, content] = Object.entries(node)[0] as [NodeKind, object];
    if (kind === 'FuncCall') {
      const { funcname, over } = content as NodeOf<'FuncCall'>;
      return this.#text.refuse(functionRefusal(nameOf(funcname), over !== undefined), node);
    }
    if (kind === 'SQLValueFunction') return this.#text.refuse(changes('this'), node);
    return this.#text.refuse(REFUSALS[kind] ?? 'this expression is not supported yet', node);
  }

  #column(reference: ColumnRef): Value {
    const fields = reference.fields ?? [];
    const name = nameOf(fields);
    const isOurs = fields.length === 1 || (fields.length === 2 && nameOf(fields.slice(0, 1)) === this.#alias);
    if (!isOurs || name === '') throw this.#text.refuse('whole rows are not supported yet', { ColumnRef: reference });
    const column = this.#table.columns.find((candidate) => candidate.name === name);
    if (column !== undefined) return this.#columnValue(column, reference);
    const reason = SYSTEM_COLUMNS.has(name)
      ? `the system column ${name} is not in the WAL`
      : `there is no column ${name} in the table`;
    throw this.#text.refuse(reason, reference);
  }

  #columnValue(column: CatalogTableColumn, place: object): Value {
    if (column.generated !== '') throw this.#text.refuse('generated columns are not supported yet', place);
    const type = this.#types.byOid(column.typeOid);
    return {
      source: { kind: 'column', column },
      type,
      printed: true,
      single: type.kind === 'float4',
      collation: collationOf(column, type),
      explicit: false,
    };
  }

  #literal(constant: A_Const): Value {
    const place = { A_Const: constant };
    if (constant.isnull === true) throw this.#text.refuse('this NULL has no type', place);
    if (constant.boolval !== undefined)
      return this.#constant('bool', constant.boolval.boolval === true ? 't' : 'f', place);
    if (constant.ival !== undefined) return this.#constant('int4', String(constant.ival.ival ?? 0), place);
    const decimal = constant.fval?.fval;
    if (decimal?.includes('.') === true) return this.#constant('numeric', decimal, place);
    throw this.#text.refuse('this constant has no type that is supported yet', place);
  }

  #constant(name: string, text: string | null, place: object, schema = 'pg_catalog'): Value {
    const type = this.#types.byName(schema, name);
    const value = type === undefined ? undefined : constantOf(type, text);
    if (value === undefined)
      throw this.#text.refuse(`constants of type ${name} written like this are not supported yet`, place);
    return value;
  }

  #cast(cast: TypeCast): Value {
    const place = { TypeCast: cast };
    const { arg, typeName } = cast;
    if (arg === undefined || typeName === undefined) throw this.#text.refuse('this cast is not supported yet', place);
    if (typeName.arrayBounds !== undefined) throw this.#text.refuse(REFUSALS.A_ArrayExpr as string, place);
    const literal = literalOf(arg);
    if (literal !== undefined) return this.#typedLiteral(literal.text, typeName, place);
    const value = this.value(arg);
    const type = this.#typeOf(typeName, place);
    const result = castTo(value, type);
    if (result === undefined)
      throw this.#text.refuse(`the cast from ${value.type.name} to ${type.name} is not supported yet`, place);
    return result;
  }

  #typedLiteral(text: string | null, typeName: TypeName, place: object): Value {
    // a NULL keeps the length that it was declared with
    if (text !== null) this.#typeOf(typeName, place);
    return this.#constant(nameOf(typeName.names), text, place, schemaOf(typeName));
  }

  #typeOf(typeName: TypeName, place: object): ScalarType {
    const name = nameOf(typeName.names);
    const type = this.#types.byName(schemaOf(typeName), name);
    if (type === undefined) throw this.#text.refuse(`casts to ${name} are not supported yet`, place);
    if (typeName.typmods !== undefined)
      throw this.#text.refuse('casts to a length or precision are not supported yet', place);
    return type;
  }

  #collate({ arg, collname, location }: CollateClause): Value {
    const place = { arg, location };
    if (arg === undefined) throw this.#text.refuse('this COLLATE is not supported', place);
    const value = this.value(arg);
    const name = nameOf(collname);
    const isBuiltIn = collname?.length === 1 || nameOf(collname?.slice(0, 1)) === 'pg_catalog';
    if (isBuiltIn && BYTEWISE_COLLATIONS.has(name)) return { ...value, collation: 'C', explicit: true };
    if (isBuiltIn && name === 'default') return { ...value, collation: 'other', explicit: true };
    throw this.#text.refuse(`the collation ${name} is not supported yet: use "C"`, place);
  }

  #connective({ boolop, args = [] }: BoolExpr): Condition {
    const of = args.map((arg) => this.condition(arg));
    if (boolop === 'NOT_EXPR') return { kind: 'not', of: of[0] as Condition };
    return { kind: boolop === 'AND_EXPR' ? 'and' : 'or', of };
  }

  #nullTest(test: NullTest): Condition {
    const value = this.value(test.arg as Node);
    if (value.type.kind === 'composite')
      throw this.#text.refuse('IS NULL over a row type is not supported yet', { NullTest: test });
    return { kind: 'null', of: value, negated: test.nulltesttype === 'IS_NOT_NULL' };
  }

  #truthTest({ arg, booltesttype }: BooleanTest): Condition {
    const [is, negated] = TESTS[booltesttype ?? 'IS_TRUE'];
    return { kind: 'test', of: this.condition(arg as Node), is, negated };
  }

  #operator(expression: A_Expr): Condition {
    const place = { A_Expr: expression };
    const { kind = 'AEXPR_OP', lexpr, rexpr, name = [] } = expression;
    const operator = nameOf(name);
    const accepts = name.length === 1 ? ACCEPTS[operator] : undefined;
    if (OPERATORS[kind] !== undefined) throw this.#text.refuse(OPERATORS[kind], place);
    if (accepts === undefined || lexpr === undefined || rexpr === undefined)
      throw this.#text.refuse(`the operator ${operator} is not supported yet`, place);
    if (kind === 'AEXPR_OP_ANY' || kind === 'AEXPR_OP_ALL')
      return this.#quantified(expression, lexpr, rexpr, accepts, place);
    const left = this.value(lexpr);
    const right = this.value(rexpr);
    if (kind === 'AEXPR_OP') return this.#comparison(left, right, accepts, place);
    if (kind !== 'AEXPR_DISTINCT') throw this.#text.refuse('this expression is not supported yet', place);
    const { compare } = this.#comparison(left, right, ACCEPTS['='] as number, place);
    return { kind: 'distinct', left, right, compare };
  }

  /** `x = ANY (array)` is `x = a OR x = b ...`, `x <> ALL (array)` is `x <> a AND x <> b ...`. */
  #quantified({ kind }: A_Expr, lexpr: Node, rexpr: Node, accepts: number, place: object): Condition {
    const left = this.value(lexpr);
    const elements = this.#elements(rexpr);
    if (elements === undefined) return { kind: 'value', value: nullOf(BOOL) };
    return {
      kind: kind === 'AEXPR_OP_ANY' ? 'or' : 'and',
      of: elements.map((element) => this.#comparison(left, element, accepts, place)),
    };
  }

  /** The elements of an array that is written out; undefined for NULL. */
  #elements(node: Node): readonly Value[] | undefined {
    if ('A_ArrayExpr' in node)
      return (node.A_ArrayExpr as A_ArrayExpr).elements?.map((element) => this.value(element)) ?? [];
    const cast = 'TypeCast' in node ? node.TypeCast : undefined;
    if (cast?.arg === undefined || cast.typeName?.arrayBounds === undefined)
      throw this.#text.refuse(REFUSALS.A_ArrayExpr as string, node);
    const type = this.#typeOf(cast.typeName, node);
    const literal = literalOf(cast.arg);
    if (literal !== undefined) return literal.text === null ? undefined : this.#arrayConstant(type, literal.text, node);
    return this.#elements(cast.arg)?.map((element) => {
      const result = castTo(element, type);
      if (result === undefined)
        throw this.#text.refuse(`the cast from ${element.type.name} to ${type.name} is not supported yet`, node);
      return result;
    });
  }

  #arrayConstant(type: ScalarType, text: string, place: object): Value[] {
    const elements: Value[] = [];
    const add = (element: string | null) => {
      const value = constantOf(type, element);
      if (value === undefined)
        throw this.#text.refuse(
          `constants of type ${arrayOf(type).name} written like this are not supported yet`,
          place,
        );
      elements.push(value);
    };
    const bytes = Buffer.from(text);
    const nothing = () => {};
    visitArray(bytes, 0, bytes.length, ','.charCodeAt(0), {
      open: nothing,
      close: nothing,
      separator: nothing,
      element: (buffer, start, end) => add(buffer.toString('utf8', start, end)),
      nullElement: () => add(null),
    });
    return elements;
  }

  #comparison(left: Value, right: Value, accepts: number, place: object): Condition & { kind: 'compare' } {
    const { type } = left;
    if (!isScalar(type) || !isScalar(right.type) || !comparable(type, right.type))
      throw this.#text.refuse(`comparing ${type.name} with ${right.type.name} is not supported yet`, place);
    const isOrdered = accepts !== ACCEPTS['='] && accepts !== ACCEPTS['<>'];
    if (isText(type)) this.#checkCollation(left, right, isOrdered, place);
    const compare = compareOf({ type, single: left.single }, { type: right.type, single: right.single }, isOrdered);
    return { kind: 'compare', left, right, compare, accepts };
  }

  #checkCollation(left: Value, right: Value, isOrdered: boolean, place: object): void {
    const collation = combinedCollation(left, right);
    if (collation === 'nondeterministic')
      throw this.#text.refuse(
        'its collation is nondeterministic: equal texts may have different bytes; write COLLATE "C"',
        place,
      );
    if (isOrdered && collation !== 'C')
      throw this.#text.refuse(
        'the order of texts is that of a collation, which only Postgres knows; write COLLATE "C" to compare by bytes',
        place,
      );
  }
}
