/**
 * Functions with unqualified names run under the search_path that the view's owner has in this
 * database.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ChannelView } from '../../src/channels/channel.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { SnoError } from '../../src/errors.ts';
import { install } from '../support/install.ts';
import { majorOf } from '../support/own-server.ts';
import { freshDatabase, SERVERS, type TestDatabase } from '../support/postgres.ts';
import { catalogOf, compileIn, snapshotRows, viewOf } from './compiled.ts';
import { LiveAnswers } from './live-answers.ts';

/** Bodies with unqualified names of functions, operators, types, casts and tables. */
const FUNCTIONS = `
  create type mood as enum ('sad', 'ok');
  create table rates (n int primary key, rate int);
  insert into rates values (1, 10), (2, 20);
  create function helper(text) returns text language sql immutable as 'select upper($1)';
  create function same(text, text) returns bool language sql immutable as 'select $1 = $2 || ''!''';
  create operator === (leftarg = text, rightarg = text, function = same);
  create function in_sql(text) returns text language sql immutable as 'select helper($1)';
  create function in_plpgsql(text) returns text language plpgsql immutable as 'begin return helper($1); end';
  create function in_atomic(text) returns text language sql immutable begin atomic select in_plpgsql($1); end;
  create function nested(text) returns text language plpgsql immutable as 'begin return in_sql($1) || in_plpgsql($1); end';
  create function by_operator(text) returns bool language plpgsql immutable as 'begin return $1 === ''a''; end';
  create function by_type(text) returns text language plpgsql immutable as 'declare m mood := $1; begin return m; end';
  create function by_table(int) returns int language plpgsql immutable as 'begin return (select rate from rates where n = $1); end';
  create function by_row(int) returns text language plpgsql immutable as 'declare r rates%rowtype; begin r.n := $1; return r; end';
  create function of_defaults(a text, b text default helper('b')) returns text language sql immutable as 'select a || helper(b)';
  create function with_path(text) returns text language plpgsql immutable set search_path = other as 'begin return helper($1); end'`;
const COLUMNS =
  "in_sql(t) as a, in_plpgsql(t) as b, in_atomic(t) as c, nested(t) as d, by_operator(t) as e, by_type('ok') as f, by_table(id) as g, " +
  "by_row(id) as h, of_defaults(t) as i, in_sql('constant') as j, in_plpgsql('constant') as k, with_path(t) as l";

describe.each(SERVERS)('Postgres %s', (version) => {
  let database: TestDatabase;
  let answers: LiveAnswers;

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    answers = new LiveAnswers(database);
    await database.query(`
      create schema other;
      create function other.helper(text) returns text language sql immutable as $$select 'other ' || $1$$;
      create schema "Odd, ""App""";
      set search_path = "Odd, ""App""", public;
      ${FUNCTIONS};
      create table things (id int primary key, t text);
      alter table things replica identity full;
      insert into things values (1, 'a'), (2, 'ok');
      create view channels.things as select id, ${COLUMNS} from things where nested(t) <> 'x';
      create view channels."keyless:{a}" as select in_sql(t) as a, id + 0 as id from things where in_plpgsql(t) <> 'x';
      create view channel_access.things as select in_sql(t) as sub from things where nested(t) <> 'x'`);
    // from 17 on, expressions of an index are evaluated under their own path
    if (majorOf(version) < 17) await database.query('create index on things (in_sql(t))');
  });
  afterAll(async () => {
    await answers.close();
    await database.drop();
  });

  const setPath = (path: string) =>
    database.query(
      `do $$ begin execute format('alter database %I set search_path = ${path}', current_database()); end $$`,
    );

  test('live rows and snapshots equal SELECT under the path of the database', async () => {
    await setPath('"Odd, ""App""", public');
    const [live, selected] = [await answers.live(), await answers.selected()];
    expect(live).toEqual(selected);
    expect(live['things']?.[0]).toBe(
      '{"id":1,"a":"A","b":"A","c":"A","d":"AA","e":false,"f":"ok","g":10,"h":"(1,)","i":"aB","j":"CONSTANT","k":"CONSTANT","l":"other a"}',
    );
    for (const pattern of ['things', 'keyless:{a}']) {
      const client = await database.connect();
      await client.query('set search_path = pg_catalog');
      const view = viewOf(await catalogOf(database), pattern);
      const rows = await snapshotRows(client, view, pattern === 'things' ? [] : ['A']);
      expect(rows.map(({ sno_data }) => sno_data)).toEqual(pattern === 'things' ? live[pattern] : [live[pattern]?.[0]]);
      await client.query('set search_path = pg_catalog');
    }
  });

  test("the role's path precedes the database's, and $user is the owner of the view", async () => {
    await database.query(`create role "own""er" superuser; grant "own""er" to current_user`).catch(() => undefined);
    const path = async () => (await catalogOf(database)).channels[0]?.searchPath;
    await setPath('other');
    expect(await path()).toBe('other');
    await database.query(`alter view channels.things owner to "own""er"`);
    await database.query(`alter role "own""er" set search_path = "$user", other`);
    expect(await path()).toBe('"own""er", other');
    await database.query(
      `do $$ begin execute format('alter role "own""er" in database %I set search_path = public, "$user"', current_database()); end $$`,
    );
    expect(await path()).toBe('public,"own""er"');
    await database.query(
      'do $$ begin execute format(\'alter role "own""er" in database %I reset all\', current_database()); end $$',
    );
    await database.query(`alter role "own""er" reset all; reassign owned by "own""er" to current_user`);
    await database.query(
      "do $$ begin execute format('alter database %I reset search_path', current_database()); end $$",
    );
    expect(await path()).toBe('postgres, public');
    await database.query(`drop owned by "own""er"; drop role "own""er"`);
  });

  test('another path makes another definition', async () => {
    const fingerprint = async () => {
      const view = compileIn(await catalogOf(database), 'things') as ChannelView;
      expect(view).not.toBeInstanceOf(SnoError);
      return view.fingerprint;
    };
    await setPath('"Odd, ""App"""');
    const before = await fingerprint();
    await setPath('other, "Odd, ""App"""');
    expect(await fingerprint()).not.toBe(before);
    const [live, selected] = [await answers.live(), await answers.selected()];
    expect(live).toEqual(selected);
    expect(live['things']?.[0]).toContain('"a":"other a"');
  });

  test('names in the query itself are of pg_catalog, whatever the path has', async () => {
    await database.query(`
      create table public.words (id int primary key, t varchar, m "Odd, ""App""".mood);
      alter table public.words replica identity full;
      insert into public.words values (1, 'a', 'ok');
      create view channels.words as select id, m is distinct from 'sad' as differs, nullif(t, 'b') as t, "Odd, ""App""".in_sql(t) as u
        from public.words where t = 'a'::varchar;
      create schema trap;
      create function trap.row_to_json(record) returns json language plpgsql immutable as $$begin return '"trapped"'::json; end$$;
      create function trap.yes(varchar, varchar) returns bool language sql immutable as 'select false';
      create function trap.no("Odd, ""App""".mood, "Odd, ""App""".mood) returns bool language sql immutable as 'select true';
      create operator trap.= (leftarg = varchar, rightarg = varchar, function = trap.yes);
      create operator trap.= (leftarg = "Odd, ""App""".mood, rightarg = "Odd, ""App""".mood, function = trap.no)`);
    await setPath('trap, "Odd, ""App""", pg_catalog');
    const live = await answers.live();
    expect(live['words']).toEqual(['{"id":1,"differs":true,"t":"a","u":"A"}']);
    const client = await database.connect();
    await client.query('set search_path = pg_catalog');
    const rows = await snapshotRows(client, viewOf(await catalogOf(database), 'words'));
    expect(rows.map(({ sno_data }) => sno_data)).toEqual(live['words']);
    expect((await client.query('show search_path')).rows).toEqual([{ search_path: 'pg_catalog' }]);
  });
});
