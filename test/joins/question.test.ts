import type pg from 'pg';
import { expect, test } from 'vitest';
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
