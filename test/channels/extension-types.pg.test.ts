/** Types of extensions, on servers that have them: live values are shown as SELECT shows them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { install } from '../support/install.ts';
import { freshDatabase, SERVERS, type TestDatabase } from '../support/postgres.ts';
import { LiveAnswers } from './live-answers.ts';

/** By extension: its types, each with two values as text. */
const TYPES: Readonly<Record<string, Readonly<Record<string, readonly [string, string]>>>> = {
  postgis: {
    geometry: ['POINT(1 2)', 'SRID=4326;LINESTRING(0 0,1 1.5)'],
    'geometry(Point,4326)': ['SRID=4326;POINT(1 2)', 'SRID=4326;POINT EMPTY'],
    geography: ['POINT(1 2)', 'POLYGON((0 0,1 0,1 1,0 0))'],
    box2d: ['BOX(0 0,1 1)', 'BOX(-1 -1,2 2)'],
    box3d: ['BOX3D(0 0 0,1 1 1)', 'BOX3D(1 2 3,4 5 6)'],
  },
  citext: { citext: ['Ab', 'aB"\\{},:;'] },
  hstore: { hstore: ['a=>1, "b c"=>NULL', ''] },
  ltree: { ltree: ['Top.Science', ''], lquery: ['*.Science.*', 'a|b'], ltxtquery: ['a & b', '!a'] },
  cube: { cube: ['(1,2),(3,4)', '(0)'] },
  seg: { seg: ['1 .. 2', '~0.5'] },
  isn: { isbn: ['978-0-393-04002-9', '0-306-40615-2'], ean13: ['4006381333931', '978-0-393-04002-9'] },
  intarray: { query_int: ['1&2', '!3'] },
  lo: { lo: ['1', '2'] },
  ip4r: {
    ip4: ['1.2.3.4', '0.0.0.0'],
    ip4r: ['1.2.3.0/24', '1.2.3.4-1.2.3.9'],
    ip6: ['::1', 'fe80::1'],
    ip6r: ['::/0', 'fe80::/10'],
    ipaddress: ['1.2.3.4', '::1'],
    iprange: ['1.2.3.0/24', '::/0'],
  },
  semver: { semver: ['1.2.3', '1.2.3-a.1+b'] },
  pg_trgm: { gtrgm: ['', ''] },
};

describe.each(SERVERS)('Postgres %s', (version) => {
  let database: TestDatabase;
  let answers: LiveAnswers;
  const kinds: [name: string, type: string, texts: readonly [string, string]][] = [];

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    answers = new LiveAnswers(database);
    await database.query('create schema ext');
    const { rows } = await database.query<{ name: string }>('select name from pg_available_extensions');
    const available = new Set(rows.map(({ name }) => name));
    for (const [extension, types] of Object.entries(TYPES)) {
      if (!available.has(extension)) continue;
      await database.query(`create extension ${extension} schema ext`);
      if (extension === 'pg_trgm') continue;
      for (const [type, texts] of Object.entries(types)) kinds.push([`k${kinds.length}`, `ext.${type}`, texts]);
    }
    // built-in types with another delimiter, or with casts of text
    kinds.push([`k${kinds.length}`, 'box', ['(1,1),(0,0)', '(2,3),(-1,0)']]);
    kinds.push([`k${kinds.length}`, 'name', ['a"b', 'c\\d,{}']]);
    kinds.push([`k${kinds.length}`, '"char"', ['a', '\\']]);
    await database.query(`
      create function public.told(anyelement) returns text language sql immutable as 'select $$told$$::text';
      set search_path = public, ext`);
  }, 120_000);
  afterAll(async () => {
    await answers.close();
    await database.drop();
  });

  test('shows and evaluates the value, and arrays, composites and domains of it', { timeout: 240_000 }, async () => {
    expect(kinds.length).toBeGreaterThan(3);
    for (const [name, type, texts] of kinds) {
      await database.query(
        `create domain public.d_${name} as ${type}; create type public.c_${name} as (n int, v ${type}, l ${type}[])`,
      );
      await database.query(`
        create table public.t_${name} (id int primary key, v ${type}, l ${type}[], d public.d_${name}, dl public.d_${name}[], c public.c_${name}, cl public.c_${name}[]);
        alter table public.t_${name} replica identity full;
        create view channels."${name}-told" as select *, public.told(id) as told, to_json(t) as row from public.t_${name} t;
        create view channels."${name}-where:{v}" as select id, v, v::text as text, l[2] as second, (c).v as field from public.t_${name} where v is not null and public.told(v) = 'told';
        create view channels."${name}-shown" as select id, v, l, d, dl, c, cl from public.t_${name}`);
      await database
        .query(
          `insert into public.t_${name}
         select n, v, array[v, null, w], v, array[v, w]::public.d_${name}[], row(n, v, array[w, v])::public.c_${name}, array[row(1, w, null)::public.c_${name}]
         from (values (1, $1::text, $2::text), (2, $2, $1)) t (n, a, b),
           lateral (select (('{' || to_json(replace(a, '\\', '\\\\'))::text || '}')::${type}[])[1] as v, (('{' || to_json(replace(b, '\\', '\\\\'))::text || '}')::${type}[])[1] as w) x`,
          [...texts],
        )
        .catch((error: Error) => {
          throw new Error(`${type}: ${error.message}`);
        });
      await database.query(`insert into public.t_${name} (id) values (3)`);
    }
    const [live, selected] = [await answers.live(), await answers.selected()];
    for (const [pattern, found] of Object.entries(live)) {
      const kind = kinds.find(([name]) => pattern.startsWith(`${name}-`))?.[1];
      expect({ [`${kind} ${pattern}`]: found }).toEqual({ [`${kind} ${pattern}`]: selected[pattern] });
    }
  });
});
