/**
 * Random conditions of the grammar that channel views support, as SQL over a table with columns
 * a_... and b_... of each type.
 */
import fc from 'fast-check';
import { SCALARS } from './values.ts';

const constantOf = new Map(
  SCALARS.map(({ name, type, value }) => [
    name.slice(2),
    // Another cast would cut constants of char(8) and varchar(8), which is not supported.
    value.map(
      (text) => `'${text.replaceAll("'", "''")}'::${type.replace('char(8)', 'char').replace(/^char$/, 'bpchar')}`,
    ),
  ]),
);

/** A column, a constant or NULL of the type. */
function operand(name: string, cast = ''): fc.Arbitrary<string> {
  const type = SCALARS.find((column) => column.name === `a_${name}`)?.type ?? name;
  return fc
    .oneof(
      { weight: 4, arbitrary: fc.constantFrom(`a_${name}`, `b_${name}`) },
      { weight: 4, arbitrary: constantOf.get(name) as fc.Arbitrary<string> },
      { weight: 1, arbitrary: fc.constant(`null::${type}`) },
    )
    .map((sql) => (cast === '' ? sql : `((${sql})${cast})`));
}

/** Columns only: a cast to a domain checks its constraints, and is not supported. */
const domain = fc.constantFrom('a_domain', 'b_domain');
const oneOf = (...names: string[]) => fc.oneof(...names.map((name) => operand(name)));
const OPERATOR = fc.constantFrom('=', '<>', '<', '<=', '>', '>=');
const EQUALITY = fc.constantFrom('=', '<>');

interface Comparable {
  readonly value: fc.Arbitrary<string>;
  readonly operator: fc.Arbitrary<string>;
}

/** Values that can be compared, directly or through casts that Postgres adds. */
const FAMILIES: readonly Comparable[] = [
  { value: oneOf('int2', 'int4', 'int8'), operator: OPERATOR },
  { value: fc.oneof(oneOf('int2', 'int4', 'int8', 'numeric'), domain), operator: OPERATOR },
  { value: oneOf('float4', 'float8', 'int4', 'int8'), operator: OPERATOR },
  { value: fc.oneof(operand('numeric', '::float8'), operand('float8')), operator: OPERATOR },
  { value: oneOf('date', 'timestamp'), operator: OPERATOR },
  { value: oneOf('timestamp', 'timestamptz'), operator: OPERATOR },
  { value: oneOf('date', 'timestamptz'), operator: OPERATOR },
  ...['bool', 'uuid', 'bytea', 'time', 'enum'].map((name) => ({ value: operand(name), operator: OPERATOR })),
  { value: oneOf('text', 'varchar'), operator: EQUALITY },
  { value: fc.oneof(operand('text', ' collate "C"'), operand('varchar', ' collate "C"')), operator: OPERATOR },
  { value: operand('bpchar'), operator: EQUALITY },
  { value: operand('bpchar', ' collate "C"'), operator: OPERATOR },
  { value: fc.oneof(operand('bpchar', '::text'), operand('text'), operand('bool', '::text')), operator: EQUALITY },
  {
    value: fc.oneof(
      ...['uuid', 'jsonb', 'enum', 'int8', 'timestamptz', 'float4', 'json', 'date', 'bytea'].map((name) =>
        operand(name, '::text'),
      ),
    ),
    operator: EQUALITY,
  },
];

/** Types whose constants may occur in a list together with columns. */
const LISTED = [
  'bool',
  'int2',
  'int4',
  'int8',
  'numeric',
  'float4',
  'float8',
  'text',
  'varchar',
  'bpchar',
  'uuid',
  'date',
  'timestamp',
  'timestamptz',
  'enum',
  'bytea',
  'time',
];

const comparison = fc.oneof(
  ...FAMILIES.map(({ value, operator }) =>
    fc.tuple(value, operator, value).map(([a, compare, b]) => `${a} ${compare} ${b}`),
  ),
  ...FAMILIES.map(({ value }) =>
    fc.tuple(value, fc.constantFrom('is distinct from', 'is not distinct from'), value).map((parts) => parts.join(' ')),
  ),
);
const list = fc.constantFrom(...LISTED).chain((name) =>
  fc
    .tuple(
      operand(name),
      fc.oneof(
        fc
          .tuple(fc.constantFrom('in', 'not in'), fc.array(operand(name), { minLength: 1, maxLength: 5 }))
          .map(([word, values]) => `${word} (${values.join(', ')})`),
        fc
          .tuple(
            fc.constantFrom('= any', '<> all', '<> any', '= all'),
            fc.array(operand(name), { minLength: 1, maxLength: 4 }),
          )
          .map(([word, values]) => `${word} (array[${values.join(', ')}])`),
      ),
    )
    .map((parts) => parts.join(' ')),
);
const between = fc
  .constantFrom(...FAMILIES.filter(({ operator }) => operator === OPERATOR))
  .chain(({ value }) => fc.tuple(value, fc.constantFrom('between', 'not between'), value, value))
  .map(([value, word, low, high]) => `${value} ${word} ${low} and ${high}`);
const nullTest = fc
  .tuple(fc.constantFrom(...SCALARS.map(({ name }) => name)), fc.constantFrom('is null', 'is not null'))
  .map((parts) => parts.join(' '));

export const predicate = fc.letrec<{ any: string; leaf: string }>((tie) => ({
  leaf: fc.oneof(
    { weight: 6, arbitrary: comparison },
    { weight: 2, arbitrary: list },
    { weight: 1, arbitrary: between },
    { weight: 1, arbitrary: nullTest },
    { weight: 1, arbitrary: operand('bool') },
  ),
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 4, arbitrary: tie('leaf') },
    {
      weight: 1,
      arbitrary: fc
        .array(tie('any'), { minLength: 2, maxLength: 3 })
        .map((parts) => parts.map((part) => `(${part})`).join(' and ')),
    },
    {
      weight: 1,
      arbitrary: fc
        .array(tie('any'), { minLength: 2, maxLength: 3 })
        .map((parts) => parts.map((part) => `(${part})`).join(' or ')),
    },
    { weight: 1, arbitrary: tie('any').map((part) => `not (${part})`) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(tie('any'), fc.constantFrom('true', 'not true', 'false', 'not false', 'unknown', 'not unknown'))
        .map(([part, test]) => `(${part}) is ${test}`),
    },
  ),
})).any;
