/**
 * Rows for expressions. Each kind has a column of tame values, for which most results are no
 * errors, and a column of wild ones.
 */
import fc from 'fast-check';
import { columnName, KINDS, OTHER_COLUMNS } from './typed-expressions.ts';
import { SCALARS } from './values.ts';

const words = (text: string) => text.split(' ');

/** Tame values of the kinds whose constants are not tame enough. */
const TAME: Readonly<Record<string, readonly string[]>> = {
  int2: words('0 1 2 3 -1 5 12'),
  int4: words('0 1 2 3 -1 -2 5 12 100'),
  int8: words('0 1 2 3 -1 77 1000000'),
  numeric: words('0 1 2 -1 0.5 1.50 -2.675 3 10 123456789.123456789 0.000001 99.99 33.3333'),
  float4: words('0 1 -1 0.5 1.1 2.25'),
  float8: words('0 1 -1 0.5 2.5 1.1 100 0.1 123456.789'),
  date: ['2020-02-29', '2021-01-01', '1999-12-31', '2024-12-30', '1970-01-01', '0044-03-15 BC'],
  timestamp: [
    '2020-02-29 12:34:56.789012',
    '2021-01-01 00:00:00',
    '1969-12-31 23:59:59.5',
    '1900-01-01 00:00:00.000001',
  ],
  timestamptz: ['2020-02-29 12:34:56.789012+00', '2021-01-03 00:00:00+00', '1969-12-31 23:59:59.5+00'],
};

const documents = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false, 0, 1, 1.5, -2, 'a', 'b', 'k', '', 'ü"\\', '1'),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'k', '1', 'ü', 'x"y'), tie('value'), { maxKeys: 4 }),
  ),
})).value;
const jsonb = fc.oneof(
  documents.map((value) => JSON.stringify(value)),
  fc.constantFrom(
    '1.0',
    '1.00',
    '1e2',
    '{"a": 1.0}',
    '[1.0, 1]',
    '{"a":{"b":1}}',
    '[[1],[2]]',
    '12345678901234567890.50',
  ),
);
/** json keeps its white space, its escapes and its duplicate keys. */
const json = fc.oneof(
  documents.map((value) => JSON.stringify(value, null, 2)),
  documents.map((value) => ` ${JSON.stringify(value).replaceAll('"a"', '"\\u0061"')}\n`),
  fc.constantFrom(
    '{"a":1,"a":2}',
    '{"a":{"b":1},"a":{"k":2}}',
    '{"a":null,"b":[0,1,{"k":3,"k":null}]}',
    '"\\u00fc\\ud83d\\ude00\\/"',
    '{"x":"\\ud800"}',
    '["\\u0000"]',
    '["\\udc00","a"]',
    '[1 , "b" ,{ } ]',
    '{"\\u0061" : "\\n\\t\\u0001" }',
  ),
);

const arrayOf = (element: fc.Arbitrary<string>) =>
  fc
    .array(fc.option(element, { freq: 6 }), { maxLength: 5 })
    .map(
      (elements) =>
        `{${elements.map((value) => (value === null ? 'NULL' : `"${value.replaceAll(/["\\]/g, '\\$&')}"`)).join(',')}}`,
    );
const scalar = (kind: string) =>
  SCALARS.find(({ name }) => name === `a_${kind}`)?.value ?? fc.constantFrom(...(KINDS[kind]?.constants ?? []));

const WILD: Readonly<Record<string, fc.Arbitrary<string>>> = {
  bpchar: scalar('bpchar'),
  json,
  jsonb,
  'int4[]': fc.oneof(
    arrayOf(fc.integer({ min: -2, max: 5 }).map(String)),
    fc.constantFrom(...(KINDS['int4[]']?.constants ?? [])),
  ),
  'text[]': fc.oneof(arrayOf(scalar('text')), arrayOf(fc.constantFrom('a', 'b', 'NULL', ''))),
  'numeric[]': arrayOf(scalar('numeric')),
  'bool[]': arrayOf(scalar('bool')),
  'date[]': arrayOf(scalar('date')),
  'enum[]': arrayOf(scalar('enum')),
  'uuid[]': arrayOf(fc.constantFrom(...(KINDS['uuid']?.constants ?? []))),
};
/** Kinds whose wild values suit the tame column too. */
const MIXED: ReadonlySet<string> = new Set([
  'json',
  'jsonb',
  'int4[]',
  'text[]',
  'numeric[]',
  'uuid[]',
  'bool[]',
  'date[]',
  'enum[]',
]);

export interface RowColumn {
  readonly name: string;
  /** The column's type in SQL. */
  readonly sql: string;
  readonly value: fc.Arbitrary<string>;
}

const NAMED: readonly RowColumn[] = [
  { name: OTHER_COLUMNS['numeric'] as string, sql: 'public.amount', value: scalar('numeric') },
  { name: OTHER_COLUMNS['text'] as string, sql: 'text collate "C"', value: scalar('text') },
];

const OF_KINDS: readonly RowColumn[] = Object.entries(KINDS).flatMap(([kind, { sql, constants }]) => {
  const type = { bpchar: 'char(8)', varchar: 'varchar(8)' }[kind] ?? sql;
  const wild = WILD[kind] ?? scalar(kind);
  const tame = MIXED.has(kind) ? wild : fc.constantFrom(...(TAME[kind] ?? constants));
  return [
    { name: `t_${columnName(kind)}`, sql: type, value: tame },
    { name: `w_${columnName(kind)}`, sql: type, value: wild },
  ];
});

export const ROW_COLUMNS: readonly RowColumn[] = [...OF_KINDS, ...NAMED];

export function sampleRows(count: number, seed: number): (readonly (string | null)[])[] {
  const row = fc.tuple(...ROW_COLUMNS.map(({ value }) => fc.option(value, { freq: 9 })));
  return fc.sample(row, { numRuns: count, seed });
}
