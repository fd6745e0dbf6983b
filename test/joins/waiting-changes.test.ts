/** Changes that wait: they are read again from their messages when a question needs them. */
import { expect, test } from 'vitest';
import type { CatalogTable, CatalogTableColumn } from '../../src/channels/catalog/catalog.ts';
import { KnownTable } from '../../src/channels/joins/known-rows.ts';
import { WalRows } from '../../src/channels/joins/rows-of-wal.ts';
import { WaitingChanges, type WindowEntry } from '../../src/channels/joins/waiting-changes.ts';
import type { Relation } from '../../src/decode/relation.ts';
import { Tuple } from '../../src/decode/tuple.ts';

const OID = 7;
const INT = 23;
const columns = ['id', 'name'].map((name, index) => ({ name, number: index + 1, typeOid: INT }) as CatalogTableColumn);
const table = new KnownTable(
  { oid: OID, schema: 'public', name: 't', columns } as unknown as CatalogTable,
  columns,
  [1],
);
const relation: Relation = {
  oid: OID,
  schema: 'public',
  name: 't',
  replicaIdentity: 'f',
  columns: columns.map(({ name, typeOid }) => ({ name, typeOid, typeModifier: -1, identity: true })),
  wanted: true,
  oldRow: new Tuple(2),
  newRow: new Tuple(2),
};
const rows = new WalRows(table, relation);

type Cells = readonly (string | null)[];

function tupleBytes(letter: string, cells: Cells): Buffer {
  const parts = [Buffer.from(letter), Buffer.from([0, cells.length])];
  for (const cell of cells) {
    if (cell === null) {
      parts.push(Buffer.from('n'));
      continue;
    }
    const [text, length] = [Buffer.from(cell), Buffer.alloc(4)];
    length.writeUInt32BE(text.length);
    parts.push(Buffer.from('t'), length, text);
  }
  return Buffer.concat(parts);
}

/** A message of the WAL: an insert, update or delete. */
function messageOf(oldRow: Cells | undefined, newRow: Cells | undefined): Buffer {
  const letter = oldRow === undefined ? 'I' : newRow === undefined ? 'D' : 'U';
  const oid = Buffer.alloc(4);
  oid.writeUInt32BE(OID);
  return Buffer.concat([
    Buffer.from(letter),
    oid,
    ...(oldRow === undefined ? [] : [tupleBytes('O', oldRow)]),
    ...(newRow === undefined ? [] : [tupleBytes('N', newRow)]),
  ]);
}

function push(changes: WaitingChanges, number: number, oldRow: Cells | undefined, newRow: Cells | undefined): void {
  const message = messageOf(oldRow, newRow);
  const buffer = Buffer.concat([Buffer.from('before'), message, Buffer.from('after')]);
  const [start, end] = ['before'.length, 'before'.length + message.length];
  changes.push(rows, { number, xid: 100 + number, isFresh: number % 2 === 0, buffer, start, end });
}

const textsOf = ({ message, xid, isFresh, change, lost }: WindowEntry) => {
  const [before, after] = [change?.oldRow, change?.newRow].map((row) => row && [row.text(0), row.text(1)]);
  return [message, xid, isFresh, before, after, lost];
};

test('an insert, an update and a delete are read again as they were', () => {
  const changes = new WaitingChanges();
  push(changes, 1, undefined, ['1', 'a']);
  push(changes, 2, ['1', 'a'], ['1', null]);
  push(changes, 3, ['1', null], undefined);
  const expected = [
    [1, 101, false, undefined, ['1', 'a'], undefined],
    [2, 102, true, ['1', 'a'], ['1', undefined], undefined],
    [3, 103, false, ['1', undefined], undefined, undefined],
  ];
  expect(changes.entries.map(textsOf)).toEqual(expected);
  // the tuples serve every message
  push(changes, 4, undefined, ['2', 'b']);
  expect(changes.entries.map(textsOf)).toEqual([...expected, [4, 104, true, undefined, ['2', 'b'], undefined]]);
});

test('a change that cannot be undone says why', () => {
  const changes = new WaitingChanges();
  const at = { number: 5, xid: 6, isFresh: true, buffer: Buffer.alloc(0), start: 0, end: 0 };
  changes.push({ table, lost: 'truncate' }, at);
  expect(changes.entries).toEqual([{ message: 5, xid: 6, isFresh: true, table, change: undefined, lost: 'truncate' }]);
});

test.each([false, true])(
  'passed changes are dropped, however many they are; entries were read before: %s',
  (isRead) => {
    const changes = new WaitingChanges();
    const COUNT = 10_000;
    for (let number = 1; number <= COUNT; number++) push(changes, number, undefined, [String(number), null]);
    if (isRead) expect(changes.entries).toHaveLength(COUNT);
    expect([...changes.pass(3)]).toEqual([101, 102]);
    expect(changes.length).toBe(COUNT - 2);
    expect(textsOf(changes.entries[0] as WindowEntry)).toEqual([3, 103, false, undefined, ['3', undefined], undefined]);
    expect([...changes.pass(COUNT)]).toHaveLength(COUNT - 3);
    push(changes, COUNT + 1, undefined, ['x', null]);
    expect(changes.entries.map(({ change }) => change?.newRow?.text(0))).toEqual([String(COUNT), 'x']);
    expect([...changes.pass(COUNT + 5)]).toHaveLength(2);
    expect(changes.entries).toEqual([]);
    push(changes, COUNT + 6, undefined, ['y', null]);
    expect(changes.entries.map(({ change }) => change?.newRow?.text(0))).toEqual(['y']);
  },
);
