/** Rows of joined tables, as read from the WAL and as kept. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CatalogTable, CatalogTableColumn } from '../../src/channels/catalog/catalog.ts';
import { KnownTable } from '../../src/channels/joins/known-rows.ts';
import { binaryOf, KeptRow, type Row, stringOf } from '../../src/channels/joins/row.ts';
import { WalRows } from '../../src/channels/joins/rows-of-wal.ts';
import type { Relation } from '../../src/decode/relation.ts';
import { NULL, Tuple } from '../../src/decode/tuple.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { tupleOf, UNSENT } from '../channels/rows.ts';

const COLUMNS = 4;
const TEXT_OID = 25;

const columns = Array.from(
  { length: COLUMNS },
  (_, index) => ({ name: `c${index}`, number: index + 1, typeOid: TEXT_OID }) as CatalogTableColumn,
);
const catalogTable = { oid: 1, schema: 'public', name: 't', columns } as unknown as CatalogTable;
const table = new KnownTable(catalogTable, columns, [1]);
/** The WAL has the columns in another order, and one more. */
const WAL_ORDER = [2, 0, 4, 3, 1];
const relation: Relation = {
  oid: 1,
  schema: 'public',
  name: 't',
  replicaIdentity: 'f',
  columns: WAL_ORDER.map((index) => ({ name: `c${index}`, typeOid: TEXT_OID, typeModifier: -1, identity: true })),
  wanted: true,
  oldRow: new Tuple(WAL_ORDER.length),
  newRow: new Tuple(WAL_ORDER.length),
};
const rows = new WalRows(table, relation);

type Cells = readonly (string | null)[];
const inWal = (cells: Cells) => WAL_ORDER.map((index) => (index < COLUMNS ? (cells[index] ?? null) : 'not read'));
/** Each row has an object of its own, since `change` reuses them. */
const walRow = (cells: Cells) => new WalRows(table, relation).change(undefined, tupleOf(inWal(cells))).newRow as Row;

const cell = fc.oneof(
  fc.constant(null),
  fc.string({ unit: 'grapheme', maxLength: 5 }),
  fc.constantFrom('', '7', 'ä', 'a longer text, beyond what is copied byte by byte: '.repeat(2), 'ü'.repeat(40)),
);
const cells = fc.array(cell, { minLength: COLUMNS, maxLength: COLUMNS });

/** The row's columns at `positions`, written into a joined row after other columns. */
function written(row: Row, positions: readonly number[]): Cells {
  const [offset, bytes] = [2, new ByteWriter(16)];
  bytes.ascii('before');
  const tuple = new Tuple(offset + positions.length);
  row.write(positions, offset, tuple, bytes);
  expect(bytes.buffer.toString('utf8', 0, 6)).toBe('before');
  return positions.map((_, index) => {
    const at = offset + index;
    if (tuple.kinds[at] === NULL) return null;
    return bytes.buffer.toString('utf8', tuple.starts[at] as number, tuple.ends[at] as number);
  });
}

test('a row of the WAL and a kept row have the texts of Postgres, whichever columns are written', () => {
  const positions = fc.array(fc.integer({ min: 0, max: COLUMNS - 1 }), { maxLength: 6 });
  fc.assert(
    fc.property(cells, positions, (texts, at) => {
      const expected = at.map((position) => texts[position] ?? null);
      const forms: Row[] = [walRow(texts), walRow(texts).kept(), KeptRow.of(texts)];
      for (const row of forms) {
        expect(written(row, at)).toEqual(expected);
        // twice: the column read last is remembered
        for (const position of [...at, ...at])
          expect(row.text(position)).toBe(texts[position] == null ? undefined : binaryOf(texts[position] as string));
      }
    }),
  );
});

test('columns differ exactly if their texts do, in whatever form the rows are', () => {
  fc.assert(
    fc.property(cells, cells, fc.array(fc.boolean(), { minLength: COLUMNS, maxLength: COLUMNS }), (a, b, isSame) => {
      const other = b.map((text, index) => (isSame[index] ? (a[index] ?? null) : text));
      for (const one of [walRow(a), KeptRow.of(a)])
        for (const two of [walRow(other), KeptRow.of(other)])
          for (let position = 0; position < COLUMNS; position++)
            expect(one.differs(two, position)).toBe(a[position] !== other[position]);
    }),
  );
});

test('a kept row refers to no buffer of the WAL', () => {
  const tuple = tupleOf(inWal(['1', 'ä', null, 'x']));
  const kept = rows.change(undefined, tuple).newRow?.kept() as Row;
  tuple.buffer.fill(0);
  expect(written(kept, [0, 1, 2, 3])).toEqual(['1', 'ä', null, 'x']);
});

test('binary strings are equal exactly if the texts are', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      expect(binaryOf(text)).toBe(Buffer.from(text).toString('latin1'));
      expect(stringOf(binaryOf(text))).toBe(text);
    }),
  );
});

test('a value that the WAL lacks is an error, as is a row without a column', () => {
  expect(() => rows.change(undefined, tupleOf(['a', '1', 'b', UNSENT, 'c']))).toThrow(
    'public.t has a value that is not in the WAL',
  );
  const narrow = new WalRows(table, { ...relation, columns: relation.columns.slice(0, 3) });
  expect(() => narrow.change(tupleOf(['a', '1', 'b']), undefined)).toThrow('comes without columns that the view reads');
});
