/**
 * Expressions that were once wrong, or are easily wrong: each case has a name, and is compared with
 * Postgres.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import type { Tuple } from '../../src/decode/tuple.ts';
import { SnoError } from '../../src/errors.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { ATTEMPT, ownAnswer, postgresAnswers } from './answers.ts';
import { boundOf, catalogOf, viewOf } from './compiled.ts';
import { type Cell, relationOf, tupleOf, UNSENT } from './rows.ts';
import { textsOf } from './values.ts';

const TABLE = 'public.cells';
const COLUMNS = {
  i: 'int',
  l: 'int8',
  n: 'numeric',
  f: 'float8',
  s: 'float4',
  t: 'text',
  v: 'varchar(8)',
  b: 'jsonb',
  j: 'json',
  a: 'int[]',
  k: 'bool',
  d: 'date',
  ts: 'timestamp',
};
/** Each row has the values of the columns in order. */
const ROWS: readonly (readonly (string | null)[])[] = [
  ['0', '0', '0', '0', '0', '', '', 'null', 'null', '{}', 'f', '2000-01-01', '2000-01-01'],
  [
    '7',
    '-9223372036854775808',
    '2.500',
    '-0.5',
    '2891684.25',
    'a%b',
    'ab',
    '5',
    ' 5 ',
    '{1,NULL,2}',
    't',
    'infinity',
    'infinity',
  ],
  [
    '-2147483648',
    '9007199254740993',
    '-9999.9999',
    '1e23',
    '0.000244140625',
    'übergroß',
    'ü',
    '{"a": 1.0, "b": [1, {"c": null}]}',
    '{"a":{"b":1},"a":{"c":2}}',
    '[2:3]={7,8}',
    null,
    '0044-03-15 BC',
    '0001-01-01 BC',
  ],
  [
    '2147483647',
    '1',
    '1e30',
    '100000000000000.5',
    '1e10',
    '\\',
    'a\\',
    '[[1], [2, 3]]',
    '[[9],[1,2]]',
    '{{1,2},{3,4}}',
    't',
    '4714-11-24 BC',
    '-infinity',
  ],
  [
    null,
    null,
    'NaN',
    'NaN',
    'NaN',
    null,
    null,
    '"a"',
    '{"x":"\\ud800"}',
    null,
    'f',
    '5874897-12-31',
    '294276-12-31 23:59:59.999999',
  ],
  [
    '3',
    '-1',
    'Infinity',
    'Infinity',
    '-0',
    ' 12 ',
    '12',
    '{"a": 1}',
    '["\\u0000", 1]',
    '{NULL}',
    't',
    null,
    '1969-12-31 23:59:59.5',
  ],
  ['1', '1', '1', '1', '1', '0x1F', '1_0', '{}', ' "x" ', '{0}', 't', '2024-12-30', '294247-01-10 04:00:54.775807'],
  [
    '2',
    '2',
    '0.1',
    '2.5',
    '0.1',
    ' 1_000',
    '+3',
    '[]',
    '\n[] ',
    '{5}',
    'f',
    '2020-02-29',
    '294247-01-10 04:00:54.775806',
  ],
];

/** The name of the fault, and expressions that had it or could have it. */
const CASES: Readonly<Record<string, readonly string[]>> = {
  'a call is not its first argument': ["t || 'NaN'::float8::text", 'btrim(t, v)', "replace(t, 'a', 'b')"],
  'a cast that changes nothing leaves COALESCE as it is, though a part of it is NULL': [
    'coalesce(null::text, t)::bpchar',
    'coalesce(null::jsonb, b)::json -> 0',
    'greatest(i, null::int)::int8',
  ],
  'NULL makes a strict call NULL before an error in it comes about': [
    '(1 / nullif(i, 7)) + null::int',
    "('{NaN}'::numeric[])[2] - n",
    '(case null::int when null::int then 1 end) & mod(i, i)',
    '(s::float8 + nullif(null::float8, f)) / f',
  ],
  'an error in an argument comes about though another is NULL': [
    "1 / i = any ('{}'::int[])",
    '1 / i <> all (array[]::int[])',
    "extract(second from date_trunc('day', '-infinity'::timestamptz)) + 1 / i",
    'i + 1 / (i - 7)',
    'left(t, 1 / i)',
    '(k and null) = (1 / i = 1)',
  ],
  'CASE and COALESCE evaluate no more than they must': [
    'case when i = 0 then 0 else 10 / i end',
    'coalesce(i, 1 / (i - i))',
    'case i when 0 then 0 when 10 / i then 1 else 2 end',
  ],
  'AND and OR stop where it is decided': ['i <> 0 and 10 / i > 1', 'i = 0 or 10 / i > 1', 'k is true or 10 / i > 1'],
  'numbers are constants with their sign': [
    '(- 9999.9999)::numeric(8,2)',
    "'-2147483648'::int",
    '- 2147483648',
    '- 1.5 + n',
  ],
  'integers overflow': [
    'i + 1',
    'i - 1',
    'i * i',
    '- i',
    'abs(i)',
    'i / (-1)',
    'i % (-1)',
    'l - 1',
    '- l',
    'l * l',
    'l / (-1)',
    'i::int2',
    'l::int',
    '~ l',
    'l & 12',
    'i # 5',
  ],
  'numerics keep their scale': [
    'n * n',
    'n / 3',
    '1 / n',
    'n % 7',
    'n - n',
    'round(n, 1)',
    'round(n, -2)',
    'trunc(n, 2)',
    'ceil(n)',
    'sign(n)',
    'div(n, 0.7)',
    'n::int',
    'n::numeric(6,2)',
    'n::numeric(40,-3)',
    'n / 10000',
    'n / 9999',
    'abs(n)',
  ],
  'floats print as few digits as tell them apart, the even of two': [
    's + 0::float4',
    's * 1::float4',
    'f + 0',
    'f * 3',
    'f::numeric',
    's::numeric',
    's::float8',
    'f::float4',
    'f::int',
    'round(f)',
    'f::text',
    '- f',
    'sign(f)',
    '|/ f',
    'i::float8 / 3',
    'n::float8',
  ],
  'bytes are not characters': [
    'length(t)',
    'left(t, 1)',
    'right(t, 2)',
    'substr(t, 2, 3)',
    'reverse(t)',
    'octet_length(t)',
    "lpad(t, 10, 'ü')",
    "position('b' in t)",
    "t like '_%'",
    'upper(t collate "C")',
  ],
  'places in texts are counted from 1, and may lie outside': [
    "left(t, '-2147483648')",
    'substring(t, -1, 3)',
    'substring(t, 0)',
    'substr(t, 2147483647, 2147483647)',
    "split_part(t, '', 1)",
    "split_part(t, '%', -1)",
    "split_part(t, '%', -3)",
    'substr(t, 2, i)',
  ],
  'a backslash escapes in LIKE': [
    "t like 'a\\%b'",
    "t like '\\\\'",
    "t like 'a!%b' escape '!'",
    "t like '%\\'",
    't like t',
    "t not like ''",
    't ilike \'A%\' collate "C"',
  ],
  'texts are numbers with space around them': [
    't::int',
    'v::numeric',
    't::bool',
    "' -7 '::text::int8 + l",
    "'1e3'::text::numeric + n",
    't::numeric * n',
    't::int + 0',
  ],
  'a jsonb that is a scalar counts as an array of one': [
    'b -> 0',
    'b -> -1',
    'b ->> 0',
    "b #> '{0}'",
    "b #>> '{}'",
    "b ? 'a'",
    "b @> '1'",
    "b @> '[1]'",
    'b <@ \'[5, "a"]\'',
  ],
  'numbers in jsonb are equal by value': [
    'b @> \'{"a": 1.00}\'',
    'b = \'{"a": 1.000}\'',
    "b -> 'a' = '1'",
    "b is distinct from '5.0'",
  ],
  'json is read as it was written': [
    "j #> '{}'",
    "j -> 'a'",
    "j #> '{a,b}'",
    "j #> '{a,c}'",
    'j -> 0',
    'j ->> -1',
    "j ->> 'x'",
    "j #>> '{}'",
    'json_typeof(j)',
  ],
  'arrays have bounds and dimensions': [
    'a[1]',
    'a[2]',
    'a[i]',
    'cardinality(a)',
    'array_length(a, 1)',
    'array_length(a, 2)',
    'a @> array[1, 2]',
    'a && array[7]',
    "a <@ '{1,2,3,4,NULL}'",
    "a @> '{}'",
    "a = '{7,8}'",
    "a is distinct from '[2:3]={7,8}'",
  ],
  'NULL in an array leaves a comparison with it undecided': [
    'i = any (a)',
    'i <> all (a)',
    '1 = any (a)',
    '1 <> all (a)',
    'i > all (a)',
    'null::int = any (a)',
    "i = any ('{7,NULL}')",
    'i <> all (array[7, null])',
  ],
  'the calendar goes on before year 1': [
    "date_trunc('century', ts)",
    "date_trunc('decade', ts)",
    "date_trunc('week', ts)",
    "date_trunc('millennium', ts)",
    'extract(century from ts)',
    'extract(isoyear from ts)',
    'extract(week from d)',
    'extract(decade from d)',
    'extract(epoch from ts)',
    "date_part('epoch', ts)",
    "date_part('year', d)",
    'extract(doy from d)',
    'extract(second from ts)',
    'extract(year from d)',
    'extract(day from d)',
  ],
  'dates end': [
    'd + 1',
    'd - 1',
    "d - '2000-01-01'::date",
    'd::timestamp',
    'ts::date',
    'ts::time',
    'd + i',
    "ts at time zone 'UTC'",
    'd < ts',
    "d::timestamptz at time zone 'UTC'",
  ],
  'varchar compares as text': [
    "case v when 'ab' then 1 when 'ü' then 2 end",
    "v = 'ab'",
    'v = t',
    "nullif(v, 'ab')",
    'v::varchar(1)',
    'v::char(3)',
    "v || 1 || k || 'x'",
  ],
};
const CONDITIONS: Readonly<Record<string, readonly string[]>> = {
  'an error in a part of WHERE counts where all other parts are true': [
    '10 / i > 1 and i <> 0',
    '1 / i between symmetric 0 and null::int',
    '(10 / i > 1 and i > 0) or (10 / i < 0 and i > 0)',
    'i > 0 and 10 / (i - 7) > 0',
    "i = 3 and t::int = 12 and n = 'Infinity'",
    "not (t::int <> any ('{1,2,3}') or not (a @> '{1}'))",
    'not (10 / i > 1 or i = 0)',
    'not (not (i <> 0) and not (10 / i > 1))',
  ],
  'what is not true is out': ['k and i > 0', 'not k', 'null::bool', 'i = any (a)'],
};

describe.each(VERSIONS)('expressions, Postgres %i', (version) => {
  const named = [
    ...Object.entries(CASES).map(([name, expressions]) => ({
      name,
      bodies: expressions.map((expression) => `select id, ${expression} as v from ${TABLE}`),
    })),
    ...Object.entries(CONDITIONS).map(([name, conditions]) => ({
      name,
      bodies: conditions.map((condition) => `select id from ${TABLE} where ${condition}`),
    })),
  ];
  let database: TestDatabase;
  let catalog: Catalog;
  let rows: readonly Tuple[];

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    const names = Object.keys(COLUMNS);
    await database.query(
      `set search_path = pg_catalog, public; set TimeZone = 'UTC'; ${ATTEMPT};
       create table ${TABLE} (id int primary key, ${Object.entries(COLUMNS)
         .map((column) => column.join(' '))
         .join(', ')});
       alter table ${TABLE} replica identity full`,
    );
    const parameters = Object.values(COLUMNS).map((type, index) => `$${index + 2}::text::${type}`);
    for (const [id, row] of ROWS.entries())
      await database.query(`insert into ${TABLE} values ($1, ${parameters.join(', ')})`, [id, ...row]);
    rows = (await textsOf(database, TABLE, ['id', ...names])).map(tupleOf);
    const views = named.flatMap(({ name, bodies }) =>
      bodies.map((body, index) => `create view channels."${viewName(name, index)}" as ${body}`),
    );
    await database.query(`${views.join(';')};
      create view channels."several" as select id, t || v as both from ${TABLE};
      create view channels."one" as select id, left(t, 1) || right(t, 1) as twice from ${TABLE}`);
    catalog = await catalogOf(database);
  });
  afterAll(() => database.drop());

  test.each(named)('$name', async ({ name, bodies }) => {
    const given: Record<string, readonly string[]> = {};
    const wanted: Record<string, readonly string[]> = {};
    for (const [index, body] of bodies.entries()) {
      const view = viewOf(catalog, viewName(name, index));
      expect(view.path, body).toBe('in process');
      const bound = view.bind(relationOf(view.table), new RemoteAnswers());
      if (bound instanceof SnoError) throw bound;
      given[body] = rows.map((row) => ownAnswer(bound, row));
      wanted[body] = await postgresAnswers(database, viewName(name, index), TABLE);
    }
    expect(given).toEqual(wanted);
  });

  test('leaves a database of another encoding to Postgres, which knows its characters', () => {
    expect(catalog.server).toEqual({ version: expect.closeTo(version * 10_000, -3), encoding: 'UTF8' });
    const view = viewOf({ ...catalog, server: { ...catalog.server, encoding: 'SQL_ASCII' } }, 'one');
    expect(view.remote).toBeDefined();
    expect(view.path).toContain('databases of encoding SQL_ASCII');
  });

  test('leaves an expression to Postgres if its result changed in a minor version', async () => {
    await database.query(`
      create view channels."least" as select id, right(t, '-2147483648') as v from ${TABLE};
      create view channels."any" as select id, right(t, i) as v from ${TABLE};
      create view channels."known" as select id, right(t, -2) as v from ${TABLE}`);
    const changed = await catalogOf(database);
    expect(['least', 'any', 'known'].map((name) => viewOf(changed, name).remote !== undefined)).toEqual([
      true,
      true,
      false,
    ]);
    await database.query('drop view channels."least", channels."any", channels."known"');
  });

  test("leaves a user's cast to Postgres, though it looks like a built-in one", async () => {
    await database.query(`
      create function public.length_of(text) returns int language sql immutable as 'select length($1)';
      create cast (text as int) with function public.length_of(text);
      create view channels."cast" as select id, t::int as v from ${TABLE}`);
    const view = viewOf(await catalogOf(database), 'cast');
    expect(view.path).toContain('the function length_of()');
    await database.query('drop view channels."cast"; drop cast (text as int)');
  });

  test('a value of several columns is unknown if one of them was not sent', () => {
    const told = (view: string, unsent: readonly string[]) => {
      const places = Object.keys(COLUMNS);
      const cells: Cell[] = ['1', ...places.map((name) => (unsent.includes(name) ? UNSENT : 'x'))];
      const unchanged = new ByteWriter();
      const isTold = boundOf(catalog, view).data(tupleOf(cells), new ByteWriter(), unchanged);
      return isTold && unchanged.buffer.toString('utf8', 0, unchanged.length);
    };
    expect(told('several', ['t'])).toBe(false);
    expect(told('several', ['t', 'v'])).toBe('"both"');
    expect(told('several', [])).toBe('');
    expect(told('one', ['t'])).toBe('"twice"');
  });
});

/** Patterns are shorter, and have no spaces. */
function viewName(name: string, index: number): string {
  return `${name.replaceAll(/[^a-z]/gi, '-').slice(0, 50)}:${index}`;
}
