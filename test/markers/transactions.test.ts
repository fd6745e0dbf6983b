import type pg from 'pg';
import pino from 'pino';
import { expect, test } from 'vitest';
import { Transactions } from '../../src/markers/transactions.ts';

/** Postgres shows transaction 10. It holds its lock for as many answers as `lockedFor` says. */
function world(lockedFor: number) {
  const asked: string[] = [];
  let locked = lockedFor;
  const pool = {
    query: async (sql: string) => {
      const isLocks = sql.includes('pg_locks');
      asked.push(isLocks ? 'locks' : 'snapshot');
      return { rows: [{ snapshot: '20:20:', ...(isLocks && { locked: locked-- > 0 ? '10,11' : '11' }) }] };
    },
  } as unknown as pg.Pool;
  const pauses: number[] = [];
  const pause = async (attempt: number) => void pauses.push(attempt);
  return { transactions: new Transactions({ pool, logger: pino({ enabled: false }), pause }), asked, pauses };
}

test('a transaction has ended once queries see it and it holds no lock', async () => {
  const { transactions, asked, pauses } = world(2);
  await transactions.ended(10);
  expect(asked).toEqual(['locks', 'locks', 'locks']);
  expect(pauses).toEqual([0, 1]);
});

test('a transaction that queries see is visible, whatever it holds', async () => {
  const { transactions, asked } = world(Number.POSITIVE_INFINITY);
  await transactions.visible(10);
  expect(asked).toEqual(['snapshot']);
});

test('callers that arrive during a query share the next one', async () => {
  const { transactions, asked } = world(0);
  await Promise.all(Array.from({ length: 100 }, () => transactions.ended(10)));
  expect(asked.length).toBeLessThanOrEqual(2);
});
