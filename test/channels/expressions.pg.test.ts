/**
 * Expressions against Postgres: random ones of everything that is computed in process, over random
 * rows. For each row the same JSON as row_to_json gives, or an error where Postgres gives one; and
 * as WHERE the same rows.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import type { Tuple } from '../../src/decode/tuple.ts';
import { SnoError } from '../../src/errors.ts';
import { Random } from '../oracle/random.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { ATTEMPT, ERROR, ownAnswer, postgresAnswers } from './answers.ts';
import { catalogOf, compileIn } from './compiled.ts';
import { ROW_COLUMNS, sampleRows } from './expression-rows.ts';
import { relationOf, tupleOf } from './rows.ts';
import { CALLS_AT_ENDS, Expressions, FORMS } from './typed-expressions.ts';
import { createTypes, textsOf } from './values.ts';

/** Number of expressions beyond the ones that use each form once. */
const RUNS = Number(process.env['SNO_TEST_EXPRESSIONS'] ?? 150);
const SEED = Number(process.env['SNO_TEST_SEED'] ?? 20_260);
const ROWS = 30;
/** Number of views at a time. */
const BATCH = 100;
const TABLE = 'public.cells';

describe.each(VERSIONS)('expressions, Postgres %i', (version) => {
  let database: TestDatabase;
  let rows: readonly Tuple[];

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await createTypes(database);
    const columns = ROW_COLUMNS.map(({ name, sql }) => `${name} ${sql}`).join(', ');
    await database.query(
      `set search_path = pg_catalog, public; set TimeZone = 'UTC'; ${ATTEMPT};
       create table ${TABLE} (id int primary key, ${columns}); alter table ${TABLE} replica identity full`,
    );
    const parameters = ROW_COLUMNS.map(({ sql }, index) => `$${index + 2}::text::${sql.replace(/ collate.*/, '')}`);
    for (const [id, row] of sampleRows(ROWS, SEED).entries())
      await database.query(`insert into ${TABLE} values ($1, ${parameters.join(', ')})`, [id, ...row]);
    rows = (await textsOf(database, TABLE, ['id', ...ROW_COLUMNS.map(({ name }) => name)])).map(tupleOf);
  });
  afterAll(() => database.drop());

  /** Compiles the view, and returns the first row for which its result is wrong. */
  async function fault(
    catalog: Catalog,
    name: string,
    body: string,
    mayBeRemote: boolean,
  ): Promise<string | undefined> {
    const view = compileIn(catalog, name);
    if (view instanceof SnoError) return `${body}\n  ${view.message}`;
    // Postgres reports the error before it reads a row
    if (view.path.includes('an error for every row')) return undefined;
    // From 19 on, Postgres decides some tests for null without evaluating their operand.
    const isLeft = mayBeRemote || (version >= 19 && view.path.includes('without evaluating'));
    if (view.remote !== undefined) return isLeft ? undefined : `${body}\n  ${view.path}`;
    const bound = view.bind(relationOf(view.tables[0]), new RemoteAnswers());
    if (bound instanceof SnoError) throw bound;
    const wanted = await postgresAnswers(database, name, TABLE);
    for (const [index, row] of rows.entries()) {
      const given = ownAnswer(bound, row);
      // Postgres may or may not report an error before the part of WHERE that decides the row
      const isDecided = body.includes(' where ') && wanted[index] === ERROR;
      if (given !== wanted[index] && !isDecided) return `${body}\n  row ${index}: ${given} instead of ${wanted[index]}`;
    }
    return undefined;
  }

  async function faults(bodies: readonly string[], mayBeRemote = false): Promise<string[]> {
    const names = bodies.map((_, index) => `expression:${index}`);
    await database.query(bodies.map((body, index) => `create view channels."${names[index]}" as ${body}`).join(';'));
    const catalog = await catalogOf(database);
    const found: string[] = [];
    for (const [index, body] of bodies.entries())
      found.push(
        ...[await fault(catalog, names[index] as string, body, mayBeRemote)].filter((wrong) => wrong !== undefined),
      );
    await database.query(`drop view ${names.map((name) => `channels."${name}"`).join(', ')}`);
    return found;
  }

  test('equal Postgres at the ends of their integer arguments, or are left to Postgres', async () => {
    expect(CALLS_AT_ENDS.length).toBeGreaterThan(80);
    expect(
      await faults(
        CALLS_AT_ENDS.map((call) => `select id, ${call} as v from ${TABLE}`),
        true,
      ),
    ).toEqual([]);
  });

  test('equal Postgres', { timeout: 60_000 + 100 * RUNS }, async () => {
    const random = new Random(SEED);
    const draw = new Expressions(random);
    const depth = () => 1 + random.below(4);
    const shown = [
      ...FORMS.map((form) => draw.using(form, 1)),
      ...Array.from({ length: RUNS }, () => draw.any(depth())),
    ];
    const asked = Array.from({ length: RUNS / 5 }, () => draw.of('bool', depth()));
    const bodies = [
      ...shown.map((expression) => `select id, ${expression} as v from ${TABLE}`),
      ...asked.map((condition) => `select id from ${TABLE} where ${condition}`),
    ];
    const wrong: string[] = [];
    for (let from = 0; from < bodies.length; from += BATCH)
      wrong.push(...(await faults(bodies.slice(from, from + BATCH))));
    expect(wrong).toEqual([]);
  });
});
