/**
 * Random values of every built-in type that a table can have, and of every kind of user-defined
 * type.
 */
import fc from 'fast-check';
import type { TestDatabase, Version } from '../support/postgres.ts';
import { type Column, createTypes, SCALARS } from './values.ts';

type Text = fc.Arbitrary<string>;

const known = (name: string): Text => SCALARS.find((column) => column.name === `a_${name}`)?.value as Text;
const oneOf = (...texts: string[]): Text => fc.constantFrom(...texts);
const naturals = (max: number): Text => fc.oneof(fc.nat(max), fc.constantFrom(0, 1, max)).map(String);
const joined = (part: Text, separator: string, minLength: number, maxLength: number): Text =>
  fc.array(part, { minLength, maxLength }).map((parts) => parts.join(separator));
const times = (template: string, ...parts: Text[]): Text =>
  fc
    .tuple(...parts)
    .map((values) => values.reduce((text, value, index) => text.replaceAll(`$${index}`, value), template));

const text = known('text');
const float = fc.oneof(known('float8'), fc.integer({ min: -9, max: 9 }).map(String));
const finite = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e100, max: 1e100 }).map(String),
  fc.integer({ min: -9, max: 9 }).map(String),
);
const uint32 = naturals(4_294_967_295 >>> 1).map((value) => String(Number(value) * 2 + 1));
const bits = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom('0', '1'), minLength: min, maxLength: max });
const quotedWord = (quote: string) =>
  text.map((word) => `${quote}${word.replaceAll(/['\\]/g, '$&$&').slice(0, 40) || 'x'}`);

// network

const bytes = (count: number) => fc.uint8Array({ minLength: count, maxLength: count });
const ipv4 = bytes(4).map((address) => address.join('.'));
const ipv6 = fc.oneof(
  bytes(16).map((address) => Buffer.from(address).toString('hex').match(/.{4}/g)?.join(':') as string),
  oneOf('::', '::1', '2001:db8::ff', '::ffff:1.2.3.4', 'fe80::'),
);
const inet = fc.oneof(ipv4, ipv6, times('$0/$1', ipv4, naturals(32)), times('$0/$1', ipv6, naturals(128)));
const cidr = fc.oneof(oneOf('10.0.0.0/8', '0.0.0.0/0', '::/0', '2001:db8::/32', '192.168.1.0/24'), ipv4, ipv6);
const macaddr = (count: number) => bytes(count).map((address) => Buffer.from(address).toString('hex'));

// system numbers

const uint64 = fc.bigInt(0n, 2n ** 64n - 1n).map(String);
const lsn = fc
  .tuple(fc.nat(0x7fffffff), fc.nat(0x7fffffff))
  .map((parts) => parts.map((part) => part.toString(16)).join('/'));
const snapshot = fc
  .uniqueArray(fc.nat(1_000), { minLength: 2, maxLength: 5 })
  .map((xids) => xids.map((xid) => xid + 1).sort((a, b) => a - b))
  .map((xids) => `${xids[0]}:${xids.at(-1)}:${xids.slice(1, -1).join(',')}`);
const oidvector = joined(uint32, ' ', 0, 4);

// geometry

const point = times('($0,$1)', float, float);
const line = times('{$0,$1,$2}', oneOf('1', '-2.5', '1e10'), finite, finite);
const path = fc
  .tuple(joined(point, ',', 1, 4), fc.boolean())
  .map(([points, open]) => (open ? `[${points}]` : `(${points})`));

// texts

const lexeme = quotedWord('').map((word) => `'${word}'`);
const tsvector = joined(
  fc.tuple(lexeme, oneOf('', ':1', ':1A,3B,7', ':16383')).map((parts) => parts.join('')),
  ' ',
  0,
  4,
);
const tsquery = fc.oneof(
  oneOf(''),
  joined(
    fc.tuple(oneOf('', '!', '!!'), lexeme, oneOf('', ':A', ':*', ':BCD*')).map((parts) => parts.join('')),
    ' <2> ',
    1,
    2,
  ),
  fc
    .tuple(lexeme, oneOf('&', '|', '<->'), lexeme, oneOf('&', '|'), lexeme)
    .map(([a, first, b, second, c]) => `(${a} ${first} ${b}) ${second} ${c}`),
);
const xmlText = fc.string({
  unit: fc.constantFrom('a', ' ', '"', "'", '&amp;', '&lt;', '\n', '\t', 'ü', '😀', '\\', '/'),
  maxLength: 12,
});
const xml = fc.oneof(
  xmlText,
  times('<?xml version="1.0" encoding="utf-8"?><a/>'),
  times('<?xml version="1.0" standalone="yes"?><a/>'),
  times('<a b="x"><!-- $0 --><![CDATA[$0]]>$0</a>', xmlText),
  times('<r><c/>$0</r>', xmlText),
);

// time

const interval = fc.oneof(
  fc
    .tuple(
      fc.integer({ min: -200_000, max: 200_000 }),
      fc.integer({ min: -40, max: 40 }),
      fc.bigInt(-(10n ** 15n), 10n ** 15n),
    )
    .map(([months, days, microseconds]) => `${months} mons ${days} days ${microseconds} microseconds`),
  oneOf('0', '1 year', '-1 mon', '1 day -00:00:01', '00:00:00.000001', '178956970 years'),
);
const timetz = fc
  .tuple(known('time'), fc.integer({ min: -15, max: 15 }), fc.nat(59), fc.nat(59))
  .map(([time, hours, minutes, seconds]) => `${time}${hours < 0 ? '-' : '+'}${Math.abs(hours)}:${minutes}:${seconds}`);
const money = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map((cents) => {
  const digits = (cents < 0 ? -cents : cents).toString().padStart(3, '0');
  return `${cents < 0 ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}`;
});

// containers

/**
 * An array literal of one to three dimensions, sometimes with its own bounds. Every element is
 * quoted, which all types accept.
 */
function array(element: Text, delimiter = ','): Text {
  const dimensions = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 });
  const filled = dimensions.chain((lengths) =>
    fc
      .tuple(
        fc.array(fc.option(element, { freq: 5 }), {
          minLength: product(lengths),
          maxLength: product(lengths),
        }),
        fc.option(fc.array(fc.integer({ min: -3, max: 3 }), { minLength: lengths.length, maxLength: lengths.length })),
      )
      .map(([elements, lower]) => {
        const bounds = lower?.map((from, index) => `[${from}:${from + (lengths[index] as number) - 1}]`).join('') ?? '';
        return `${bounds}${bounds && '='}${nested(elements.map(arrayElement), lengths, delimiter)}`;
      }),
  );
  return fc.oneof({ weight: 1, arbitrary: oneOf('{}') }, { weight: 6, arbitrary: filled });
}

const product = (numbers: readonly number[]) => numbers.reduce((a, b) => a * b, 1);
const arrayElement = (value: string | null) => (value === null ? 'NULL' : `"${value.replaceAll(/["\\]/g, '\\$&')}"`);

function nested(elements: readonly string[], lengths: readonly number[], delimiter: string): string {
  const [length = 1, ...inner] = lengths;
  if (inner.length === 0) return `{${elements.join(delimiter)}}`;
  const size = elements.length / length;
  const parts = Array.from({ length }, (_, index) => elements.slice(index * size, (index + 1) * size));
  return `{${parts.map((part) => nested(part, inner, delimiter)).join(delimiter)}}`;
}

/** A composite literal. */
function record(...fields: Text[]): Text {
  return fc
    .tuple(...fields.map((field) => fc.option(field, { freq: 5 })))
    .map(
      (values) =>
        `(${values.map((value) => (value === null ? '' : `"${value.replaceAll(/["\\]/g, '$&$&')}"`)).join(',')})`,
    );
}

/** A range literal over ordered values. */
function range<Value>(
  value: fc.Arbitrary<Value>,
  compare: (a: Value, b: Value) => number,
  print: (value: Value) => string,
): Text {
  return fc
    .tuple(value, value, fc.constantFrom('[', '('), fc.constantFrom(']', ')'), fc.nat(9))
    .map(([a, b, open, close, kind]) => {
      if (kind === 0) return 'empty';
      const [low, high] = compare(a, b) <= 0 ? [a, b] : [b, a];
      const bound = (of: Value) => `"${print(of).replaceAll(/["\\]/g, '\\$&')}"`;
      return `${open}${kind === 1 ? '' : bound(low)},${kind === 2 ? '' : bound(high)}${close}`;
    });
}

const multirange = (of: Text): Text => joined(of, ',', 0, 4).map((ranges) => `{${ranges}}`);
const byNumber = (a: number, b: number) => a - b;
const isoDay = (day: number) => new Date(day * 86_400_000).toISOString().slice(0, 10);
const int4range = range(fc.integer({ min: -1_000_000, max: 1_000_000 }), byNumber, String);
const int8range = range(fc.bigInt(-(2n ** 62n), 2n ** 62n), (a, b) => (a < b ? -1 : Number(a > b)), String);
const numrange = range(fc.double({ noNaN: true }), byNumber, (value) => String(value));
const daterange = range(fc.nat(40_000), byNumber, isoDay);
const tsrange = range(fc.nat(4_000_000), byNumber, (minutes) =>
  new Date(minutes * 61_234).toISOString().replace('Z', ''),
);
const words = range(text, (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)), String);

// user-defined types

const inner = record(known('int4'), text, known('enum'), known('timestamptz'), known('numeric'), known('bool'));
const outer = record(
  inner,
  array(inner),
  known('jsonb'),
  array(text),
  int4range,
  inner,
  array(known('json')),
  oidvector,
);

/** Includes numbers beyond double, duplicate keys, and white space wherever JSON allows it. */
const json = fc.oneof(
  known('json'),
  oneOf(
    '1e400',
    '-0.0',
    '123456789012345678901234567890.000010',
    '\t{ "a" : 1 ,\r\n "a":\t[ ] , "b" : { } }\n',
    '["\\u0041\\ud83d\\ude00", 1E+2, 0.10e-3]',
    '"\\/\\b"',
    'null',
    ' true ',
  ),
);
const jsonWithZero = fc.oneof(json, oneOf('"\\u0000"'));

const EXTENSIONS = ['citext', 'ltree', 'cube'];

const BASE: readonly Omit<Column, 'name'>[] = [
  ...SCALARS.filter(({ name }) => name !== 'a_json' && name !== 'a_jsonb'),
  { type: 'json', value: jsonWithZero },
  { type: 'jsonb', value: json },
  { type: '"char"', value: oneOf('a', '', '"', '\\', ' ', 'é', '\u0001', '\\303', ',', '(') },
  { type: 'name', value: text },
  { type: 'oid', value: uint32 },
  { type: 'xid', value: uint32 },
  { type: 'cid', value: uint32 },
  { type: 'xid8', value: uint64 },
  { type: 'tid', value: times('($0,$1)', uint32, naturals(65_535)) },
  { type: 'pg_lsn', value: lsn },
  { type: 'pg_snapshot', value: snapshot },
  { type: 'txid_snapshot', value: snapshot },
  { type: 'refcursor', value: text },
  { type: 'int2vector', value: joined(known('int2'), ' ', 0, 4) },
  { type: 'oidvector', value: oidvector },
  { type: 'bit(5)', value: bits(5, 5) },
  { type: 'varbit', value: bits(0, 20) },
  { type: 'inet', value: inet },
  { type: 'cidr', value: cidr },
  { type: 'macaddr', value: macaddr(6) },
  { type: 'macaddr8', value: macaddr(8) },
  { type: 'money', value: money },
  { type: 'interval', value: interval },
  { type: 'interval year to month', value: interval },
  { type: 'timetz', value: timetz },
  { type: 'time(3)', value: known('time') },
  { type: 'timestamptz(0)', value: known('timestamptz') },
  { type: 'numeric(12,3)', value: oneOf('1', '-1.0005', 'NaN', '123456789.1') },
  { type: 'point', value: point },
  { type: 'lseg', value: times('[$0,$1]', point, point) },
  { type: 'box', value: times('$0,$1', point, point) },
  { type: 'line', value: line },
  { type: 'path', value: path },
  { type: 'polygon', value: joined(point, ',', 1, 4).map((points) => `(${points})`) },
  {
    type: 'circle',
    value: times(
      '<$0,$1>',
      point,
      finite.map((radius) => radius.replace(/^-/, '')),
    ),
  },
  { type: 'tsvector', value: tsvector },
  { type: 'tsquery', value: tsquery },
  { type: 'xml', value: xml },
  {
    type: 'jsonpath',
    value: oneOf(
      '$',
      'strict $."a \\"b".size()',
      '$[*] ? (@.x > 1 && @ like_regex "^a\\\\d" flag "i")',
      '$.**{2 to last}.a',
    ),
  },
  { type: 'int4range', value: int4range },
  { type: 'int8range', value: int8range },
  { type: 'numrange', value: numrange },
  { type: 'daterange', value: daterange },
  { type: 'tsrange', value: tsrange },
  { type: 'tstzrange', value: tsrange },
  { type: 'int4multirange', value: multirange(int4range) },
  { type: 'int8multirange', value: multirange(int8range) },
  { type: 'nummultirange', value: multirange(numrange) },
  { type: 'datemultirange', value: multirange(daterange) },
  { type: 'tsmultirange', value: multirange(tsrange) },
  { type: 'tstzmultirange', value: multirange(tsrange) },
  { type: 'regproc', value: oneOf('-', 'now', 'public.twice', '4294967295') },
  { type: 'regprocedure', value: oneOf('-', 'lower(text)', 'public.twice(integer)') },
  { type: 'regoper', value: oneOf('0', '|/', '||/', '4294967295') },
  { type: 'regoperator', value: oneOf('0', '+(integer,integer)', '!!(none,tsquery)') },
  { type: 'regclass', value: oneOf('pg_type', 'pg_class', 'public."Ta""b le"') },
  { type: 'regtype', value: oneOf('-', 'int4', 'timestamptz[]', 'public.mood', '"char"') },
  { type: 'regconfig', value: oneOf('-', 'english', 'simple') },
  { type: 'regdictionary', value: oneOf('-', 'simple') },
  { type: 'regnamespace', value: oneOf('-', 'public', 'pg_catalog') },
  { type: 'regrole', value: oneOf('-', 'postgres', 'pg_monitor') },
  { type: 'regcollation', value: oneOf('-', '"C"', '"default"') },
  { type: 'aclitem', value: oneOf('postgres=r/postgres', '=r/postgres', 'postgres=arwd*/postgres') },
  { type: 'public.citext', value: text },
  { type: 'public.ltree', value: oneOf('', 'a', 'a.b_1.c') },
  { type: 'public.cube', value: oneOf('(1,2)', '(0),(1)', '(1e300, -0.5),(3,4)') },
  { type: 'public.words', value: words },
  { type: 'public.multiwords', value: multirange(words) },
  { type: 'public.price', value: oneOf('1.50', '99', '0') },
  { type: 'public.grades', value: array(oneOf('0', '10.00')) },
  { type: 'public.feeling', value: known('enum') },
  { type: 'public.inner_row', value: inner },
  { type: 'public.inner_domain', value: inner },
  { type: 'public.outer_row', value: outer },
  { type: 'public.lone_row', value: record(text) },
  { type: 'public.lone_rows', value: array(record(text)) },
  { type: 'public.nothing', value: oneOf('()') },
  { type: 'public."Ta""b le"', value: record(known('int4'), array(outer)) },
];

/** Columns of each type and of its arrays, named by their position. */
export function everyColumn(version: Version): readonly Column[] {
  // timestamps that are rounded to a second may exceed the range
  const base = BASE.map(({ type, value }) => {
    if (type === 'timestamptz(0)') return { type, value: value.filter((text) => !text.startsWith('294276')) };
    return type === 'interval' && version >= 17
      ? { type, value: fc.oneof(value, oneOf('infinity', '-infinity')) }
      : { type, value };
  });
  return base.flatMap(({ type, value }, index) => [
    { name: `c${index}`, type, value },
    { name: `c${index}s`, type: `${type}[]`, value: array(value, type === 'box' ? ';' : ',') },
  ]);
}

export async function createEveryType(database: TestDatabase): Promise<void> {
  await createTypes(database);
  for (const name of EXTENSIONS) await database.query(`create extension ${name} schema public`);
  await database.query(`
    create type public.words as range (subtype = text, collation = "C", multirange_type_name = public.multiwords);
    create domain public.price as public.amount check (value is null or value >= 0);
    create domain public.grades as public.price[];
    create domain public.feeling as public.mood;
    create type public.inner_row as (gone text, a int4, "b ""c"" \\ ü" text, m public.mood, at timestamptz, n public.amount, ok bool);
    alter type public.inner_row drop attribute gone;
    create domain public.inner_domain as public.inner_row;
    create type public.outer_row as (
      one public.inner_row, many public.inner_row[], js jsonb, texts text[], during int4range, "domain" public.inner_domain, raws json[], oids oidvector);
    create type public.lone_row as (one text);
    create domain public.lone_rows as public.lone_row[];
    create type public.nothing as ();
    create table public."Ta""b le" (id int4, gone int4, outers public.outer_row[]);
    alter table public."Ta""b le" drop column gone;
    create function public.twice(int) returns int immutable language sql as 'select $1 * 2'`);
}
