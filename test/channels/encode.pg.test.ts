/** Compares `data` with Postgres's row_to_json, byte for byte, over random rows of every type. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { boundOf, catalogOf, Reading } from './compiled.ts';
import { tupleOf } from './rows.ts';
import { COLUMNS, createTypes, randomRow, textsOf } from './values.ts';

const ROWS = Number(process.env['SNO_TEST_ROWS'] ?? 400);
const SEED = Number(process.env['SNO_TEST_SEED'] ?? 20_260);

describe.each(VERSIONS)('data, Postgres %i', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database);
    await database.query('set search_path = pg_catalog, public');
    await createTypes(database);
  });
  afterAll(() => database.drop());

  test('equals row_to_json for every type', { timeout: 60_000 + 100 * ROWS }, async () => {
    const names = COLUMNS.map(({ name }) => name);
    const columns = COLUMNS.map(({ name, type }) => `${name} ${type}`).join(', ');
    await database.query(`create table public.every (id int primary key, ${columns})`);
    await database.query(`alter table public.every replica identity full`);
    const texts = names.filter((name) => name !== 'arrays').map((name) => `${name}::text as ${name}_text`);
    await database.query(
      `create view channels."every" as select id, ${names.join(', ')}, id as "a ""key"" \\", 7 as seven, null::text as nothing,
        'c''onst\\'::text as constant, true as yes, a_bool is not false as not_false, ${texts.join(', ')} from public.every`,
    );
    const rows = fc.sample(randomRow, { numRuns: ROWS, seed: SEED });
    for (const [index, row] of rows.entries()) {
      const parameters = COLUMNS.map(({ type }, column) => `$${column + 2}::text::${type}`);
      await database.query(`insert into public.every values ($1, ${parameters.join(', ')})`, [index, ...row]);
    }
    const sent = await textsOf(database, 'public.every', ['id', ...names]);
    const { rows: expected } = await database.query<{ data: string }>(
      'select row_to_json(v.*)::text as data from channels."every" v order by id',
    );
    const reading = new Reading(boundOf(await catalogOf(database), 'every'));
    expect(sent).toHaveLength(ROWS);
    sent.forEach((cells, index) => {
      expect(reading.data(tupleOf(cells))).toEqual({ data: expected[index]?.data, unchanged: '' });
    });
  });
});
