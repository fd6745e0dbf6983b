/**
 * SQL files, as `sno check` and --rules read them: any bytes are either statements or one error
 * with its place.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { readSqlFile } from '../../src/channels/sql/sql-file.ts';
import { SnoError } from '../../src/errors.ts';
import { FUZZ_MS, fuzz, tellFuzz } from '../support/fuzz.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sno-sql-'));
  await loadParser();
});
afterAll(() => rm(folder, { recursive: true }));

const PIECES = [
  'create view channels."room:{id}" as select id from t;',
  'create view channel_access."room:{id}" as select 1 as id',
  'create table t (id int primary key, näme text);',
  "select 'it''s', $$ ; $$, U&'\\0441', e'\\n';",
  '-- a comment; with a semicolon\n',
  '/* nested /* comment */ */',
  'begin;',
  'commit',
  '\\i other.sql',
  ';;',
  '\u{feff}',
  "'",
  '"',
  '$a$',
  '/*',
];
const file = fc.oneof(
  fc
    .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary', maxLength: 12 })), { maxLength: 6 })
    .map((pieces) => Buffer.from(pieces.join(' '))),
  fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
);

test(
  'SQL files with any bytes are read, or refused with the place',
  async () => {
    const { numRuns, seed } = fuzz(1_000);
    const path = join(folder, 'fuzzed.sql');
    await fc.assert(
      fc.asyncProperty(file, async (content) => {
        await writeFile(path, content);
        try {
          const { statements } = await readSqlFile(path, 'fuzzed.sql');
          for (const { sql, transaction } of statements) {
            expect(content.toString()).toContain(sql);
            expect(transaction).toBeUndefined();
          }
        } catch (error) {
          if (!(error instanceof SnoError)) throw error;
          expect(error.code).toBe('rules_failed');
          expect(error.message).toMatch(/^fuzzed\.sql(:\d+:\d+: | is not UTF-8)/);
        }
      }),
      { numRuns, seed },
    );
    tellFuzz('SQL files', numRuns, seed);
  },
  FUZZ_MS,
);
