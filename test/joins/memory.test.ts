/** What joins keep in memory: not the rows and messages that they have handled. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { CatalogTable, CatalogTableColumn } from '../../src/channels/catalog/catalog.ts';
import { parsePattern } from '../../src/channels/catalog/pattern.ts';
import type { ChannelView } from '../../src/channels/channel.ts';
import { Joins } from '../../src/channels/joins/joins.ts';
import { KnownTable } from '../../src/channels/joins/known-rows.ts';
import { KeptRow } from '../../src/channels/joins/row.ts';
import { WaitingChanges } from '../../src/channels/joins/waiting-changes.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const TEXT_OID = 25;
const columns = ['id', 'body'].map(
  (name, index) => ({ name, number: index + 1, typeOid: TEXT_OID }) as CatalogTableColumn,
);
const catalogTable = { oid: 7, schema: 'public', name: 't', columns } as unknown as CatalogTable;
const table = new KnownTable(catalogTable, columns, [1]);

/** Live bytes, with buffers outside of the heap. */
function aliveBytes(): number {
  // the first collection may free objects that held buffers
  for (const _ of [1, 2]) collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const MB = 1 << 20;

/** Pushes 64 changes whose messages have 1 MB each, from this number on. */
function pushLarge(changes: WaitingChanges, from: number): void {
  for (let number = from; number < from + 64; number++)
    changes.push(
      { table, lost: 'row' },
      { number, xid: number, isFresh: true, buffer: Buffer.alloc(MB), start: 0, end: MB },
    );
}

test.each([
  ['all were passed', (changes: WaitingChanges) => changes.pass(64)],
  ['all but one were passed', (changes: WaitingChanges) => changes.pass(63)],
  ['all were dropped', (changes: WaitingChanges) => changes.clear()],
])('changes keep no message after %s', (_, end) => {
  const changes = new WaitingChanges();
  const before = aliveBytes();
  pushLarge(changes, 0);
  expect(aliveBytes() - before).toBeGreaterThan(60 * MB);
  end(changes);
  expect(aliveBytes() - before).toBeLessThan(8 * MB);
  // its places serve later changes
  pushLarge(changes, 64);
  expect(changes.entries.at(-1)?.message).toBe(127);
});

test('a known lookup does not keep the row in which its value was found', () => {
  const index = table.index([1], ['text']);
  const before = aliveBytes();
  for (let count = 0; count < 64; count++) {
    const id = `a value like a UUID, ${count}`;
    const row = KeptRow.of([id, 'x'.repeat(MB)]);
    index.fill(index.valueOf(row) as string, new Map());
    expect(index.get(id)?.size).toBe(0);
  }
  expect(aliveBytes() - before).toBeLessThan(8 * MB);
});

test('a view does not keep the room that a large joined row needed', () => {
  const join = {
    relation: 8,
    columns: columns.map(({ name, typeOid }) => ({ name, typeOid, typeModifier: -1 })),
    tables: [{ table: catalogTable, alias: 't', columns, key: [1], offset: 0 }],
    steps: [],
    computed: [],
    asked: undefined,
  };
  const [view] = new Joins([{ pattern: parsePattern('v'), join } as unknown as ChannelView]).views;
  const before = aliveBytes();
  view?.join(KeptRow.of(['large', 'x'.repeat(64 * MB)]), 'oldRow');
  view?.join(KeptRow.of(['small', 'x']), 'oldRow');
  expect(aliveBytes() - before).toBeLessThan(8 * MB);
});
