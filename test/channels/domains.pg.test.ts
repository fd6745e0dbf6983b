/** A stored value that breaks a constraint of its domain is sent as SELECT shows it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { LiveAnswers } from './live-answers.ts';

describe.each(VERSIONS)('Postgres %s', (version) => {
  let database: TestDatabase;
  let answers: LiveAnswers;

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    answers = new LiveAnswers(database);
    await database.query(`
      set search_path = public;
      create function fine(text) returns bool language sql immutable as 'select true';
      create function told(int) returns text language sql immutable as 'select ''told''';
      create domain late as varchar(9);
      create domain later as late check (fine(value));
      create domain several as int[] check (cardinality(value) < 9);
      create domain exact as numeric(5, 2);
      create domain feeling as text;
      create table t (id int primary key, a late, b later, c late[], d several, e exact, f feeling[]);
      alter table t replica identity full;
      insert into t values (1, 'short', 'x', '{short,long}', '{1,2}', 1.5, '{ok}'), (2, 'too long', 'y', '{too long}', '{3}', 2, '{"no, \\\\"}'), (3, null, null, null, null, null, null);
      alter domain late add constraint short check (length(value) < 6) not valid;
      alter domain several add check (1 = any (value)) not valid;
      alter domain exact add check (value < 2) not valid;
      alter domain feeling add check (value = 'ok') not valid;
      create or replace function fine(text) returns bool language sql immutable as 'select $1 <> ''y''';
      create view channels.shown as select *, told(id) from t;
      create view channels.computed as select id, upper(a) as a, a || b as b, c[1] as c, d[1] + 1 as d, e * 2 as e, told(id), length(c[1]) as l from t
        where coalesce(b, 'z') > 'w' and d is distinct from '{7}';
      create view channels.json as select id, to_json(a) as a, jsonb_build_object('b', b, 'c', c) as b, format('%s', e) as e, array_length(c, 1) as n from t`);
  });
  afterAll(async () => {
    await answers.close();
    await database.drop();
  });

  test('sends scalars, arrays, domains over arrays and domains over domains', async () => {
    const [live, selected] = [await answers.live(), await answers.selected()];
    expect(live).toEqual(selected);
    expect(live['shown']?.[1]).toContain('"a":"too long","b":"y","c":["too long"]');
  });

  test('does not send a row if a function can tell a domain from its base type', async () => {
    await database.query(`
      create function kind(late) returns text language sql immutable as $$select 'domain ' || $1$$;
      create function kind(varchar) returns text language sql immutable as $$select 'varchar ' || $1$$;
      create view channels.kinds as select id, kind(a) as a from t`);
    const { kinds } = await answers.live();
    expect(kinds).toEqual([expect.stringContaining('violates check constraint "short"')]);
    await database.query("update t set a = 'short' where id = 2");
    expect((await answers.live())['kinds']).toEqual((await answers.selected())['kinds']);
  });
});
