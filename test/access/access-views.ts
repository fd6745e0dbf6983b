/** Access views of a test's database, and their channels. */
import { parsePattern } from '../../src/channels/catalog/pattern.ts';
import { compileAccess } from '../../src/channels/compiler/access/view.ts';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { Types } from '../../src/channels/values/types.ts';
import { SnoError } from '../../src/errors.ts';
import type { TestDatabase } from '../support/postgres.ts';

/** `role` is created, and owns a view whose policies never end. */
export const schemaSql = (role: string): string => `
  create type mood as enum ('sad', 'happy');
  create domain grade as int check (value between 1 and 6);
  create table grades (grade grade, place point);
  insert into grades values (1, '(1,2)');
  create view channel_access."grade:{grade}" as select grade from grades;
  create view channel_access."graded" as select grade from grades;
  create view channel_access."place:{place}" as select place from grades;
  create table members (project_id int, user_id text, level int, owner uuid, since timestamptz, feeling mood);
  insert into members values
    (42, 'u1', 3, '00000000-0000-0000-0000-000000000001', '2026-01-01 00:00:00+00', 'happy'),
    (43, 'u2', 3, null, null, null), (-1, 'u1', null, null, null, null);
  create table codes (code char(4), price numeric(10,2), flag boolean);
  insert into codes values ('ab', 1.5, true);
  create view channel_access."project:{project_id}" as select project_id, user_id as sub from members;
  create view channel_access."level:{project_id}" as select project_id, level from members;
  create view channel_access."own:{owner}" as select owner, user_id as sub from members;
  create view channel_access."owner:{project_id}" as select project_id, owner from members;
  create view channel_access."mood:{feeling}" as select feeling from members;
  create view channel_access."since:{since}" as select since from members;
  create view channel_access."public:{project_id}" as select project_id from members;
  create view channel_access."code:{code}/{price}/{flag}" as select code, price, flag from codes;
  create view channel_access."slow:{project_id}" as select project_id, pg_sleep(60) is null as never from members;
  create view channel_access."strange:{project_id}" as select project_id, user_id as "constructor" from members;
  create function raised(id int, wrong int, code text) returns bool immutable language plpgsql as
    $$ begin if id = wrong then raise exception 'not this one' using errcode = code; end if; return true; end $$;
  create function deep(id int) returns bool immutable language plpgsql as $$ begin return deep(id + 1); end $$;
  create function lost(id int) returns bool immutable language plpgsql as $$ begin return exists (select from nowhere); end $$;
  create table looping (project_id int); alter table looping enable row level security; insert into looping values (42);
  create role ${role}; grant usage on schema public to ${role}; grant select on looping to ${role};
  create policy loop on looping using (project_id in (select l.project_id from looping l));
  create view channel_access."looping:{project_id}" as select project_id from looping;
  alter view channel_access."looping:{project_id}" owner to ${role};
  create view channel_access."raised:{project_id}" as select project_id from members where raised(project_id, 43, 'P0001');
  create view channel_access."own-code:{project_id}" as select project_id from members where raised(project_id, 43, '45000');
  create view channel_access."internal:{project_id}" as select project_id from members where raised(project_id, 43, 'XX000');
  create view channel_access."busy:{project_id}" as select project_id from members where raised(project_id, 43, '55P03');
  create view channel_access."deadlock:{project_id}" as select project_id from members where raised(project_id, 43, '40P01');
  create view channel_access."deep:{project_id}" as select project_id from members where project_id <> 43 or deep(project_id);
  create view channel_access."lost:{project_id}" as select project_id from members where project_id <> 43 or lost(project_id);
  create view channel_access."many:{project_id}" as
    select project_id from members m where project_id <> 43 or project_id = (select m.project_id from members);`;

/** A channel by the view's name and its values, as the registry would resolve it. */
export async function channelOf(
  database: TestDatabase,
  text: string,
  values: readonly string[],
): Promise<ResolvedChannel> {
  const pattern = parsePattern(text);
  if (pattern instanceof SnoError) throw pattern;
  const { rows } = await database.query<{ name: string; type: string; type_oid: number }>(
    `select attname as name, format_type(atttypid, atttypmod) as type, atttypid::int as type_oid from pg_attribute
      where attrelid = to_regclass(format('channel_access.%I', $1::text)) and attnum > 0 order by attnum`,
    [text],
  );
  const columns = rows.map(({ name, type, type_oid }) => ({
    name,
    type,
    typeOid: type_oid,
    typeModifier: -1,
    bytewise: true,
    deterministic: true,
    collation: null,
  }));
  const basis = { unnoticed: [], policies: [], rights: [] };
  const declared = {
    schema: 'channel_access' as const,
    oid: 0,
    pattern: text,
    kind: 'v',
    definition: '',
    columns,
    searchPath: '"$user", public',
    functions: [],
    castsByText: [],
    surroundings: '',
    basis,
    reads: [],
    between: [],
    through: [],
    columnsRead: [],
  };
  const view = compileAccess(declared, new Types([]), []);
  if (view instanceof SnoError) throw view;
  const types = pattern.columns.map((name) => rows.find((row) => row.name === name)?.type ?? 'text');
  const name = `${text}=${values.join()}`;
  return { name, values, valueTypes: types, pattern, view: undefined, access: view };
}
