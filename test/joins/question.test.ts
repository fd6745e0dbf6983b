import type pg from 'pg';
import { afterEach, expect, test, vi } from 'vitest';
import type { CatalogTable, CatalogTableColumn } from '../../src/channels/catalog/catalog.ts';
import type { JoinedView } from '../../src/channels/joins/joined-view.ts';
import type { Missing } from '../../src/channels/joins/joins.ts';
import { KnownTable } from '../../src/channels/joins/known-rows.ts';
import { Question, type QuestionOptions } from '../../src/channels/joins/question.ts';

const code = (code: string) => Object.assign(new Error(code), { code });

test('a lost connection is tried again for as long as the question may take; an error of Postgres ends it', async () => {
  let ms = 0;
  let attempts = 0;
  const pool = {
    connect: async () => {
      throw code(++attempts < 4 ? 'ECONNREFUSED' : '42501');
    },
  } as unknown as pg.Pool;
  const question = new Question({
    pool,
    passed: new Set(),
    missing: () => new Map(),
    lockMs: () => 0,
    rowsMax: 1,
    now: () => ms,
    pause: async () => {
      ms += 4_000;
    },
  } as unknown as QuestionOptions);
  await expect(question.ask()).rejects.toMatchObject({ code: '42501' });
  expect(attempts).toBe(4);
});

afterEach(() => {
  vi.useRealTimers();
});

test('time in which Postgres is silent on the stream, too, does not count', async () => {
  vi.useFakeTimers();
  let isSilent = true;
  const pool = { connect: () => Promise.reject(code('ETIMEDOUT')) } as unknown as pg.Pool;
  const question = new Question({
    pool,
    passed: new Set(),
    missing: () => new Map(),
    lockMs: () => 0,
    rowsMax: 1,
    now: () => performance.now(),
    isSilent: () => isSilent,
    pause: () => new Promise((resolve) => setTimeout(resolve, 1_000)),
  } as unknown as QuestionOptions);
  let fault: Error | undefined;
  question.ask().catch((error: Error) => {
    fault = error;
  });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(fault).toBeUndefined();
  isSilent = false;
  await vi.advanceTimersByTimeAsync(19_000);
  expect(fault).toBeUndefined();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(fault?.message).toBe('the rows could not be read within 20 s');
});

test.each([
  ['r', 'of a plain table alone', ['marker', 'join only "app"."people" t on']],
  ['p', 'of a partitioned table before the marker', ['join "app"."people" t on', 'marker']],
])('relkind %s: rows are read %s', async (kind, _, order) => {
  const id = { name: 'id', number: 1, type: 'integer' } as unknown as CatalogTableColumn;
  const known = new KnownTable({ schema: 'app', name: 'people', kind } as unknown as CatalogTable, [id], [1]);
  const index = known.index([1], ['bigint']);
  const view = { parts: [{ known }] } as unknown as JoinedView;
  const steps: string[] = [];
  const client = {
    query: async ({ text }: { readonly text: string }) => {
      const [join] = /join (only )?"app"."people" t on/.exec(text) ?? [];
      if (join !== undefined) steps.push(join);
      return { rows: text.includes('pg_current_snapshot') ? [{ snapshot: '10:10:' }] : [] };
    },
    release: () => {},
  };
  const question = new Question({
    pool: { connect: async () => client } as unknown as pg.Pool,
    passed: new Set(),
    missing: (): Missing =>
      index.get('7') === undefined ? new Map([[index, new Map([['7', new Set([view])]])]]) : new Map(),
    lockMs: () => 0,
    rowsMax: 1,
    now: () => 0,
    onAsked: () => {},
    window: { entries: [], hasArrived: true, expect: () => {} },
    mark: async () => {
      steps.push('marker');
      question.onRead();
    },
  } as unknown as QuestionOptions);
  await question.ask();
  expect(steps).toEqual(order);
});
