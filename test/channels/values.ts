/** Random values of every type that channels understand, as text that Postgres reads. */
import fc from 'fast-check';
import type { TestDatabase } from '../support/postgres.ts';
import type { Cell } from './rows.ts';

/** Every character but NUL, including escapes and controls. */
const text = fc
  .oneof(
    fc.string({ unit: 'grapheme', maxLength: 12 }),
    fc.string({
      unit: fc.constantFrom(
        'a',
        'B',
        ' ',
        '"',
        '\\',
        '\b',
        '\f',
        '\n',
        '\r',
        '\t',
        '\u0001',
        '\u001f',
        '\u007f',
        'ü',
        '😀',
        '{',
        ',',
        '}',
      ),
      maxLength: 10,
    }),
    fc.constantFrom('', 'NULL', 'null', 'abc', 'abd', 'a', 'x'.repeat(3_000)),
  )
  .map((value) => value.replaceAll('\0', ''));

const short = text.map((value) => [...value].slice(0, 8).join(''));
const integer = (bits: bigint) =>
  fc
    .oneof(
      fc.bigInt(-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n),
      fc.bigInt(-3n, 3n),
      fc.constantFrom(-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n),
    )
    .map(String);
const numeric = fc.oneof(
  fc.tuple(fc.bigInt(-(10n ** 40n), 10n ** 40n), fc.nat(60)).map(([digits, scale]) => `${digits}e-${scale}`),
  fc.tuple(fc.integer({ min: -30, max: 30 }), fc.nat(3)).map(([digits, scale]) => (digits / 10).toFixed(scale)),
  fc.constantFrom(
    '0',
    '0.00',
    '1',
    '1.0',
    '1.000',
    '-1',
    '10',
    '1e100',
    '1e-100',
    'NaN',
    'Infinity',
    '-Infinity',
    '9007199254740993',
  ),
);
const float8 = fc.oneof(
  fc.double({ noNaN: true }).map(String),
  fc.integer({ min: -3, max: 3 }).map(String),
  fc.constantFrom(
    'NaN',
    'Infinity',
    '-Infinity',
    '-0',
    '0',
    '5e-324',
    '1.7976931348623157e308',
    '0.1',
    '1.1',
    '16777217',
    '1e15',
    '1e16',
  ),
);
const float4 = fc.oneof(
  fc.float({ noNaN: true }).map(String),
  fc.integer({ min: -3, max: 3 }).map(String),
  fc.constantFrom(
    'NaN',
    'Infinity',
    '-Infinity',
    '-0',
    '7.038531e-26',
    '-7.038531e-26',
    '1e-45',
    '3.4028235e38',
    '0.1',
    '1.1',
    '16777216',
  ),
);
const pad = (value: number, digits: number) => String(value).padStart(digits, '0');
const day = (yearMax: number) =>
  fc.oneof(
    fc.tuple(
      fc.integer({ min: 1, max: yearMax }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 28 }),
      fc.constant(''),
    ),
    fc.tuple(
      fc.integer({ min: 1, max: 4_712 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 28 }),
      fc.constant(' BC'),
    ),
    fc.tuple(
      fc.constantFrom(2020, 2021, 9_999, 10_000),
      fc.constantFrom(1, 12),
      fc.constantFrom(1, 2),
      fc.constant(''),
    ),
  );
const clock = fc.oneof(
  fc
    .tuple(fc.nat(23), fc.nat(59), fc.nat(59), fc.nat(999_999))
    .map(([h, m, s, us]) => `${pad(h, 2)}:${pad(m, 2)}:${pad(s, 2)}.${pad(us, 6)}`),
  fc.constantFrom('00:00:00', '00:00:00.5', '00:00:00.000001', '12:30:00', '23:59:59.999999'),
);
const date = fc.oneof(
  day(294_000).map(([y, m, d, era]) => `${pad(y, 4)}-${pad(m, 2)}-${pad(d, 2)}${era}`),
  fc.constantFrom('infinity', '-infinity', '5874897-12-31', '4714-11-24 BC', '2020-02-29'),
);
const timestamp = fc.oneof(
  fc.tuple(day(294_000), clock).map(([[y, m, d, era], time]) => `${pad(y, 4)}-${pad(m, 2)}-${pad(d, 2)} ${time}${era}`),
  fc.constantFrom('infinity', '-infinity', '2020-01-01', '294276-12-31 23:59:59.999999'),
);
const time = fc.oneof(clock, fc.constant('24:00:00'));
const uuid = fc.oneof(
  fc.uuid(),
  fc.constantFrom('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
);
const bytea = fc.uint8Array({ maxLength: 6 }).map((bytes) => `\\x${Buffer.from(bytes).toString('hex')}`);
const json = fc
  .tuple(
    fc.json({ maxDepth: 2 }).map((value) => value.replaceAll('\\u0000', '')),
    fc.constantFrom('', ' ', '\n\t'),
  )
  .map(([value, space]) => `${space}${value}${space}`);
const bool = fc.constantFrom('true', 'false');
const mood = fc.constantFrom('sad', "o'k", 'ha"p\\py');

/** An array literal. Every element is quoted, which all types accept. */
const array = (element: fc.Arbitrary<string>) =>
  fc
    .array(fc.option(element, { freq: 5 }), { maxLength: 4 })
    .map(
      (elements) =>
        `{${elements.map((value) => (value === null ? 'NULL' : `"${value.replaceAll(/["\\]/g, '\\$&')}"`)).join(',')}}`,
    );

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly value: fc.Arbitrary<string>;
}

export const SCALARS: readonly Column[] = [
  { name: 'a_bool', type: 'bool', value: bool },
  { name: 'a_int2', type: 'int2', value: integer(16n) },
  { name: 'a_int4', type: 'int4', value: integer(32n) },
  { name: 'a_int8', type: 'int8', value: integer(64n) },
  { name: 'a_float4', type: 'float4', value: float4 },
  { name: 'a_float8', type: 'float8', value: float8 },
  { name: 'a_numeric', type: 'numeric', value: numeric },
  { name: 'a_text', type: 'text', value: text },
  { name: 'a_varchar', type: 'varchar(8)', value: short },
  { name: 'a_bpchar', type: 'char(8)', value: short },
  { name: 'a_uuid', type: 'uuid', value: uuid },
  { name: 'a_json', type: 'json', value: json },
  { name: 'a_jsonb', type: 'jsonb', value: json },
  { name: 'a_date', type: 'date', value: date },
  { name: 'a_time', type: 'time', value: time },
  { name: 'a_timestamp', type: 'timestamp', value: timestamp },
  { name: 'a_timestamptz', type: 'timestamptz', value: timestamp },
  { name: 'a_enum', type: 'public.mood', value: mood },
  { name: 'a_bytea', type: 'bytea', value: bytea },
  { name: 'a_domain', type: 'public.amount', value: numeric },
];

const OTHERS: readonly Column[] = [
  { name: 'a_matrix', type: 'int[]', value: fc.constantFrom('{{1,2},{3,NULL}}', '{}', '[2:3]={7,8}', '{{{1}},{{2}}}') },
  { name: 'a_labels', type: 'public.labels', value: array(text) },
];

/** The columns of the tables that tests make. */
export const COLUMNS: readonly Column[] = [
  ...SCALARS,
  ...SCALARS.map(({ name, type, value }) => ({ name: `${name}s`, type: `${type}[]`, value: array(value) })),
  ...OTHERS,
];

export const randomRow = fc.tuple(...COLUMNS.map(({ value }) => fc.option(value, { freq: 8 })));

export async function createTypes(database: TestDatabase): Promise<void> {
  await database.query(`
    create type public.mood as enum ('sad', 'o''k', 'ha"p\\py');
    create domain public.amount as numeric;
    create domain public.labels as text[]`);
}

/**
 * The table's rows in the order of `id`, each column as its type's output function prints it. This
 * is the form that pgoutput sends.
 */
export async function textsOf(database: TestDatabase, table: string, names: readonly string[]): Promise<Cell[][]> {
  const client = await database.connect();
  await client.query(
    `set TimeZone = 'UTC'; set DateStyle = 'ISO'; set bytea_output = 'hex'; set extra_float_digits = 1`,
  );
  const { rows } = await client.query({
    text: `select ${names.join(', ')} from ${table} order by id`,
    rowMode: 'array',
    types: { getTypeParser: () => (value: string) => value } as never,
  });
  return rows as Cell[][];
}
