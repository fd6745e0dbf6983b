/** Snapshots of views that join see the commits to their tables in the order of the WAL. */
import { expect, test } from 'vitest';
import { TouchedCommits } from '../../src/fanout/snapshots/order.ts';
import { Visibility } from '../../src/markers/visibility.ts';

test('a snapshot that sees a commit and not an earlier one is taken again', () => {
  const touched = new TouchedCommits();
  for (const xid of [100, 102, 101]) touched.add('v', xid);
  // 102 became visible before 100, whose record comes before it
  expect(touched.watch('v', new Visibility('100:103:100')).isKept).toBe(false);
  expect(touched.watch('v', new Visibility('100:100:')).isKept).toBe(true);
  expect(touched.watch('v', new Visibility('101:103:101')).isKept).toBe(true);
  expect(touched.watch('another', new Visibility('100:103:100')).isKept).toBe(true);
});

test('commits that arrive after the snapshot are compared until its seam', () => {
  const touched = new TouchedCommits();
  const order = touched.watch('v', new Visibility('100:103:100'));
  touched.add('v', 100);
  expect(order.isKept).toBe(true);
  touched.add('another', 102);
  expect(order.isKept).toBe(true);
  const ended = touched.watch('v', new Visibility('100:103:100'));
  ended.end();
  touched.add('v', 102);
  expect(order.isKept).toBe(false);
  expect(ended.isKept).toBe(true);
});

test('commits are compared beyond the largest 32-bit xid', () => {
  const touched = new TouchedCommits();
  // 4294967290, and 4 after the xids began anew
  for (const xid of [4_294_967_290, 4]) touched.add('v', xid);
  expect(touched.watch('v', new Visibility('4294967290:4294967302:4294967290')).isKept).toBe(false);
  expect(touched.watch('v', new Visibility('4294967300:4294967302:4294967300')).isKept).toBe(true);
  expect(touched.watch('v', new Visibility('4294967302:4294967302:')).isKept).toBe(true);
});
