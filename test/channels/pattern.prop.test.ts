import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  channelName,
  matchPattern,
  type Pattern,
  parsePattern,
  patternsConflict,
  writeEncodedValue,
} from '../../src/channels/catalog/pattern.ts';
import { SnoError } from '../../src/errors.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';

const literal = fc.string({ unit: fc.constantFrom('a', 'b', ':', '/', '.', '-'), maxLength: 3 });

/** Patterns over few characters, so that they often conflict. */
const pattern: fc.Arbitrary<Pattern> = fc
  .array(literal, { minLength: 1, maxLength: 4 })
  .map((literals) =>
    parsePattern(literals.reduce((text, part, index) => (index === 0 ? part : `${text}{c${index}}${part}`))),
  )
  .filter((result): result is Pattern => !(result instanceof SnoError));

const value = fc.string({ unit: 'grapheme', maxLength: 6 }).filter((text) => !text.includes('\0'));
const named = pattern.chain((made) =>
  fc.record({
    made: fc.constant(made),
    values: fc.array(value, { minLength: made.columns.length, maxLength: made.columns.length }),
  }),
);

test('only the exact spelling of a name gives back its values', () => {
  fc.assert(
    fc.property(named, ({ made, values }) => {
      const name = channelName(made, values);
      expect(name).toMatch(/^[A-Za-z0-9_.:/~%-]*$/);
      expect(matchPattern(made, name)).toEqual(values);
    }),
  );
});

test('a name that matches is the name of its values', () => {
  const name = fc.string({
    unit: fc.constantFrom('a', 'b', ':', '/', '.', '-', '%', '2', 'F', 'f', 'C', '3', 'ü'),
    maxLength: 9,
  });
  fc.assert(
    fc.property(pattern, name, (made, text) => {
      const values = matchPattern(made, text);
      fc.pre(values !== undefined);
      expect(channelName(made, values as string[])).toBe(text);
    }),
  );
});

test('encodes bytes as it encodes strings', () => {
  fc.assert(
    fc.property(named, ({ made, values }) => {
      const out = new ByteWriter(8);
      made.literals.forEach((text, index) => {
        out.ascii(text);
        const bytes = Buffer.from(values[index] ?? '');
        writeEncodedValue(bytes, 0, bytes.length, out);
      });
      expect(out.buffer.toString('latin1', 0, out.length)).toBe(channelName(made, values));
    }),
  );
});

/** Every name of up to six characters that occur in literals of `pattern`. */
const names = (function* enumerate() {
  let layer = [''];
  for (let length = 0; length <= 6; length++) {
    yield* layer;
    layer = layer.flatMap((name) => ['a', ':', '.'].map((character) => name + character));
  }
})();
const NAMES = [...names];
const small = fc
  .array(fc.string({ unit: fc.constantFrom('a', ':', '.'), maxLength: 2 }), { minLength: 1, maxLength: 3 })
  .map((literals) =>
    parsePattern(literals.reduce((text, part, index) => (index === 0 ? part : `${text}{c${index}}${part}`))),
  )
  .filter((result): result is Pattern => !(result instanceof SnoError));

test('two patterns conflict exactly if some name matches both', () => {
  fc.assert(
    fc.property(small, small, (a, b) => {
      // Literals have at most six characters in all, and so has their shortest common name.
      const shared = NAMES.some((name) => matchPattern(a, name) !== undefined && matchPattern(b, name) !== undefined);
      expect(patternsConflict(a, b)).toBe(shared);
    }),
    { numRuns: 300 },
  );
});
