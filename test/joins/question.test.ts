import type pg from 'pg';
import { afterEach, expect, test, vi } from 'vitest';
import type { CatalogTable, CatalogTableColumn } from '../../src/channels/catalog/catalog.ts';
import type { JoinedView } from '../../src/channels/joins/joined-view.ts';
import type { Missing } from '../../src/channels/joins/joins.ts';
import { KnownTable } from '../../src/channels/joins/known-rows.ts';
import { Question, type QuestionOptions } from '../../src/channels/joins/question.ts';
import type { Window } from '../../src/channels/joins/window.ts';

const code = (code: string) => Object.assign(new Error(code), { code });

/** A question that misses nothing, on a stream that is not silent, unless the options differ. */
function questionOf(options: Partial<QuestionOptions>): Question {
  return new Question({
    passed: new Set(),
    missing: () => new Map(),
    lockMs: () => 0,
    rowsMax: 1,
    now: () => 0,
    isSilent: () => false,
    ...options,
  } as QuestionOptions);
}

afterEach(() => {
  vi.useRealTimers();
});

test('a lost connection is tried again for as long as the question may take; an error of Postgres ends it', async () => {
  let ms = 0;
  let attempts = 0;
  const pool = {
    connect: async () => {
      throw code(++attempts < 4 ? 'ECONNREFUSED' : '42501');
    },
  } as unknown as pg.Pool;
  const question = questionOf({
    pool,
    now: () => ms,
    pause: async () => {
      ms += 4_000;
    },
  });
  await expect(question.ask()).rejects.toMatchObject({ code: '42501' });
  expect(attempts).toBe(4);
});

test('time in which Postgres is silent on the stream, too, does not count', async () => {
  vi.useFakeTimers();
  let isSilent = true;
  const pool = { connect: () => Promise.reject(code('ETIMEDOUT')) } as unknown as pg.Pool;
  const question = questionOf({
    pool,
    now: () => performance.now(),
    isSilent: () => isSilent,
    pause: () => new Promise((resolve) => setTimeout(resolve, 1_000)),
  });
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
      return text.includes('pg_current_snapshot') ? [{ rows: [{ snapshot: '10:10:' }] }] : { rows: [] };
    },
    release: () => {},
  };
  const question = questionOf({
    pool: { connect: async () => client } as unknown as pg.Pool,
    missing: (): Missing =>
      index.get('7') === undefined ? new Map([[index, new Map([['7', new Set([view])]])]]) : new Map(),
    onAsked: () => {},
    window: { entries: [], hasArrived: true, expect: () => {} } as unknown as Window,
    mark: async () => {
      steps.push('marker');
      question.onRead();
    },
  });
  await question.ask();
  expect(steps).toEqual(order);
});
