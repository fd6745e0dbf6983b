/** V8 visits every object of the journal in each collection of its whole heap. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Rig } from '../fanout/rig.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heapBytes(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

test('a commit of one row takes less than 750 bytes of the heap', () => {
  const rig = new Rig({ journalBytes: 1 << 30 });
  const commit = (xid: number) => {
    rig.begin(xid);
    rig.row(1, xid, 100);
    rig.end();
    rig.hub.flush();
  };
  for (let xid = 1; xid <= 100; xid++) commit(xid);
  const before = heapBytes();
  const count = 20_000;
  for (let xid = 101; xid <= 100 + count; xid++) commit(xid);
  expect(rig.journal.entryCount).toBe(100 + count);
  const each = (heapBytes() - before) / count;
  expect(each).toBeLessThan(750);
});
