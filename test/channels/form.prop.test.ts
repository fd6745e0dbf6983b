/**
 * Texts that no Postgres prints: each is a fault, or its JSON is valid and contains only the text's
 * own bytes.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readMoment } from '../../src/channels/values/calendar.ts';
import { compareOf } from '../../src/channels/values/compare.ts';
import { encoderOf } from '../../src/channels/values/encode.ts';
import { readFloat4, readFloat8 } from '../../src/channels/values/float.ts';
import { readBigInteger, readInteger } from '../../src/channels/values/integer.ts';
import { countMembers } from '../../src/channels/values/json-walk.ts';
import { readNumeric } from '../../src/channels/values/numeric.ts';
import { RowError } from '../../src/channels/values/row-error.ts';
import {
  arrayOf,
  type OtherType,
  type ScalarKind,
  type ScalarType,
  Types,
  type ValueType,
} from '../../src/channels/values/types.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';

const types = new Types([]);
const scalar = (name: string) => types.byName('pg_catalog', name) as ScalarType;
const other = (oid: number, name: string): OtherType => ({
  kind: 'other',
  oid,
  name,
  jsonCast: null,
  textCast: false,
  equality: true,
});

/** Texts as Postgres prints them, and some as it prints them under other settings. */
const TEXTS: Readonly<Partial<Record<ScalarKind, readonly string[]>>> = {
  bool: ['t', 'f', 'true', ''],
  int2: ['0', '-32768'],
  int4: ['42', '-2147483648', '007', '+1', '1e5', '0x1f'],
  int8: ['9223372036854775807', '-1'],
  float4: ['1.5e-07', '-0', 'NaN', 'Infinity', '0,5'],
  float8: ['0.1', '-1e+300', '-Infinity', '1.', '.5', '1e', 'nan'],
  numeric: ['0.00', '-123456789012345678901234567890.5', 'NaN', '1.234,56'],
  date: ['2026-11-28', '0044-03-15 BC', 'infinity', '28/11/2026', '28.11.2026', '2026-13-01'],
  time: ['18:30:00', '24:00:00', '01:02:03.000004', '6:30 PM'],
  timestamp: ['2026-11-28 18:30:00.5', '0044-03-15 12:00:00 BC', 'Sat Nov 28 18:30:00 2026', '28/11/2026 18:30:00'],
  timestamptz: [
    '2026-11-28 18:30:00+00',
    '2026-11-28 18:30:00-05',
    '28/11/2026 18:30:00 EST',
    '2026-11-28T18:30:00+00',
  ],
  uuid: ['00000000-0000-0000-0000-000000000000', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'],
  bytea: ['\\x', '\\x00ff', 'abc', '\\\\x00', '\\x0'],
};
const OTHERS: readonly (readonly [OtherType, readonly string[]])[] = [
  [
    other(1186, 'interval'),
    ['1 year 2 mons 3 days 04:05:06.7', '00:00:00', 'P1Y', '1-2', '@ 1 year', '-1 days +02:03:04'],
  ],
  [other(790, 'money'), ['$1,234.56', '-$0.05', '1.234,56 €', 'Eu1.234,56', '$1234']],
  [
    other(3910, 'tstzrange'),
    ['["2026-01-01 10:00:00+00","2026-02-01 00:00:00+00")', 'empty', '(,)', '["01/02/2026 10:00:00 EST",)'],
  ],
];

/** Each type with its texts, then arrays and composites of it. */
const CASES: readonly (readonly [ValueType, readonly string[]])[] = [
  ...Object.entries(TEXTS).map(([kind, texts]) => [scalar(kind), texts] as const),
  ...OTHERS,
].flatMap(([type, texts]) => {
  const quoted = texts.map((text) => `"${text.replaceAll(/["\\]/g, '\\$&')}"`);
  const doubled = texts.map((text) => `"${text.replaceAll(/["\\]/g, '$&$&')}"`);
  const array: ValueType = { ...arrayOf(scalar('text')), element: type };
  const record: ValueType = {
    kind: 'composite',
    name: 'pair',
    fields: [
      { name: 'a', type },
      { name: 'b', type },
    ],
    textCast: false,
  };
  return [
    [type, texts] as const,
    [
      array,
      [...quoted.map((text) => `{${text},NULL}`), '{}', '[2:3]={{NULL},{NULL}}', '{{', '}', '{,}', '{"a'],
    ] as const,
    [record, [...doubled.map((text) => `(${text},)`), '(,)', '(', '(,', '(,,)', '("a']] as const,
  ];
});

/** A text with some changed bytes. */
const mangled = (texts: readonly string[]) =>
  fc
    .tuple(
      fc.constantFrom(...texts),
      fc.array(
        fc.tuple(
          fc.nat(),
          fc.constantFrom('cut', 'drop', 'put', 'change'),
          fc.constantFrom(...'"\\{}(),:;-+. 0129aetfxNI\n\t'),
        ),
        {
          maxLength: 3,
        },
      ),
    )
    .map(([text, changes]) =>
      changes.reduce((before, [place, how, character]) => {
        const at = before.length === 0 ? 0 : place % (before.length + 1);
        if (how === 'cut') return before.slice(0, at);
        if (how === 'put') return before.slice(0, at) + character + before.slice(at);
        return before.slice(0, at) + (how === 'change' ? character : '') + before.slice(at + 1);
      }, text),
    );

const FOREIGN = 0xff;

/** The text between bytes that occur in no text. */
function within(text: string): { readonly buffer: Buffer; readonly start: number; readonly end: number } {
  const bytes = Buffer.from(text);
  const around = Buffer.alloc(40, FOREIGN);
  return { buffer: Buffer.concat([around, bytes, around]), start: around.length, end: around.length + bytes.length };
}

function orFault<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    expect(error).toBeInstanceOf(RowError);
    return undefined;
  }
}

test.each(CASES)('an encoder of $kind $name writes valid JSON of only the text, or reports a fault', (type, texts) => {
  const encode = encoderOf(type);
  fc.assert(
    fc.property(mangled(texts), (text) => {
      const { buffer, start, end } = within(text);
      const out = new ByteWriter(16);
      const written = orFault(() => {
        encode(buffer, start, end, out);
        return out.buffer.subarray(0, out.length);
      });
      if (written === undefined) return;
      expect(written.includes(FOREIGN)).toBe(false);
      expect(() => JSON.parse(written.toString()) as unknown).not.toThrow();
    }),
    { numRuns: 300 },
  );
});

test('texts printed under other settings are faults', () => {
  const OF_OTHERS: readonly (readonly [ValueType, readonly string[]])[] = [
    [scalar('date'), ['28/11/2026', '28.11.2026', '11-28-2026', '2026-13-01', '2026-11-28 AD', '26-11-28']],
    [scalar('timestamp'), ['28/11/2026 18:30:00', 'Sat Nov 28 18:30:00 2026', '2026-11-28', '2026-11-28T18:30:00']],
    [
      scalar('timestamptz'),
      ['2026-11-28 18:30:00-05', '28/11/2026 18:30:00 EST', '2026-11-28 18:30:00', '2026-11-28 18:30:00+00:00'],
    ],
    [scalar('bytea'), ['abc', '', '\\\\x00', '\\000abc', '\\x0', '\\xAB']],
    [scalar('numeric'), ['1.234,56', '1,5', '']],
    ...OTHERS.map(
      ([type, texts]) =>
        [type, texts.slice(type.oid === 3910 ? 3 : 2).filter((text) => !/^-1 days/.test(text))] as const,
    ),
  ];
  for (const [type, texts] of OF_OTHERS) {
    for (const text of texts) {
      const { buffer, start, end } = within(text);
      expect(() => encoderOf(type)(buffer, start, end, new ByteWriter(16)), `${type.name} ${text}`).toThrow(RowError);
    }
  }
});

test('comparisons and readers end with a result or a fault', () => {
  const all = CASES.flatMap(([, texts]) => texts);
  const kinds = Object.keys(TEXTS) as ScalarKind[];
  fc.assert(
    fc.property(fc.constantFrom(...kinds), mangled(all), mangled(all), (kind, one, two) => {
      const [a, b] = [within(one), within(two)];
      const comparand = { type: scalar(kind), single: kind === 'float4' };
      const compare = compareOf(comparand, comparand, true);
      orFault(() => compare?.(a.buffer, a.start, a.end, b.buffer, b.start, b.end));
      for (const read of [readInteger, readBigInteger, readFloat4, readFloat8, countMembers])
        orFault<unknown>(() => read(a.buffer, a.start, a.end));
      orFault<unknown>(() => readNumeric(one));
      orFault(() => readMoment(a.buffer, a.start, a.end, { day: 0, microsecond: 0 }));
    }),
    { numRuns: 3_000 },
  );
});
