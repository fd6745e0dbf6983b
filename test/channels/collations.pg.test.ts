/**
 * Text compares, sorts and changes its case by the collation of its column, in process and in
 * Postgres.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { LiveAnswers } from './live-answers.ts';

const TEXTS = [
  '',
  'a',
  'A',
  'aBC',
  'ABC',
  'abc',
  'B',
  'b',
  'ä',
  'Ä',
  'z',
  'Z',
  'i',
  'I',
  'ı',
  'İ',
  'a10',
  'a9',
  'ss',
  'ß',
  'aB%',
  'ba',
];

const SETUP = `
  create schema "Odd Names";
  create collation "Odd Names"."ci" (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  create collation "Odd Names".numeric (provider = icu, locale = 'en-u-kn-true');
  create collation public.turkish (provider = icu, locale = 'tr-TR');
  create domain public.plain as text;
  create domain public.sorted as varchar(20) collate "Odd Names".numeric check (length(value) < 20);
  create type public.pair as (t text collate "Odd Names"."ci", n int);
  create type public.span as range (subtype = text, collation = "Odd Names".numeric);
  create function public.echo(text) returns text language sql immutable as 'select $1';
  create function public.echo(anyarray) returns anyarray language sql immutable as 'select $1';
  create function public.try(variadic sql text[]) returns bool language plpgsql as
    'begin for i in 1..cardinality(sql) loop execute sql[i]; end loop; return true; exception when others then return false; end';
  create function public.less(text, text) returns bool language plpgsql immutable as 'begin return $1 < $2; end'`;

/** Each entry is a column of the table, named by its key. */
const COLUMNS: Readonly<Record<string, string>> = {
  plain: 'text',
  c: 'text collate "C"',
  posix: 'varchar(9) collate "POSIX"',
  ci: 'text collate "Odd Names"."ci"',
  fixed: 'char(5) collate "Odd Names"."ci"',
  tr: 'text collate public.turkish',
  kn: 'varchar(9) collate "Odd Names".numeric',
  de: 'text collate "de-x-icu"',
  ducs: 'public.plain collate ucs_basic',
  sorted: 'public.sorted',
  over: 'public.sorted collate "Odd Names"."ci"',
};

/** Conditions; `x` stands for the column. */
const CONDITIONS = [
  "x = 'ABC'",
  "x <> 'abc'",
  "x < 'B'",
  "x >= 'a9' and x <= 'b'",
  "x between 'A' and 'b'",
  "x in ('abc', 'z')",
  "x not in ('abc', 'I')",
  "x = any (array['ABC', 'i'])",
  "x is distinct from 'ABC'",
  'x = c',
  'x = plain',
  'x < c',
  'greatest(x, c) = x',
  "least(x, 'b') = 'b'",
  "nullif(x, 'ABC') is null",
  "case x when 'abc' then true else false end",
  "coalesce(x, 'q') > 'a1'",
  "upper(x) = 'I'",
  "lower(x) = 'i'",
  "upper(x) = upper('ß')",
  "initcap(x) = 'I'",
  "x || '' = 'abc'",
  'x collate "C" < \'a\'',
  '(x collate "de-x-icu") < \'b\'',
  "x::varchar(2) < 'b'",
  "(x || 'x') < 'b'",
  "substr(x, 1, 1) < 'b'",
  "public.echo(x) = 'ABC'",
  "public.less(x, 'b')",
  "starts_with(x, 'a') or length(x) = 2",
  "(array[x])[1] = 'ABC'",
  "array[x, 'ABC'] @> array['abc']",
  "(x, id) < ('b', 3)",
  "row(x, 1) = row('ABC', 1)",
  "nullif(c, x) < 'B'",
  'nullif(c, x collate "de-x-icu") < \'B\'',
  "to_jsonb(t) is not null and x < 'b'",
];
/** Not for nondeterministic collations, in versions that refuse them. */
const PATTERNS = [
  "x like 'aB%'",
  "x ilike 'i%'",
  "x ~ '^a'",
  "x ~* 'ABC'",
  "strpos(x, 'b') > 0",
  "replace(x, 'A', 'q') = 'qBC'",
  "split_part(x, 'B', 2) = 'C'",
];

const NESTED = [
  "list = array['ABC']",
  "list @> array['abc']",
  "list[1] < 'B'",
  "'ABC' = any (list)",
  "public.echo(list) = array['ABC']",
  "doms[1] < 'a10'",
  "doms = array['a9']::public.sorted[]",
  "(pair).t = 'ABC'",
  "pair = row('ABC', 1)::public.pair",
  "to_jsonb(pair) is not null and (pair).t < 'B'",
  "span @> 'a10'::text",
  "span && public.span('a', 'a9')",
  "made < 'b' and id > 0",
  "made = 'ABC'",
];

describe.each(VERSIONS)('Postgres %s', (version) => {
  let database: TestDatabase;
  let answers: LiveAnswers;

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    answers = new LiveAnswers(database);
    await database.query(`set search_path = pg_catalog, public; ${SETUP}`);
    await database.query(`
      create table public.texts (id int primary key, ${Object.entries(COLUMNS)
        .map((each) => each.join(' '))
        .join(', ')},
        list text[] collate "Odd Names"."ci", doms public.sorted[], pair public.pair, span public.span,
        made text collate "Odd Names"."ci" generated always as (lower(tr) || '') stored);
      alter table public.texts replica identity full`);
    const names = Object.keys(COLUMNS);
    await database.query(
      `insert into public.texts (id, ${names.join(', ')}, list, doms, pair, span)
       select n, ${names.map(() => 't').join(', ')}, array[t], array[t], row(t, 1)::public.pair,
         case when t >= 'a9' collate "Odd Names".numeric then public.span('a9', t, '[]') end
       from unnest($1::text[]) with ordinality u (t, n)`,
      [TEXTS],
    );
  });
  afterAll(async () => {
    await answers.close();
    await database.drop();
  });

  afterEach(async () => {
    await database.query('drop schema channels cascade; create schema channels');
  });

  /**
   * Creates one view for each body that Postgres accepts. Collations may conflict, and some
   * versions have no patterns over nondeterministic ones.
   */
  async function expectSelected(bodies: readonly string[]): Promise<void> {
    const views = bodies.map((body, index) => `create view channels."${index}" as ${body}`);
    await database.query('select public.try(view) from unnest($1::text[]) view', [views]);
    const [live, selected] = [await answers.live(), await answers.selected()];
    expect(Object.keys(live).length).toBeGreaterThan(bodies.length * 0.8);
    for (const [name, found] of Object.entries(live)) {
      const body = bodies[Number(name)] ?? '';
      expect({ [body]: found }).toEqual({ [body]: selected[name] });
    }
  }

  const conditionsOf = (column: string) =>
    [...CONDITIONS, ...PATTERNS].map((condition) => condition.replaceAll(/\bx\b/g, column));

  test('in a view for each condition, in process if that is certain', { timeout: 60_000 }, async () => {
    const certain = ['posix'].flatMap(conditionsOf);
    await expectSelected(certain.map((condition) => `select id from public.texts t where ${condition}`));
  });

  test('in one view with all conditions, which Postgres evaluates', { timeout: 60_000 }, async () => {
    const columns = Object.keys(COLUMNS).map((column) => [column, conditionsOf(column)] as const);
    const all = [...columns, ['nested', NESTED] as const];
    const bodies: string[] = [];
    for (const [, conditions] of all) {
      const { rows } = await database.query<{ works: boolean }>(
        `select public.try('create view public.works as select ' || c || ' as c from public.texts t', 'drop view public.works')
           and public.try('select count(' || c || ') from public.texts t') as works
         from unnest($1::text[]) c`,
        [conditions],
      );
      const working = conditions.filter((_, index) => rows[index]?.works === true);
      expect(working.length).toBeGreaterThan(conditions.length * 0.6);
      bodies.push(
        `select id, public.echo('x') as e, ${working.map((condition, index) => `${condition} as c${index}`).join(', ')} from public.texts t`,
      );
    }
    await expectSelected(bodies);
  });
});
