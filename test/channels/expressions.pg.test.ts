/**
 * Expressions against Postgres: random ones of everything that is computed in process, over random rows. For each row
 * the same JSON as row_to_json gives, or an error where Postgres gives one; and as WHERE the same rows.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Catalog } from '../../src/channels/catalog.ts';
import type { BoundView } from '../../src/channels/channel.ts';
import { loadParser } from '../../src/channels/parse.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import { RowError } from '../../src/channels/row-error.ts';
import type { Tuple } from '../../src/decode/tuple.ts';
import { SnoError } from '../../src/errors.ts';
import { Random } from '../oracle/random.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { catalogOf, compileIn, Reading } from './compiled.ts';
import { ROW_COLUMNS, sampleRows } from './expression-rows.ts';
import { relationOf, tupleOf } from './rows.ts';
import { Expressions, FORMS } from './typed-expressions.ts';
import { textsOf } from './values.ts';

/** Expressions beyond those that use each form once. */
const RUNS = Number(process.env['SNO_TEST_EXPRESSIONS'] ?? 300);
const SEED = Number(process.env['SNO_TEST_SEED'] ?? 20_260);
const ROWS = 30;
/** Views at a time. */
const BATCH = 100;
const ERROR = 'error';

/** What stands for a row that is not in a view. */
const OUT = 'out';

describe.each(VERSIONS)('expressions, Postgres %i', (version) => {
  let database: TestDatabase;
  let rows: readonly Tuple[];

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    const names = ROW_COLUMNS.map(({ name }) => name);
    await database.query(
      `set search_path = pg_catalog, public; set TimeZone = 'UTC';
       create table public.cells (id int primary key, ${ROW_COLUMNS.map(({ name, sql }) => `${name} ${sql}`).join(', ')});
       alter table public.cells replica identity full;
       create function public.attempt(query text) returns text language plpgsql as $$
       declare answer text; begin execute query into answer; return coalesce(answer, '${OUT}'); exception when others then return '${ERROR}'; end $$`,
    );
    const parameters = ROW_COLUMNS.map(({ sql }, index) => `$${index + 2}::text::${sql}`).join(', ');
    for (const [id, row] of sampleRows(ROWS, SEED).entries())
      await database.query(`insert into public.cells values ($1, ${parameters})`, [id, ...row]);
    rows = (await textsOf(database, 'public.cells', ['id', ...names])).map(tupleOf);
  });
  afterAll(() => database.drop());

  /** What Postgres gives for the view, by row of the table; one at a time where that is an error for some. */
  async function expected(name: string): Promise<string[]> {
    const json = (condition: string) => `select row_to_json(v.*)::text from channels."${name}" v where ${condition}`;
    try {
      const { rows: answers } = await database.query<{ data: string | null }>(
        `select (${json('v.id = c.id')}) as data from public.cells c order by c.id`,
      );
      return answers.map(({ data }) => data ?? OUT);
    } catch {
      const { rows: answers } = await database.query<{ data: string }>(
        `select public.attempt(format($1, id)) as data from public.cells order by id`,
        [json('v.id = %s')],
      );
      return answers.map(({ data }) => data);
    }
  }

  /** Compiles the view, and says of each row how it is wrong. */
  async function check(catalog: Catalog, name: string, expression: string): Promise<string[]> {
    const view = compileIn(catalog, name);
    // Postgres says so before it sees a row
    if (!(view instanceof SnoError) && view.path.includes('an error for every row')) return [];
    if (view instanceof SnoError || view.remote !== undefined)
      return [`${expression}\n  ${view instanceof SnoError ? view.message : view.path}`];
    const bound = view.bind(relationOf(view.table), new RemoteAnswers());
    if (bound instanceof SnoError) throw bound;
    const wanted = await expected(name);
    const faults = rows.flatMap((row, index) => {
      const given = actual(bound, row);
      // where a part of a WHERE is not true, what else is in it need not be evaluated
      const isRight = given === wanted[index] || (given === OUT && wanted[index] === ERROR);
      return isRight ? [] : [`${expression}\n  row ${index}: ${given} instead of ${wanted[index]}`];
    });
    return faults.slice(0, 1);
  }

  async function checkAll(expressions: readonly string[]): Promise<string[]> {
    const names = expressions.map((_, index) => `expression:${index}`);
    await database.query(
      expressions.map((body, index) => `create view channels."${names[index]}" as ${body}`).join(';'),
    );
    const catalog = await catalogOf(database);
    const wrong: string[] = [];
    for (const [index, expression] of expressions.entries())
      wrong.push(...(await check(catalog, names[index] as string, expression)));
    await database.query(`drop view ${names.map((name) => `channels."${name}"`).join(', ')}`);
    return wrong;
  }

  test('give what Postgres gives', { timeout: 60_000 + 100 * RUNS }, async () => {
    const random = new Random(SEED);
    const draw = new Expressions(random);
    const shown = [
      ...FORMS.map((form) => draw.using(form, 1)),
      ...Array.from({ length: RUNS }, () => draw.any(1 + random.below(4))),
    ].map((expression) => `select id, ${expression} as v from public.cells`);
    const asked = Array.from(
      { length: RUNS / 5 },
      () => `select id from public.cells where ${draw.of('bool', 1 + random.below(4))}`,
    );
    const views = [...shown, ...asked];
    const wrong: string[] = [];
    for (let from = 0; from < views.length; from += BATCH)
      wrong.push(...(await checkAll(views.slice(from, from + BATCH))));
    expect(wrong).toEqual([]);
  });
});

function actual(bound: BoundView, row: Tuple): string {
  try {
    return bound.matches(row) ? new Reading(bound).data(row).data : OUT;
  } catch (error) {
    if (error instanceof RowError) return ERROR;
    throw error;
  }
}
