/** Special cases of types: each was, or could be, shown differently than by row_to_json. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ChannelView } from '../../src/channels/channel.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { RowError } from '../../src/channels/values/row-error.ts';
import { SnoError } from '../../src/errors.ts';
import { createClient } from '../../src/postgres/connect.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { boundOf, catalogOf, compileIn, Reading, viewOf } from './compiled.ts';
import { type Cell, tupleOf } from './rows.ts';

/** Every character that a text can hold, once, and some beyond the basic plane. */
const CHARACTERS = [
  ...Array.from({ length: 0xffff }, (_, index) => index + 1).filter((code) => code < 0xd800 || code > 0xdfff),
  ...[0x10000, 0x1f600, 0x2f800, 0xe0001, 0x10ffff],
]
  .map((code) => String.fromCodePoint(code))
  .join('');

describe.each(VERSIONS)('odd types, Postgres %i', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await database.query(`set search_path = pg_catalog, public;
      create extension hstore schema public;
      create type public.pair as (a text, b text);
      create type public.deep as (pairs public.pair[], one public.pair);
      create type public.colour as enum ('red');
      create domain public.texts as text[];
      create domain public.pairs as public.pair[]`);
  });
  afterAll(() => database.drop());

  let tables = 0;
  /** Creates a table with one column of the type, and a channel view of the same name on it. */
  async function tableOf(type: string, values: readonly (string | null)[], more = ''): Promise<string> {
    const name = `odd_${++tables}`;
    await database.query(`create table public.${name} (id serial primary key, c ${type});
      alter table public.${name} replica identity full;
      create view channels."${name}" as select id, c${more} from public.${name}`);
    await database.query(`insert into public.${name} (c) select t::${type} from unnest($1::text[]) t`, [values]);
    return name;
  }

  /** The data written in process, and the data from Postgres. */
  async function both(name: string): Promise<{ readonly found: string[]; readonly expected: string[] }> {
    const client = createClient(database.url, 'oracle');
    await client.connect();
    try {
      const { rows } = await client.query({ text: `select * from public.${name} order by id`, rowMode: 'array' });
      const { rows: expected } = await client.query<{ data: string }>(
        `select row_to_json(v.*)::text as data from channels."${name}" v order by id`,
      );
      const reading = new Reading(boundOf(await catalogOf(database), name));
      return {
        found: rows.map((cells) => reading.data(tupleOf(cells as Cell[])).data),
        expected: expected.map(({ data }) => data),
      };
    } finally {
      await client.end();
    }
  }

  async function compiled(name: string): Promise<ChannelView | SnoError> {
    return compileIn(await catalogOf(database), name);
  }

  const quoted = (text: string) => `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
  const inRecord = (text: string) => `"${text.replaceAll(/["\\]/g, '$&$&')}"`;

  test.each([
    ['text', [CHARACTERS]],
    ['text[]', [`{${quoted(CHARACTERS)},NULL,"NULL",null,""}`]],
    ['public.pair', [`(${inRecord(CHARACTERS)},)`, '(,)', '("",)', '(",",")")', '("(","\\\\")', '(" a ",NULL)']],
    ['public.deep', [`(${inRecord(`{${quoted(`(${inRecord('"\\,)')},)`)},NULL}`)},)`, '(,"(,)")', '({},)']],
    ['public.pair[]', ['{"(a,b)",NULL,"(,)"}', '[0:1]={"(1,2)","(3,4)"}', '{{"(1,)"},{"(,2)"}}']],
    ['public.texts[]', ['{"{a,NULL}","{}",NULL}', '{"{{a},{b}}"}', '{"[5:5]={x}"}']],
    ['public.pairs[]', ['{"{\\"(a,b)\\"}"}']],
    ['int4[]', ['[0:1]={1,2}', '[-2:-1][3:3]={{1},{NULL}}', '{}', '{{{{{{1}}}}}}']],
    ['box[]', ['{(1,2),(3,4);(5,6),(7,8);NULL}', '{}']],
    ['int2vector', ['', '1', '1 -2 3']],
    ['int2vector[]', ['{"1 2",3,"",NULL}']],
    ['oidvector[]', ['{{"1 2"},{"4294967295"}}']],
    ['"char"', ['', 'é', '"', '\\', '\u0001']],
    ['json', ['{ "a" : 1,\n\t"a":2 }', '1e400', '"\\u0000"', '-0']],
    ['jsonb', ['123456789012345678901234567890.1230', '1e400', '{"a":1,"a":2}']],
    ['jsonb[]', ['{"{\\"a\\": \\"\\\\\\\\\\"}"}']],
    ['xml', ['<?xml version="1.0" encoding="utf-8"?>\n<a/>', '<?xml version="1.0" standalone="no"?><a/>', 'a &amp; b']],
    ['regclass', ['pg_catalog.pg_class', 'public.odd_1']],
    ['timestamptz[]', ['{infinity,-infinity,"0044-03-15 10:00:00 BC","294276-12-31 23:59:59.999999+00",NULL}']],
    ['date', ['infinity', '4714-11-24 BC', '5874897-12-31']],
    ['numeric[]', ['{NaN,Infinity,-Infinity,1e-100,-0.0}']],
    ['float4[]', ['{NaN,-Infinity,-0,1e-45,3.4028235e38}']],
  ])('%s', async (type, values) => {
    const { found, expected } = await both(await tableOf(type, [...values, null]));
    expect(found).toEqual(expected);
    expect(found).toHaveLength(values.length + 1);
  });

  test('shows a composite without fields, and one that lost a field', async () => {
    await database.query(`create type public.none as (); create type public.lost as (a int, b text, c int[]);
      alter type public.lost drop attribute a`);
    const none = await both(await tableOf('public.none', ['()', null]));
    expect(none.found).toEqual(none.expected);
    const lost = await both(await tableOf('public.lost', ['(x,"{1}")', '(,)']));
    expect(lost.found).toEqual(lost.expected);
  });

  test('a value with more or fewer fields than its type fails only its row', async () => {
    const name = await tableOf('public.pair', []);
    const reading = new Reading(boundOf(await catalogOf(database), name));
    for (const text of ['(a)', '(a,b,c)', '(a,b,)']) expect(() => reading.data(tupleOf(['1', text]))).toThrow(RowError);
    expect(reading.data(tupleOf(['1', '(a,"b""")'])).data).toBe('{"id":1,"c":{"a":"a","b":"b\\""}}');
  });

  describe('with a cast to json', () => {
    beforeAll(() =>
      database.query(`
        create function public.shown(public.colour) returns json immutable language sql as 'select to_json(1)';
        create cast (public.colour as json) with function public.shown(public.colour);
        create type public.size as range (subtype = int4);
        create function public.measured(public.size) returns json stable language sql as 'select to_json(2)';
        create cast (public.size as json) with function public.measured(public.size);
        create type public.kinds as (stores public.hstore[])`),
    );

    test.each(['public.hstore', 'public.hstore[]', 'public.colour', 'public.kinds'])(
      '%s is shown by Postgres',
      async (type) => {
        expect(((await compiled(await tableOf(type, []))) as ChannelView).path).toMatch(
          /^by Postgres: .* cast to json/,
        );
      },
    );

    test('refuses a view if the cast is not immutable', async () => {
      const view = await compiled(await tableOf('public.size[]', []));
      expect((view as SnoError).message).toContain('size is shown by a cast to json whose function is not immutable');
    });

    test('refuses it as a key', async () => {
      await database.query(`create table public.keyed (h public.hstore primary key);
        create view channels.keyed as select h from public.keyed`);
      const view = compileIn(await catalogOf(database), 'keyed');
      expect((view as SnoError).message).toContain('the key column h is shown by a cast to json of hstore');
    });
  });

  test('a cast to text that differs from the output function leaves placeholders to Postgres', async () => {
    await database.query(`create type public.shade as enum ('dark');
      create function public.named(public.shade) returns text immutable language sql as $$ select 'x' $$;
      create cast (public.shade as text) with function public.named(public.shade);
      create table public.shades (id int primary key, shade public.shade);
      alter table public.shades replica identity full;
      create view channels."shades" as select id, shade from public.shades;
      create view channels."shade:{shade}" as select id, shade from public.shades`);
    const catalog = await catalogOf(database);
    expect(viewOf(catalog, 'shades').path).toBe('in process');
    expect(viewOf(catalog, 'shade:{shade}').path).toContain('by Postgres');
  });

  test('shows a type that prints as a name with a warning, and does not evaluate it', async () => {
    const view = (await compiled(await tableOf('regclass[]', []))) as ChannelView;
    expect(view.warnings).toContainEqual(expect.stringContaining('prints as the name of an object'));
    const other = await compiled(await tableOf('regclass', [], ', c::text as t'));
    expect((other as SnoError).message).toContain('would look the name up again');
  });

  test('shows xml, but does not evaluate it: its declaration is not in the WAL', async () => {
    const view = await compiled(await tableOf('xml', [], ', c::text as t'));
    expect(view).toBeInstanceOf(SnoError);
    expect((view as SnoError).message).toMatch(/xml is stored with its declaration.*\^/s);
  });
});
