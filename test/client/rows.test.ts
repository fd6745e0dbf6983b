import { describe, expect, test } from 'vitest';
import type { Change } from '../../src/client/event.ts';
import { Rows } from '../../src/client/rows.ts';
import type { ChangeEvent, Key } from '../../src/protocol.ts';

type Row = Readonly<Record<string, unknown>>;

const load = (...rows: readonly [Key, Row][]): Rows<Row> => {
  const held = new Rows<Row>();
  const snapshot = rows.map(([key, data]) => ({ key, data }));
  held.apply({ kind: 'joined', rows: snapshot, items: [], position: 'p', recovered: false });
  return held;
};

const apply = (rows: Rows<Row>, ...events: readonly ChangeEvent<Row>[]): readonly Change<Row>[] => {
  const commit = { channel: 'c', position: 'p', lsn: '0/1', xid: 1, committedAt: '', events };
  rows.apply({ kind: 'commit', commit });
  return rows.changesOf(commit);
};

describe('rows', () => {
  test("keep the order in which they came, and an update keeps the row's place", () => {
    const rows = load([{ id: 2 }, { id: 2 }], [{ id: 1 }, { id: 1 }]);
    apply(rows, { op: 'insert', key: { id: 3 }, data: { id: 3 } });
    apply(rows, { op: 'update', key: { id: 2 }, data: { id: 2, done: true } });
    expect(rows.array).toEqual([{ id: 2, done: true }, { id: 1 }, { id: 3 }]);
    expect(rows.size).toBe(3);
  });

  test('an update of a missing row is an insert, and an insert of a present row is an update', () => {
    const rows = load();
    apply(rows, { op: 'update', key: { id: 1 }, data: { id: 1, n: 1 } });
    apply(rows, { op: 'insert', key: { id: 1 }, data: { id: 1, n: 2 } });
    apply(rows, { op: 'delete', key: { id: 9 } });
    expect(rows.array).toEqual([{ id: 1, n: 2 }]);
  });

  test('a change has the row before it, and the event of the commit stays as it came', () => {
    const rows = load([{ id: 1 }, { id: 1, n: 1 }]);
    const update = { op: 'update', key: { id: 1 }, data: { id: 1, n: 2 } } as const;
    const gone = { op: 'delete', key: { id: 1 } } as const;
    const added = { op: 'insert', key: { id: 2 }, data: { id: 2 } } as const;
    expect(apply(rows, update, gone, added, { op: 'truncate' })).toEqual([
      { ...update, old: { id: 1, n: 1 } },
      { ...gone, old: { id: 1, n: 2 } },
      added,
      { op: 'truncate' },
    ]);
    expect(update).not.toHaveProperty('old');
  });

  test('entries have the keys as the server sends them', () => {
    const rows = load([{ a: 1, b: 'x' }, { shown: 1 }], [{ a: 2, b: 'y' }, { shown: 2 }]);
    apply(rows, { op: 'insert', key: { a: 3, b: 'z' }, data: { shown: 3 } });
    expect(rows.entries()).toEqual([
      { key: { a: 1, b: 'x' }, data: { shown: 1 } },
      { key: { a: 2, b: 'y' }, data: { shown: 2 } },
      { key: { a: 3, b: 'z' }, data: { shown: 3 } },
    ]);
    expect(load().entries()).toEqual([]);
  });

  test('unchanged columns keep their value and their place', () => {
    const rows = load([{ id: 1 }, { id: 1, body: 'long', n: 1 }]);
    apply(rows, { op: 'update', key: { id: 1 }, data: { id: 1, n: 2 }, unchanged: ['body'] });
    expect(JSON.stringify(rows.array)).toBe('[{"id":1,"body":"long","n":2}]');
    apply(rows, { op: 'insert', key: { id: 5 }, data: { id: 5, n: 3 }, unchanged: ['body'] });
    expect(rows.get(5)).toEqual({ id: 5, n: 3 });
  });

  test('earlier versions of a row object are not modified', () => {
    const rows = load([{ id: 1 }, { id: 1, body: 'a', n: 1 }]);
    const [before] = rows.array;
    apply(rows, { op: 'update', key: { id: 1 }, data: { id: 1, n: 2 }, unchanged: ['body'] });
    expect(before).toEqual({ id: 1, body: 'a', n: 1 });
  });

  test('finds a key of several columns whatever the order of its properties', () => {
    const rows = load([{ a: 1, b: 'x' }, { v: 1 }], [{ a: 1, b: 'y' }, { v: 2 }]);
    expect(rows.get({ b: 'y', a: 1 })).toEqual({ v: 2 });
    expect(rows.get({ a: 2, b: 'y' })).toBeUndefined();
    expect(rows.get(1)).toBeUndefined();
  });

  test('a number and its text are different keys, and no value can imitate a separator', () => {
    const rows = load([{ a: 1, b: 'x' }, { v: 1 }], [{ a: '1', b: 'x' }, { v: 2 }], [{ a: '1,"x', b: '' }, { v: 3 }]);
    expect(rows.size).toBe(3);
    expect(rows.get({ a: '1', b: 'x' })).toEqual({ v: 2 });
  });

  test('finds a key of numbers by their text, and a key of texts by their numbers', () => {
    const rows = load([{ id: 1 }, { v: 1 }], [{ id: 20 }, { v: 20 }]);
    for (const key of [20, '20', 20n, { id: '20' }, { id: 20n }]) expect(rows.get(key)).toEqual({ v: 20 });
    for (const key of ['', ' ', 'x', '0x14x', null, undefined, true]) expect(rows.get(key)).toBeUndefined();
    const pairs = load([{ a: '1', b: 2 }, { v: 1 }]);
    for (const key of [
      { b: '2', a: 1 },
      { a: 1n, b: 2n },
    ])
      expect(pairs.get(key)).toEqual({ v: 1 });
  });

  test('finds a key in a view that began empty', () => {
    const rows = load();
    apply(rows, { op: 'insert', key: { a: 1, b: 2 }, data: { v: 1 } });
    expect(rows.get({ b: 2, a: 1 })).toEqual({ v: 1 });
  });

  test('ignores commits before the first snapshot', () => {
    const rows = new Rows<Row>();
    apply(rows, { op: 'insert', key: { id: 1 }, data: { id: 1 } });
    expect(rows.size).toBe(0);
  });
});
