/**
 * Expressions that were once wrong, or are easily wrong: each case has a name, and is compared with
 * Postgres.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import type { Tuple } from '../../src/decode/tuple.ts';
import { SnoError } from '../../src/errors.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { ATTEMPT, ownAnswer, postgresAnswers } from './answers.ts';
import { COLUMNS, ROWS, TABLE } from './cells.ts';
import { boundOf, catalogOf, viewOf } from './compiled.ts';
import { CASES, CONDITIONS } from './expression-cases.ts';
import { type Cell, relationOf, tupleOf, UNSENT } from './rows.ts';
import { textsOf } from './values.ts';

describe.each(VERSIONS)('expressions, Postgres %i', (version) => {
  const named = [
    ...Object.entries(CASES).map(([name, expressions]) => ({
      name,
      bodies: expressions.map((expression) => `select id, ${expression} as v from ${TABLE}`),
    })),
    ...Object.entries(CONDITIONS).map(([name, conditions]) => ({
      name,
      bodies: conditions.map((condition) => `select id from ${TABLE} where ${condition}`),
    })),
  ];
  let database: TestDatabase;
  let catalog: Catalog;
  let rows: readonly Tuple[];

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    const names = Object.keys(COLUMNS);
    await database.query(
      `set search_path = pg_catalog, public; set TimeZone = 'UTC'; ${ATTEMPT};
       create table ${TABLE} (id int primary key, ${Object.entries(COLUMNS)
         .map((column) => column.join(' '))
         .join(', ')});
       alter table ${TABLE} replica identity full`,
    );
    const parameters = Object.values(COLUMNS).map((type, index) => `$${index + 2}::text::${type}`);
    for (const [id, row] of ROWS.entries())
      await database.query(`insert into ${TABLE} values ($1, ${parameters.join(', ')})`, [id, ...row]);
    rows = (await textsOf(database, TABLE, ['id', ...names])).map(tupleOf);
    const views = named.flatMap(({ name, bodies }) =>
      bodies.map((body, index) => `create view channels."${viewName(name, index)}" as ${body}`),
    );
    await database.query(`${views.join(';')};
      create view channels."several" as select id, t || v as both from ${TABLE};
      create view channels."one" as select id, left(t, 1) || right(t, 1) as twice from ${TABLE}`);
    catalog = await catalogOf(database);
  });
  afterAll(() => database.drop());

  test.each(named)('$name', async ({ name, bodies }) => {
    const given: Record<string, readonly string[]> = {};
    const wanted: Record<string, readonly string[]> = {};
    for (const [index, body] of bodies.entries()) {
      const view = viewOf(catalog, viewName(name, index));
      expect(view.path, body).toBe('in process');
      const bound = view.bind(relationOf(view.tables[0]), new RemoteAnswers());
      if (bound instanceof SnoError) throw bound;
      given[body] = rows.map((row) => ownAnswer(bound, row));
      wanted[body] = await postgresAnswers(database, viewName(name, index), TABLE);
    }
    expect(given).toEqual(wanted);
  });

  test('leaves a database of another encoding to Postgres, which knows its characters', () => {
    expect(catalog.server).toEqual({ version: expect.closeTo(version * 10_000, -3), encoding: 'UTF8' });
    const view = viewOf({ ...catalog, server: { ...catalog.server, encoding: 'SQL_ASCII' } }, 'one');
    expect(view.remote).toBeDefined();
    expect(view.path).toContain('databases of encoding SQL_ASCII');
  });

  test('leaves an expression to Postgres if its result changed in a minor version', async () => {
    await database.query(`
      create view channels."least" as select id, right(t, '-2147483648') as v from ${TABLE};
      create view channels."any" as select id, right(t, i) as v from ${TABLE};
      create view channels."known" as select id, right(t, -2) as v from ${TABLE}`);
    const changed = await catalogOf(database);
    expect(['least', 'any', 'known'].map((name) => viewOf(changed, name).remote !== undefined)).toEqual([
      true,
      true,
      false,
    ]);
    await database.query('drop view channels."least", channels."any", channels."known"');
  });

  test.each([
    '(t::int is null) is null',
    '(t::int > 1 or i = 1) is not null',
    '(t::int is not null) is unknown',
    'coalesce(t::int > 1, true) is not unknown',
    'coalesce(t::int, 1)::text is not null',
    'greatest(1, t::int) is distinct from null',
    'null::int is not distinct from case when t::int > 1 then 1 else 2 end',
  ])('leaves %s to Postgres from 19 on, which does not evaluate what is never null', async (condition) => {
    await database.query(`create view channels."never" as select id from ${TABLE} where ${condition}`);
    const { server, ...rest } = await catalogOf(database);
    const isRemote = (of: number) =>
      viewOf({ ...rest, server: { ...server, version: of } }, 'never').remote !== undefined;
    expect([180_004, 190_000].map(isRemote)).toEqual([false, true]);
    await database.query('drop view channels."never"');
  });

  test("leaves a user's cast to Postgres, though it looks like a built-in one", async () => {
    await database.query(`
      create function public.length_of(text) returns int language sql immutable as 'select length($1)';
      create cast (text as int) with function public.length_of(text);
      create view channels."cast" as select id, t::int as v from ${TABLE}`);
    const view = viewOf(await catalogOf(database), 'cast');
    expect(view.path).toContain('the function length_of()');
    await database.query('drop view channels."cast"; drop cast (text as int)');
  });

  test('a value computed from several columns is unknown if one of them was not sent', () => {
    const told = (view: string, unsent: readonly string[]) => {
      const places = Object.keys(COLUMNS);
      const cells: Cell[] = ['1', ...places.map((name) => (unsent.includes(name) ? UNSENT : 'x'))];
      const unchanged = new ByteWriter();
      const isTold = boundOf(catalog, view).data(tupleOf(cells), new ByteWriter(), unchanged);
      return isTold && unchanged.buffer.toString('utf8', 0, unchanged.length);
    };
    expect(told('several', ['t'])).toBe(false);
    expect(told('several', ['t', 'v'])).toBe('"both"');
    expect(told('several', [])).toBe('');
    expect(told('one', ['t'])).toBe('"twice"');
  });
});

/** Patterns are shorter, and have no spaces. */
function viewName(name: string, index: number): string {
  return `${name.replaceAll(/[^a-z]/gi, '-').slice(0, 50)}:${index}`;
}
