/**
 * Compares conditions with Postgres: random conditions of the supported grammar over random rows,
 * with all three truth values.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ChannelView } from '../../src/channels/channel.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { boundOf, catalogOf, Reading, viewOf } from './compiled.ts';
import { predicate } from './predicates.ts';
import { tupleOf } from './rows.ts';
import { createTypes, SCALARS, textsOf } from './values.ts';

const RUNS = Number(process.env['SNO_TEST_ROWS'] ?? 400);
const SEED = Number(process.env['SNO_TEST_SEED'] ?? 20_260);
/** Conditions in one view. Postgres allows 1,664 columns. */
const BATCH = 200;

const COLUMNS = ['a', 'b'].flatMap((side) =>
  SCALARS.map(({ name, type }) => ({ name: `${side}_${name.slice(2)}`, type })),
);
const values = SCALARS.map(({ value }) => fc.option(value, { freq: 8 }));
/** Half of the values of b equal the values of a, so that equality occurs. */
const randomRow = fc
  .tuple(fc.tuple(...values), fc.tuple(...values), fc.infiniteStream(fc.boolean()))
  .map(([a, b, same]) => [...a, ...b.map((value, index) => (same.next().value === true ? a[index] : value))]);

const isLeft = (view: ChannelView) => view.path.includes('without evaluating');

describe.each(VERSIONS)('conditions, Postgres %i', (version) => {
  let database: TestDatabase;
  let rows: (readonly (string | null)[])[];
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database);
    await database.query(`set search_path = pg_catalog, public; set TimeZone = 'UTC'`);
    await createTypes(database);
    await database.query(
      `create table public.pairs (id int primary key, ${COLUMNS.map(({ name, type }) => `${name} ${type}`).join(', ')})`,
    );
    await database.query('alter table public.pairs replica identity full');
    const parameters = COLUMNS.map(({ type }, column) => `$${column + 2}::text::${type}`).join(', ');
    for (const [index, row] of fc.sample(randomRow, { numRuns: 100, seed: SEED }).entries())
      await database.query(`insert into public.pairs values ($1, ${parameters})`, [index, ...row]);
    rows = (await textsOf(database, 'public.pairs', ['id', ...COLUMNS.map(({ name }) => name)])) as (string | null)[][];
  });
  afterAll(() => database.drop());

  /**
   * The conditions that Snö evaluates. From 19 on, Postgres decides some tests for null without
   * evaluating their operand, and these are left to it.
   */
  async function inProcess(conditions: readonly string[]): Promise<readonly string[]> {
    if (version < 19) return conditions;
    const names = conditions.map((_, index) => `alone:${index}`);
    const views = names.map((name) => `channels."${name}"`);
    await database.query(
      conditions
        .map((condition, index) => `create view ${views[index]} as select id, (${condition}) as c from public.pairs`)
        .join(';'),
    );
    const catalog = await catalogOf(database);
    await database.query(`drop view ${views.join(', ')}`);
    return conditions.filter((_, index) => !isLeft(viewOf(catalog, names[index] as string)));
  }

  test('have the same truth values as in Postgres', { timeout: 60_000 + 100 * RUNS }, async () => {
    const conditions = fc.sample(predicate, { numRuns: RUNS, seed: SEED });
    for (let from = 0; from < conditions.length; from += BATCH) {
      const batch = await inProcess(conditions.slice(from, from + BATCH));
      await database.query(
        `create view channels."batch:${from}" as select id, ${batch.map((condition, index) => `(${condition}) as c${index}`).join(', ')} from public.pairs`,
      );
      const { rows: expected } = await database.query<{ data: string }>(
        `select row_to_json(v.*)::text as data from channels."batch:${from}" v order by id`,
      );
      const reading = new Reading(boundOf(await catalogOf(database), `batch:${from}`));
      rows.forEach((row, index) => {
        const truth = JSON.parse(reading.data(tupleOf(row)).data) as Record<string, boolean | null>;
        const wanted = JSON.parse(expected[index]?.data as string) as Record<string, boolean | null>;
        const wrong = batch.filter((_, at) => truth[`c${at}`] !== wanted[`c${at}`]);
        expect(wrong, `of row ${JSON.stringify(row)}`).toEqual([]);
      });
      await database.query(`drop view channels."batch:${from}"`);
    }
  });

  test('decide which rows a view has', async () => {
    for (const [index, condition] of fc.sample(predicate, { numRuns: 10, seed: SEED + 1 }).entries()) {
      const name = `where:${index}`;
      await database.query(`create view channels."${name}" as select id from public.pairs where ${condition}`);
      const { rows: inside } = await database.query<{ id: number }>(`select id from channels."${name}" order by id`);
      const catalog = await catalogOf(database);
      if (version >= 19 && isLeft(viewOf(catalog, name))) continue;
      const bound = boundOf(catalog, name);
      const matching = rows.filter((row) => bound.matches(tupleOf(row))).map((row) => Number(row[0]));
      expect(matching, condition).toEqual(inside.map(({ id }) => id));
    }
  });
});
