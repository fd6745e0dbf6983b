/**
 * Random typed expressions as SQL, from everything that the compiler knows: its own tables of
 * routines, and the forms of read-expression.ts.
 */
import { ROUTINE_TABLES } from '../../src/channels/routines/known.ts';
import type { Random } from '../oracle/random.ts';

type Draw = (random: Random) => string;

interface Kind {
  /** The type's name in a cast. */
  readonly sql: string;
  readonly constants: readonly string[];
  /** Whether values are ordered, and the operators for it. */
  readonly ordered: boolean;
}

const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;
const words = (text: string) => text.split(' ');

const TEXTS = [
  '',
  ' ',
  'a',
  'ab',
  'Abc',
  'abcabc',
  '  pad  ',
  'a,b,,c',
  ',',
  'b',
  'ü',
  '😀x😀',
  'ÜBER straße',
  'a\\b',
  '100%',
  'x_y',
  'k',
  '"q"',
  "o'k",
  '\t\n',
  'true',
  'f',
  '12',
  ' -7 ',
  '1.50',
  '0',
  '0x1F',
  '1_000',
  '1e3',
  'NaN',
  '-inf',
  '{0190b2a600007000-8000000000000001}',
];

/**
 * The kinds of values in expressions. Columns are named `w_kind` (wild values) and `t_kind` (tame
 * values).
 */
export const KINDS: Readonly<Record<string, Kind>> = {
  bool: { sql: 'bool', constants: ['true', 'false'], ordered: true },
  int2: { sql: 'int2', constants: words('0 1 -1 7 32767 -32768'), ordered: true },
  int4: { sql: 'int4', constants: words('0 1 2 3 -1 -2 5 10 100 2147483647 -2147483648'), ordered: true },
  int8: {
    sql: 'int8',
    constants: words('0 1 -1 12 9007199254740993 9223372036854775807 -9223372036854775808'),
    ordered: true,
  },
  numeric: {
    sql: 'numeric',
    constants: words(
      '0 1 -1 0.5 1.50 -2.675 3 1e20 0.000001 123456789.123456789 NaN Infinity -Infinity 10000 9999.9999',
    ),
    ordered: true,
  },
  float4: { sql: 'float4', constants: words('0 1 -1 0.5 1.1 NaN Infinity -0 16777216'), ordered: true },
  float8: { sql: 'float8', constants: words('0 1 -1 0.5 2.5 -0 1.1 1e15 1e-5 NaN Infinity 123456.789'), ordered: true },
  text: { sql: 'text', constants: TEXTS, ordered: false },
  bpchar: { sql: 'bpchar', constants: ['a', 'a ', '', 'xyz  '], ordered: false },
  varchar: { sql: 'varchar', constants: ['a', 'ab', '', 'Ünï'], ordered: false },
  enum: { sql: 'public.mood', constants: ['sad', "o'k", 'ha"p\\py'], ordered: true },
  uuid: {
    sql: 'uuid',
    constants: ['00000000-0000-0000-0000-000000000000', '0190b2a6-0000-7000-8000-000000000001'],
    ordered: true,
  },
  bytea: { sql: 'bytea', constants: ['\\x', '\\x00ff', '\\xabc123'], ordered: true },
  date: {
    sql: 'date',
    constants: ['2020-02-29', '2021-01-01', '0044-03-15 BC', 'infinity', '-infinity', '1999-12-31', '12345-06-07'],
    ordered: true,
  },
  time: { sql: 'time', constants: ['00:00:00', '12:34:56.789', '24:00:00'], ordered: true },
  timestamp: {
    sql: 'timestamp',
    constants: [
      '2020-02-29 12:34:56.789012',
      '2021-01-01 00:00:00',
      '0001-01-01 00:00:00',
      '0100-06-01 01:02:03 BC',
      'infinity',
    ],
    ordered: true,
  },
  timestamptz: {
    sql: 'timestamptz',
    constants: ['2020-02-29 12:34:56.789012+00', '1969-12-31 23:59:59.5+00', '2000-12-31 23:00:00+00', '-infinity'],
    ordered: true,
  },
  json: { sql: 'json', constants: ['{"a": 1, "b": [1, 2, {"k": null}]}', '[1,"a",null]', '"a"'], ordered: false },
  jsonb: {
    sql: 'jsonb',
    constants: [
      '{"a": 1, "b": [1, 2, {"k": null}]}',
      '[1,"a",null]',
      '"a"',
      '{}',
      '[]',
      'null',
      '1.0',
      '{"a": 1.00}',
      '[[1]]',
      '{"b": {}}',
    ],
    ordered: false,
  },
  'int4[]': { sql: 'int4[]', constants: ['{}', '{1,2}', '{1,NULL,3}', '{{1,2},{3,4}}', '[2:3]={7,8}'], ordered: false },
  'text[]': { sql: 'text[]', constants: ['{}', '{a,b}', '{NULL,""}', '{"a,b","q\\"q"}'], ordered: false },
  'numeric[]': { sql: 'numeric[]', constants: ['{1.0,2}', '{NaN}', '{}'], ordered: false },
  'bool[]': { sql: 'bool[]', constants: ['{}', '{t,f,NULL}'], ordered: false },
  'date[]': { sql: 'date[]', constants: ['{2020-02-29,"0044-03-15 BC"}', '{infinity}'], ordered: false },
  'enum[]': { sql: 'public.mood[]', constants: ['{sad}', '{"o\'k",NULL}'], ordered: false },
  'uuid[]': { sql: 'uuid[]', constants: ['{00000000-0000-0000-0000-000000000000}'], ordered: false },
};

/** Kinds whose values can be equal, but have no known order. */
const EQUAL_ONLY = ['text', 'bpchar', 'jsonb', 'int4[]', 'text[]', 'uuid[]', 'bool[]', 'date[]', 'enum[]'];
const COMPARED_ACROSS = [words('int2 int4 int8'), words('float4 float8'), words('date timestamp timestamptz')];
const ARRAYS = words('int4[] text[] numeric[] uuid[] bool[] date[] enum[]');

/** Columns whose base type is of a kind, or that have another collation. */
export const OTHER_COLUMNS: Readonly<Record<string, string>> = { numeric: 'd_numeric', text: 'c_text' };

interface Form {
  readonly takes: readonly string[];
  readonly gives: string;
  readonly sql: (args: readonly string[], random: Random) => string;
}

const UNITS = words(
  'microseconds milliseconds second minute hour day week month quarter year decade century millennium',
);
const PATHS = ['{}', '{a}', '{b,0}', '{b,2,k}', '{b,-1}', '{0}', '{1}', '{-1}', '{a,b}', '{NULL}', '{" 1"}', '{k,+0}'];
const JSON_PATHS = PATHS.filter((path) => path !== '{b,-1}');
const KEYS = ['{}', '{a}', '{a,b}', '{NULL,k}', '{x,"1"}'];
const PATTERNS = words('% %% _ a% %b% _b% \\\\% %\\% a\\%_ %ü% __ %a_% A% x\\_y');
const oneOf = (random: Random, from: readonly string[]) => from[random.below(from.length)] as string;

/** Arguments that are constants of their own kind: by routine and position. */
const ARGUMENTS: Readonly<Record<string, Readonly<Record<number, Draw>>>> = {
  date_trunc: { 0: (random) => quote(oneOf(random, UNITS)) },
  date_part: {
    0: (random) =>
      quote(
        oneOf(
          random,
          words(
            'year month day hour minute second milliseconds microseconds epoch dow isodow doy week isoyear quarter decade century millennium',
          ),
        ),
      ),
  },
  timezone: { 0: () => "'UTC'" },
  round: { 1: (random) => String(random.below(8) - 3) },
  trunc: { 1: (random) => String(random.below(8) - 3) },
  '#>': { 1: (random) => `${quote(oneOf(random, JSON_PATHS))}::text[]` },
  '#>>': { 1: (random) => `${quote(oneOf(random, JSON_PATHS))}::text[]` },
  '?|': { 1: (random) => `${quote(oneOf(random, KEYS))}::text[]` },
  '?&': { 1: (random) => `array['a', ${quote(oneOf(random, words('b 1 k')))}]` },
  repeat: { 1: (random) => String(random.below(6) - 1) },
  right: { 1: (random) => String(random.below(12) - 6) },
  lpad: { 1: (random) => `(t_int4 + ${random.below(6)})` },
  rpad: { 1: (random) => String(random.below(12) - 1) },
  like_escape: {
    0: (random) => quote(oneOf(random, PATTERNS)),
    1: (random) => quote(oneOf(random, ['\\', '!', 'a', '', 'ü'])),
  },
  ...Object.fromEntries(
    ['~~', '!~~', '~~*', '!~~*'].map((name) => [
      name,
      { 1: (random: Random) => (random.chance(0.9) ? quote(oneOf(random, PATTERNS)) : `t_text`) },
    ]),
  ),
  '->': { 1: (random) => (random.chance(0.5) ? quote(oneOf(random, words('a b k x'))) : String(random.below(5) - 2)) },
  '->>': { 1: (random) => (random.chance(0.5) ? quote(oneOf(random, words('a b k x'))) : String(random.below(5) - 2)) },
  '?': { 1: (random) => quote(oneOf(random, words('a b k 1'))) },
};
const DATE_FIELDS = words('year month day dow isodow doy week isoyear quarter decade century millennium epoch');
const TIME_FIELDS = words('hour minute second milliseconds microseconds');

const BYTEWISE = new Set(['lower', 'upper', '~~*', '!~~*']);

/** Every routine of the compiler's tables, with `anyarray` as each array kind. */
export const FORMS: readonly Form[] = Object.values(ROUTINE_TABLES)
  .flatMap((table) => Object.keys(table))
  .flatMap((signature) =>
    signature.includes('anyarray') ? ARRAYS.map((kind) => signature.replaceAll('anyarray', kind)) : [signature],
  )
  // exact for constants only, and not for all constants
  .filter((signature) => signature !== 'numeric::float4: float4')
  .map(formOf)
  .filter(({ takes, gives }) => [...takes, gives].every((kind) => kind in KINDS));

function formOf(signature: string): Form {
  const [call = '', gives = ''] = signature.split(': ');
  const cast = /^(\S+)::(\S+)$/.exec(call);
  if (cast !== null) return { takes: [cast[1] as string], gives, sql: ([value]) => `(${value})::${gives}` };
  const [, name = '', list = ''] = /^(\w+)\((.*)\)$/.exec(call) ?? [];
  if (name !== '') return { takes: list.split(', '), gives, sql: functionCall(name, list) };
  const parts = call.split(' ');
  if (parts.length === 2) return { takes: [parts[1] as string], gives, sql: ([value]) => `(${parts[0]} ${value})` };
  const [left = '', operator = '', right = ''] = parts;
  return {
    takes: [left, right],
    gives,
    sql: ([a = '', b = ''], random) =>
      `(${collated(operator, a)} ${operator} ${typed(argument(operator, 1, random, right) ?? b, right)})`,
  };
}

function collated(name: string, sql: string): string {
  return BYTEWISE.has(name) ? `(${sql} collate "C")` : sql;
}

/** A literal needs no cast if no other type is possible. Here it must have the given type. */
function typed(sql: string, kind: string): string {
  return /^'[^']*'$/.test(sql) ? `${sql}::${KINDS[kind]?.sql}` : sql;
}

function argument(name: string, index: number, random: Random, kind: string): string | undefined {
  const drawn = ARGUMENTS[name]?.[index]?.(random);
  if (drawn === undefined) return undefined;
  if (name.startsWith('->'))
    return kind === 'text' ? quote(oneOf(random, words('a b k x'))) : String(random.below(5) - 2);
  return drawn;
}

function functionCall(name: string, list: string): Form['sql'] {
  const kinds = list.split(', ');
  return (args, random) => {
    if (name === 'extract') {
      const fields = kinds[1] === 'date' ? DATE_FIELDS : [...DATE_FIELDS, ...TIME_FIELDS];
      return `extract(${oneOf(random, fields)} from ${args[1]})`;
    }
    const actual = args.map((arg, index) =>
      typed(argument(name, index, random, kinds[index] as string) ?? arg, kinds[index] as string),
    );
    return `${name === 'position' ? 'pg_catalog."position"' : name}(${[collated(name, actual[0] as string), ...actual.slice(1)].join(', ')})`;
  };
}

const ENDS = words('-2147483648 -2147483647 -1 0 1 2147483647');

/** Calls of every routine with integer arguments, each at the ends of its range. */
export const CALLS_AT_ENDS: readonly string[] = Object.values(ROUTINE_TABLES)
  .flatMap((table) => Object.keys(table))
  .flatMap((signature) => {
    const [, name, list = ''] = /^(\w+)\((.*int4.*)\): /.exec(signature) ?? [];
    const kinds = list.replaceAll('anyarray', 'int4[]').split(', ');
    return kinds.flatMap((kind, place) =>
      name === undefined || kind !== 'int4' ? [] : ENDS.map((end) => callAt(name, kinds, place, end)),
    );
  });

function callAt(name: string, kinds: readonly string[], place: number, end: string): string {
  const args = kinds.map((kind, index) => {
    if (index === place) return `(${end})`;
    if (kind === 'int4') return '2';
    if (index > 0) return `','::${kind}`;
    // Postgres performs all repetitions of an empty text
    return name === 'repeat' ? "(t_text || 'x')" : `t_${columnName(kind)}`;
  });
  return `${name}(${args.join(', ')})`;
}

const BY_RESULT = new Map<string, Form[]>();
for (const form of FORMS) BY_RESULT.set(form.gives, [...(BY_RESULT.get(form.gives) ?? []), form]);

/** Draws expressions. */
export class Expressions {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** An expression of any kind. */
  any(depth: number): string {
    return this.of(this.#pick(Object.keys(KINDS)), depth);
  }

  /** An expression with the form at its top. */
  using(form: Form, depth: number): string {
    return form.sql(
      form.takes.map((kind) => this.of(kind, depth)),
      this.#random,
    );
  }

  of(kind: string, depth: number): string {
    const random = this.#random;
    if (depth <= 0 || random.chance(0.15)) return this.#leaf(kind);
    if (kind === 'bool' && random.chance(0.7)) return this.#condition(depth - 1);
    if (random.chance(0.25)) return this.#choice(kind, depth - 1);
    const forms = BY_RESULT.get(kind) ?? [];
    return forms.length === 0 ? this.#leaf(kind) : this.using(this.#pick(forms), depth - 1);
  }

  #leaf(kind: string): string {
    const random = this.#random;
    const drawn = random.next();
    if (drawn < 0.5) return `t_${columnName(kind)}`;
    if (drawn < 0.7) return `w_${columnName(kind)}`;
    const { sql, constants } = KINDS[kind] as Kind;
    if (drawn < 0.74) return `null::${sql}`;
    if (drawn < 0.78 && kind in OTHER_COLUMNS) return OTHER_COLUMNS[kind] as string;
    return `${quote(this.#pick(constants))}::${sql}`;
  }

  /** CASE, COALESCE, NULLIF, GREATEST, LEAST. */
  #choice(kind: string, depth: number): string {
    const value = () => this.of(kind, depth);
    const isCompared = (KINDS[kind] as Kind).ordered || EQUAL_ONLY.includes(kind);
    const forms: (() => string)[] = [
      () => `coalesce(${value()}, ${value()})`,
      () => `(case when ${this.of('bool', depth)} then ${value()} else ${value()} end)`,
      () => `(case when ${this.of('bool', depth)} then ${value()} when ${this.of('bool', depth)} then ${value()} end)`,
    ];
    if (isCompared) forms.push(() => `nullif(${value()}, ${value()})`);
    if (isCompared)
      forms.push(
        () => `(case ${value()} when ${this.#leaf(kind)} then ${value()} when ${this.#leaf(kind)} then ${value()} end)`,
      );
    if ((KINDS[kind] as Kind).ordered)
      forms.push(() => `${this.#pick(['greatest', 'least'])}(${value()}, ${value()}, ${value()})`);
    if (kind === 'text') forms.push(() => `greatest(${value()} collate "C", ${value()})`);
    if (ARRAYS.includes(`${kind}[]`)) forms.push(() => `(${this.of(`${kind}[]`, depth)})[${this.of('int4', 0)}]`);
    if (kind === 'numeric') forms.push(() => `(${value()})::numeric(${this.#pick(['10,2', '5,0', '30,10', '3,5'])})`);
    if (kind === 'text') forms.push(() => `(${value()})::varchar(${1 + this.#random.below(5)})::text`);
    if (kind === 'bpchar') forms.push(() => `(${value()})::char(${1 + this.#random.below(5)})`);
    if (kind === 'text')
      forms.push(
        () =>
          `(${value()} || ${this.of(this.#pick(words('int4 numeric bool float8 uuid date timestamptz jsonb')), depth)})`,
      );
    return this.#pick(forms)();
  }

  #condition(depth: number): string {
    const forms: (() => string)[] = [
      () => this.#comparison(depth),
      () => this.#comparison(depth),
      () => this.#list(depth),
      () => `(${this.of('bool', depth)} and ${this.of('bool', depth)})`,
      () => `(${this.of('bool', depth)} or ${this.of('bool', depth)})`,
      () => `(not ${this.of('bool', depth)})`,
      () => `(${this.any(depth)} is ${this.#pick(['null', 'not null'])})`,
      () =>
        `(${this.of('bool', depth)} is ${this.#pick(['true', 'not true', 'false', 'not false', 'unknown', 'not unknown'])})`,
      () => this.#between(depth),
    ];
    return this.#pick(forms)();
  }

  #comparison(depth: number): string {
    const random = this.#random;
    const across = random.chance(0.3) ? this.#pick(COMPARED_ACROSS) : undefined;
    const kind = this.#pick([...Object.keys(KINDS).filter((name) => KINDS[name]?.ordered), ...EQUAL_ONLY]);
    const kinds = across ?? [kind];
    const [left, right] = [this.of(this.#pick(kinds), depth), this.of(this.#pick(kinds), depth)];
    const isOrdered = across !== undefined || KINDS[kind]?.ordered === true;
    const isBytewise = kind === 'text' && across === undefined && random.chance(0.3);
    const operator = this.#pick(
      isOrdered || isBytewise
        ? ['=', '<>', '<', '<=', '>', '>=', 'is distinct from', 'is not distinct from']
        : ['=', '<>', 'is distinct from', 'is not distinct from'],
    );
    return `(${isBytewise ? `(${left} collate "C")` : left} ${operator} ${right})`;
  }

  #list(depth: number): string {
    const [kind, ordered] = this.#pick([
      ['int4', true],
      ['text', false],
      ['numeric', true],
      ['uuid', false],
      ['date', true],
      ['enum', true],
    ] as const);
    const value = this.of(kind, depth);
    const drawn = this.#random.below(3);
    if (drawn === 0)
      return `(${value} ${this.#pick(['in', 'not in'])} (${this.#leaf(kind)}, ${this.#leaf(kind)}, ${this.#leaf(kind)}))`;
    const operator = this.#pick(ordered ? ['=', '<>', '<', '>='] : ['=', '<>']);
    const array = drawn === 1 ? `array[${this.#leaf(kind)}, ${this.#leaf(kind)}]` : this.of(`${kind}[]`, depth);
    return `(${value} ${operator} ${this.#pick(['any', 'all'])} (${array}))`;
  }

  #between(depth: number): string {
    const kind = this.#pick(Object.keys(KINDS).filter((name) => KINDS[name]?.ordered));
    const words = this.#pick(['between', 'not between', 'between symmetric']);
    return `(${this.of(kind, depth)} ${words} ${this.#leaf(kind)} and ${this.#leaf(kind)})`;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.below(from.length)] as T;
  }
}

export function columnName(kind: string): string {
  return kind.replace('[]', '_array');
}
