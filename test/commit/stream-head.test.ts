/** The text of the head, which is made once for each place, follows every change of the head. */
import { expect, test } from 'vitest';
import { Shares } from '../../src/commit/shares.ts';
import { StreamHead } from '../../src/commit/stream-head.ts';
import { formatPosition } from '../../src/position.ts';

test('the text of the head is that of its epoch and position, after each change', () => {
  const head = new StreamHead(new Shares(10, () => {}));
  const expectText = () => {
    const text = formatPosition(head.epoch, head.head.lsn, head.head.index);
    // Also when it is asked for once more.
    expect([head.headText, head.headText]).toEqual([text, text]);
  };
  expectText();
  head.start('e-1-1', 8);
  expectText();
  head.moveTo(16);
  expectText();
  head.nextNotification();
  expectText();
  head.nextNotification();
  expectText();
  head.moveTo(16);
  expectText();
  head.start('e-1-2', 16);
  expectText();
});
