-- Snö in the database: schemas, functions and tables. Run it in one transaction; running it again changes nothing.
-- Needs CREATE on the database and ownership of what an earlier run created; no superuser.
--
--   psql --single-transaction -v ON_ERROR_STOP=1 -f sql/000001_install.sql
--
-- Every function pins its search_path, and those that print values or definitions pin the settings that shape them.

-- Functions with recursive queries set a small work_mem. The planner expects many more rows than there are, so the query begins
-- with a hash table as large as work_mem allows, and all its pages are new memory.

-- A replaced function lacks `jit = off` until the end of this file, and event triggers call it at each command.
select set_config('jit', 'off', true);

create schema if not exists sno;
create schema if not exists channels;
create schema if not exists channel_access;
create schema if not exists channel_presence;
create schema if not exists channel_send;

comment on schema sno is 'Snö: functions and tables that the realtime gateway needs in this database.';
comment on schema channels is 'Channel views: the name of a view is the pattern of its channels, such as project:{project_id}.';
comment on schema channel_access is 'Access views: which clients may subscribe to the channels of the same name.';
comment on schema channel_presence is 'Presence views: which subscribers may appear as members of the channels of the same name, and what is shown of them.';
comment on schema channel_send is 'Send views: which subscribers may send to the channels of the same name.';

grant usage on schema sno to public;

-- Empty until the end: the event triggers of an earlier version would call functions while these are replaced below.
create or replace function sno.on_ddl() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$ begin end $$;
create or replace function sno.on_drop() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$ begin end $$;

create or replace function sno.version() returns integer
language sql immutable set search_path = pg_catalog, pg_temp
as $$ select 11 $$;
comment on function sno.version() is 'Version of sql/000001_install.sql.';


-- State ----------------------------------------------------------------------------------------------------------

create table if not exists sno.settings (
  name text primary key,
  value text not null
);
comment on table sno.settings is '`rules of PUBLICATION`: the hash of the rules folder that was applied last; `catalog_key`: proves that sno.send_catalog() wrote a catalog in the WAL.';
-- Every role may write messages to the WAL; those with this key come from sno.send_catalog().
insert into sno.settings (name, value) values ('catalog_key', gen_random_uuid()::text || gen_random_uuid()::text) on conflict do nothing;

create table if not exists sno.publications (
  name name primary key,
  registered_at timestamptz
);
alter table sno.publications add column if not exists service_role name;
comment on table sno.publications is 'The publications that are kept up to date: one for each SNO_PUBLICATION that reads this database. `registered_at`: null for the default one, before a service has registered its own. `service_role`: the role of the service, which receives the rights to read.';
-- Before version 8, sno.settings named one publication.
insert into sno.publications (name, registered_at)
select value, now() from sno.settings where name = 'publication'
union all
select 'sno', null where not exists (select from sno.settings where name = 'publication') and not exists (select from sno.publications)
on conflict (name) do nothing;
delete from sno.settings where name = 'publication';
-- Once, sno.settings named one role for all publications.
update sno.publications p set service_role = s.value from sno.settings s where s.name = 'service_role' and p.service_role is null;
delete from sno.settings where name = 'service_role';

create table if not exists sno.slot (
  name text primary key,
  generation integer not null,
  system_identifier text not null,
  timeline integer not null,
  current_timeline integer not null,
  created_at timestamptz not null default now()
);
comment on table sno.slot is 'How many times each replication slot was created: a part of the epoch, since two slots never continue one history.';

create table if not exists sno.rules (
  schema text not null,
  name text not null,
  applied_at timestamptz not null default now(),
  primary key (schema, name)
);
comment on table sno.rules is 'The views that the rules folder (SNO_RULES) of each SNO_PUBLICATION declared when it was last applied: those that no folder declares any more are dropped.';
-- Once, there was one folder: it counts as that of the publication that was registered first.
do $$ begin
  if not exists (select from pg_attribute where attrelid = 'sno.rules'::regclass and attname = 'publication') then
    alter table sno.rules add column publication name;
    update sno.rules set publication = (select p.name from sno.publications p order by p.registered_at, p.name limit 1);
    delete from sno.rules where publication is null;
    alter table sno.rules drop constraint rules_pkey, add constraint rules_pkey primary key (publication, schema, name);
    delete from sno.settings where name = 'rules';
  end if;
end $$;

create table if not exists sno.partitions (
  relation oid primary key,
  root oid not null
);
comment on table sno.partitions is 'Partitions of the tables that views read, with their roots: after a DROP, the system catalogs no longer have the root.';

create table if not exists sno.children (
  parent oid,
  child oid,
  primary key (parent, child)
);
comment on table sno.children is 'Inheritance children of the tables that access views read: after NO INHERIT or a DROP, the system catalogs no longer have the parent.';

create table if not exists sno.unique_indexes (
  index oid primary key,
  relation oid not null
);
comment on table sno.unique_indexes is 'Unique indexes of the tables that views read: after a DROP, the system catalogs no longer have the table.';

create table if not exists sno.turn ();
comment on table sno.turn is 'A lock: a transaction holds it from writing the catalog to the WAL until its commit, so that the next catalog includes its changes.';

create table if not exists sno.publishing (
  publication oid not null,
  relation oid not null,
  published_as text not null,
  writers_before xid8,
  primary key (publication, relation)
);
comment on table sno.publishing is 'Tables in the publication, and the entry by which they are in it. `writers_before`: transactions before this id may have written rows that Postgres never sends; null once they have ended.';

create unlogged table if not exists sno.ddl (
  transaction xid8 primary key,
  touched text[] not null,
  publish boolean not null
);
alter table sno.ddl add column if not exists voided text[] not null default '{}';
alter table sno.ddl add column if not exists states text[] not null default '{}';
alter table sno.ddl add column if not exists told text[] not null default '{}';
alter table sno.ddl add column if not exists is_whole boolean not null default false;
comment on table sno.ddl is 'The DDL of running transactions. `touched`: views whose meaning it may change; `voided`: views whose rows vanished without a change of a row; `publish`: whether tables may have to be published; `states`: tables after each command (sno.state); `told`: further views that the message describes; `is_whole`: it describes all views. A row is deleted when its transaction commits.';

create table if not exists sno.watched (
  relation oid primary key,
  file oid not null,
  guard text
);
comment on table sno.watched is 'Partitions and materialized views at the last sno.inspect(): their file, which TRUNCATE and REFRESH replace, and the triggers that report it (null: not all of them were enabled).';


-- The relations that views read, and the rights by which they read them ------------------------------------------

create or replace function sno.service_roles(publication name default null) returns setof name
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select distinct r.rolname
  from sno.publications p join pg_roles r on r.rolname = p.service_role
  where $1 is null or p.name = $1
$$;
comment on function sno.service_roles(name) is 'The roles of the services: that of one publication, or those of all.';

create or replace function sno.is_secured(relation oid, role oid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select c.relrowsecurity and coalesce(
    not r.rolsuper and not r.rolbypassrls and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')), true)
  from pg_class c left join pg_roles r on r.oid = $2
  where c.oid = $1
$$;
comment on function sno.is_secured(oid, oid) is 'Whether row-level security of a table applies to a role; true for an unknown role.';

create or replace function sno.views() returns oid[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(c.oid order by c.oid), '{}')
  from pg_class c
  where c.relnamespace in (select oid from pg_namespace where nspname in ('channels', 'channel_access', 'channel_presence', 'channel_send')) and c.relkind in ('v', 'm', 'r', 'p', 'f')
$$;
comment on function sno.views() is 'All channel, access, presence and send views, and all other relations in their schemas.';

drop function if exists sno.chain(oid);
create or replace function sno.chain(views oid[] default null) returns table (view oid, reader oid, relation oid, role oid)
language sql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
  with recursive
  service (oid) as (
    select r.oid from (select) one left join (sno.service_roles() s (name) join pg_roles r on r.rolname = s.name) on true
  ),
  chain (view, reader, relation, role) as (
    select v.oid, 0::oid, v.oid, s.oid from unnest(coalesce($1, sno.views())) v (oid) cross join service s
    union
    select k.view, k.relation, x.relation, x.role
    from chain k
    cross join lateral (
      -- A view reads with the rights of its owner, or with those of the calling role (security_invoker).
      select d.refobjid, case
        when exists (select from pg_options_to_table(c.reloptions) o where o.option_name = 'security_invoker' and o.option_value::boolean) then s.oid
        else c.relowner end
      from service s
      join pg_class c on c.oid = k.relation and c.relkind = 'v'
      join pg_rewrite r on r.ev_class = c.oid and r.ev_type = '1'
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
      where d.refclassid = 'pg_class'::regclass and d.deptype = 'n' and d.refobjid <> c.oid
      union all
      -- A policy reads with the rights of the role that reads its table.
      select d.refobjid, k.role
      from pg_policy p
      join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
      join pg_class c on c.oid = p.polrelid and c.relrowsecurity
      where p.polrelid = k.relation and p.polcmd in ('r', '*') and case when c.relrowsecurity then sno.is_secured(c.oid, k.role) end
        and d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
    ) x (relation, role)
  )
  select view, reader, relation, role from chain
$$;
comment on function sno.chain(oid[]) is
  'Each relation that channel views and access views read, also through other views and policies, with the view or table that reads it (`reader`) and the role whose rights apply (null: the role of the service, which is unknown).';

drop function if exists sno.policy_reads();
create or replace function sno.policy_reads(views oid[] default null) returns table (view oid, relation oid)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp
as $$
begin
  -- Without these rights, reads no policies: sno.lacking() reports the missing rights.
  if exists (select from pg_policy) and has_function_privilege('sno.chain(oid[])', 'execute') and has_function_privilege('sno.service_roles(name)', 'execute') then
    return query
      select k.view, k.relation
      from sno.chain($1) k
      join pg_class c on c.oid = k.reader and c.relkind in ('r', 'p')
      join pg_class v on v.oid = k.view and v.relnamespace <> (select n.oid from pg_namespace n where n.nspname = 'channels');
  end if;
end
$$;
comment on function sno.policy_reads(oid[]) is 'The tables that policies read when access views are queried. `views`: only for these.';

drop function if exists sno.rights(oid);
create or replace function sno.rights(views oid[] default null) returns table (
  view oid, relation oid, role oid, is_readable boolean, is_secured boolean, is_by_role boolean, reader oid)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select k.view, c.oid, k.role,
    k.role is null or has_table_privilege(k.role, c.oid, 'select') or not exists (
      select from (
        select d.refobjid, d.refobjsubid
        from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
        where r.ev_class = k.reader and r.ev_type = '1' and d.refclassid = 'pg_class'::regclass
        union all
        select d.refobjid, d.refobjsubid
        from pg_policy p join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
        where p.polrelid = k.reader and d.refclassid = 'pg_class'::regclass
      ) d
      where d.refobjid = c.oid and not case when d.refobjsubid > 0 then has_column_privilege(k.role, c.oid, d.refobjsubid::smallint, 'select')
        else has_any_column_privilege(k.role, c.oid, 'select') end),
    case when c.relkind in ('r', 'p') and c.relrowsecurity then sno.is_secured(c.oid, k.role) else false end,
    -- Its own rights do not suffice: it may read only as a superuser, by BYPASSRLS, or as a member of another role.
    k.role is not null and k.role <> c.relowner and (
      c.relrowsecurity
      or has_table_privilege(k.role, c.oid, 'select') and not exists (
        select from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a where a.grantee in (0, k.role) and a.privilege_type = 'SELECT')),
    k.reader
  from sno.chain($1) k
  join pg_class c on c.oid = k.relation
  where k.reader <> 0 and c.oid >= 16384
$$;
comment on function sno.rights(oid[]) is
  'For each relation that views read: the role whose rights apply, whether it may read the relation, whether policies apply to it, whether that depends on its attributes or memberships, and the view that reads the relation.';

drop function if exists sno.policies(oid);
create or replace function sno.policies(views oid[] default null) returns table (view oid, policy oid)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select distinct k.view, p.oid
  from sno.chain($1) k
  join pg_policy p on p.polrelid = k.relation and p.polcmd in ('r', '*')
  join pg_class c on c.oid = p.polrelid
  where case when c.relrowsecurity then sno.is_secured(c.oid, k.role) end
    and (k.role is null or exists (select from unnest(p.polroles) r (oid) where r.oid = 0 or pg_has_role(k.role, r.oid, 'usage')))
$$;
comment on function sno.policies(oid[]) is 'The policies that apply to the relations that views read.';

create or replace function sno.numbers_after(label text, tree text) returns setof oid
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select split_part(p.part, ' ', 1)::oid
  from string_to_table($2, $1) with ordinality p (part, position)
  -- A column may have the label as its name; another kind of text follows then.
  where p.position > 1 and left(p.part, 11) ~ '^[0-9]+ '
$$;
comment on function sno.numbers_after(text, text) is 'The oids that follow a label in the tree of a view or policy.';

create or replace function sno.trees(classes oid[], oids oid[]) returns table (class oid, oid oid, text text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with source as materialized (select distinct s.class, s.oid from unnest($1, $2) s (class, oid))
  select s.class, s.oid, r.ev_action::text
  from source s
  join pg_rewrite r on r.ev_class = s.oid and r.ev_type = '1'
  where s.class = 'pg_rewrite'::regclass
  union all
  select s.class, s.oid, p.polqual::text
  from source s
  join pg_policy p on p.oid = s.oid
  where s.class = 'pg_policy'::regclass
$$;
comment on function sno.trees(oid[], oid[]) is 'The stored trees of relations'' rules (`pg_rewrite`) and of policies, each once.';

-- Reads the trees of views and policies, since pg_depend lacks built-in relations.
drop function if exists sno.unnoticed(oid);
create or replace function sno.unnoticed(views oid[] default null) returns table (view oid, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with source as materialized (
    select k.view, 'pg_rewrite'::regclass::oid as class, k.relation as oid
    from (select distinct k.view, k.relation from sno.chain($1) k where k.relation >= 16384) k
    join pg_class c on c.oid = k.relation and c.relkind = 'v'
    union all
    select a.view, 'pg_policy'::regclass, a.policy from sno.policies($1) a
  ),
  -- Each tree once, even if many views read through it.
  tree as materialized (
  select t.class, t.oid, t.text
  from (select array_agg(s.class) as classes, array_agg(s.oid) as oids from source s) s
  cross join lateral sno.trees(s.classes, s.oids) t
  )
  select distinct s.view, found.what
  from tree
  cross join lateral (
    select case
      when c.oid < 16384 then format('the system catalog %I.%I', n.nspname, c.relname)
      when c.relkind = 'S' then format('the sequence %I.%I', n.nspname, c.relname)
      else format('%I.%I, which is not a table or view', n.nspname, c.relname) end
    from sno.numbers_after(':relid ', tree.text) r (relation)
    cross join lateral (select * from pg_class c where c.oid = r.relation limit 1) c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid < 16384 or c.relkind not in ('r', 'p', 'v', 'm', 'f')
    union all
    select 'a sample (TABLESAMPLE)' where tree.text like '%{TABLESAMPLECLAUSE %'
    union all
    -- tableoid (-6) is allowed: it changes only with the row's table.
    select 'a system column, such as ctid' where tree.text like '%:varattno -%' and tree.text ~ '\{VAR :varno [0-9]+ :varattno -[1-5] '
  ) found (what)
  join source s on (s.class, s.oid) = (tree.class, tree.oid)
$$;
comment on function sno.unnoticed(oid[]) is 'What views read whose changes neither the WAL nor an event trigger reports, in words.';

drop function if exists sno.below();
create or replace function sno.below(views oid[] default null) returns table (view oid, relation oid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
#variable_conflict use_column
begin
  return query
    with recursive below (view, relation) as (
      select v.oid, v.oid from unnest(coalesce($1, sno.views())) v (oid)
      union
      select p.view, p.relation from sno.policy_reads($1) p
      union
      select b.view, x.relation
      from below b
      cross join lateral (
        select d.refobjid
        -- Not through materialized views: their rows change only by a REFRESH.
        from pg_class c
        join pg_rewrite r on r.ev_class = c.oid
        join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
        where c.oid = b.relation and c.relkind = 'v' and r.ev_type = '1'
          and d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
        union all
        -- Postgres sends changes of a partition as changes of its root.
        select pg_partition_root(c.oid)::oid from pg_class c where c.oid = b.relation and c.relispartition
        union all
        select i.inhrelid from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = b.relation and not c.relispartition
      ) x (relation)
    )
    select b.view, b.relation
    from below b
    -- LIMIT makes the planner look up each row instead of reading all of pg_class.
    cross join lateral (select c.relkind from pg_class c where c.oid = b.relation limit 1) c
    where b.relation <> b.view and c.relkind in ('v', 'm', 'r', 'p', 'f');
end
$$;
comment on function sno.below(oid[]) is 'Every relation that a channel view or access view reads, directly or through other views. `views`: only for these.';

create or replace function sno.publication_names(name name default null) returns setof name
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select $1 where $1 is not null union all select p.name from sno.publications p where $1 is null $$;
comment on function sno.publication_names(name) is 'The given name, or else the names of all publications that are kept up to date.';

create or replace function sno.default_publication() returns name
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select p.name from sno.publications p order by p.registered_at, p.name limit 1 $$;
comment on function sno.default_publication() is 'The publication that is used if no name is given: the one that was registered first.';

create or replace function sno.use_publication(name name) returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  insert into sno.publications as p (name, registered_at) values ($1, now())
  on conflict (name) do update set registered_at = coalesce(p.registered_at, excluded.registered_at);
  delete from sno.publications p
  where p.registered_at is null and not exists (select from pg_publication o where o.pubname = p.name);
$$;
comment on function sno.use_publication(name) is 'Registers a publication to be kept up to date. To remove one that is no longer used: delete from sno.publications where name = ...';

create or replace function sno.above(classes oid[], objects oid[]) returns table (class oid, object oid, schema name, name name)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
-- The planner expects many dependents, and would otherwise read whole catalogs.
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
    with recursive above (origin_class, origin, class, object, is_parent) as (
      select o.class, o.object, o.class, o.object, false from unnest($1, $2) o (class, object)
      union
      select a.origin_class, a.origin, x.class, x.object, a.is_parent or x.is_parent
      from above a
      cross join lateral (
        select 'pg_class'::regclass::oid, r.ev_class, false
        from pg_depend d
        join pg_rewrite r on r.oid = d.objid
        where d.refclassid = a.class and d.refobjid = a.object and d.classid = 'pg_rewrite'::regclass
        union all
        -- From a type to the tables with columns of it, to its arrays and domains. From a table to its row type. From a function to
        -- its casts, operators, aggregates, functions with a parsed body, and constraints of domains. From a dictionary to text search
        -- configurations. From a schema or an extension to all its members.
        select d.classid, d.objid, false
        from pg_depend d
        where d.refclassid = a.class and d.refobjid = a.object
          -- Not from a parent that was reached from a child to its other children: there may be thousands.
          and (d.classid = 'pg_type'::regclass or d.classid = 'pg_class'::regclass and not (a.is_parent and a.class = 'pg_class'::regclass)
            or a.class = 'pg_proc'::regclass
              and d.classid in ('pg_cast'::regclass, 'pg_operator'::regclass, 'pg_proc'::regclass, 'pg_constraint'::regclass)
            or a.class in ('pg_ts_dict'::regclass, 'pg_ts_template'::regclass, 'pg_ts_parser'::regclass)
            or a.class = 'pg_namespace'::regclass
            or a.class = 'pg_extension'::regclass and d.deptype = 'e')
        union all
        select 'pg_type'::regclass::oid, k.contypid, false from pg_constraint k
        where a.class = 'pg_constraint'::regclass and k.oid = a.object and k.contypid <> 0
        union all
        -- The primary key of a partitioned table is valid once each partition's index is attached.
        select 'pg_class'::regclass::oid, i.indrelid, false from pg_index i where a.class = 'pg_class'::regclass and i.indexrelid = a.object
        union all
        -- From the relation of a composite type to the type. A table's row type depends on the table, see above.
        select 'pg_type'::regclass::oid, c.reltype, false from pg_class c where a.class = 'pg_class'::regclass and c.oid = a.object and c.relkind = 'c'
        union all
        -- From a cast that prints values to their type.
        select 'pg_type'::regclass::oid, k.castsource, false from pg_cast k
        where a.class = 'pg_cast'::regclass and k.oid = a.object and k.casttarget in ('json'::regtype, 'text'::regtype)
        union all
        -- From a policy, and from the objects that it depends on, to its table.
        select 'pg_class'::regclass::oid, p.polrelid, false from pg_policy p where a.class = 'pg_policy'::regclass and p.oid = a.object
        union all
        select 'pg_class'::regclass::oid, p.polrelid, false
        from pg_depend d join pg_policy p on p.oid = d.objid
        where d.refclassid = a.class and d.refobjid = a.object and d.classid = 'pg_policy'::regclass and d.deptype = 'n'
        union all
        select a.class, i.inhparent, true from pg_inherits i where a.class = 'pg_class'::regclass and i.inhrelid = a.object
        union all
        -- From a rule to its view: CREATE OR REPLACE RULE "_RETURN" replaces the view's query.
        select 'pg_class'::regclass::oid, r.ev_class, false from pg_rewrite r where a.class = 'pg_rewrite'::regclass and r.oid = a.object
      ) x (class, object, is_parent)
    )
    select distinct a.origin_class, a.origin, n.nspname, c.relname
    from above a
    -- LIMIT makes the planner look up each row instead of reading all of pg_class: it expects many.
    cross join lateral (select * from pg_class where oid = a.object limit 1) c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname in ('channels', 'channel_access', 'channel_presence', 'channel_send')
    where a.class = 'pg_class'::regclass and c.relkind in ('v', 'm', 'r', 'p', 'f');
end
$$;
comment on function sno.above(oid[], oid[]) is
  'The channel views and access views whose meaning depends on an object: the view itself, a table, a type, a cast, a function, a schema. `classes`: the system catalog of each object.';

create or replace function sno.above(class oid, object oid) returns table (schema name, name name)
language sql stable set search_path = pg_catalog, pg_temp
as $$ select a.schema, a.name from sno.above(array[$1], array[$2]) a $$;
comment on function sno.above(oid, oid) is 'The channel views and access views whose meaning depends on one object.';

drop function if exists sno.identified(oid);
create or replace function sno.identified(relation oid, publication name default null) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select bool_and(
    c.relreplident = 'f' and not exists (
      select from pg_attribute a
      where a.attrelid = c.oid and not a.attisdropped
        -- From 18 on, an identity FULL is invalid if one of its columns is not published. Virtual generated columns never
        -- are. Stored ones are if the publication says so.
        and (a.attgenerated = 'v' or a.attgenerated = 's' and exists (
          select from pg_publication p
          where p.pubname in (select sno.publication_names($2)) and to_jsonb(p) ->> 'pubgencols' = 'n')))
    or c.relreplident = 'd' and exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indimmediate and i.indisvalid)
    or c.relreplident = 'i' and exists (select from pg_index i where i.indrelid = c.oid and i.indisreplident and i.indisvalid))
  from (select $1 union select p.relid from pg_partition_tree($1) p where p.isleaf) t (oid)
  -- LIMIT makes the planner look up each row instead of reading all of pg_class.
  cross join lateral (select * from pg_class where oid = t.oid limit 1) c
  where c.relkind <> 'p'
$$;
comment on function sno.identified(oid, name) is
  'Whether a table, with all its partitions, has a replica identity. Without one, the app''s UPDATE and DELETE would fail while the table is published. Null for a partitioned table without partitions.';

drop function if exists sno.publication_tables(name);
create or replace function sno.publication_tables(publication name default null, relations oid[] default null)
returns table (publication_oid oid, relation oid, published_as text)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  -- Whether a partition is published by itself depends on its ancestors, so Postgres's function is asked.
  partitions oid[] := array(
    select c.oid from unnest($2) r (oid) cross join lateral (select * from pg_class c where c.oid = r.oid limit 1) c where c.relispartition);
begin
  return query
    -- Materialized, and joined by LATERAL with LIMIT: for plain joins, the planner calls the function once for each table.
    with publication as materialized (
      select p.oid, p.xmin, p.pubname, p.puballtables, p.pubviaroot
      from pg_publication p
      where p.pubname in (select sno.publication_names($1))
        -- If the publication leaves out an operation, changes are missing.
        and p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate
    ),
    listed as materialized (
      select p.oid, p.xmin, p.puballtables, t.relid
      from publication p
      cross join lateral pg_get_publication_tables(p.pubname::text) t
      where $2 is null or partitions <> '{}' and t.relid = any (partitions)
      union all
      -- The function opens every table of FOR ALL TABLES. For a table that is not a partition, the entries suffice.
      select p.oid, p.xmin, p.puballtables, r.oid
      from publication p
      cross join (select distinct r.oid from unnest($2) r (oid)) r
      cross join lateral (select * from pg_class c where c.oid = r.oid limit 1) c
      where not c.relispartition and (c.relkind = 'r' or c.relkind = 'p' and p.pubviaroot) and pg_relation_is_publishable(r.oid::regclass)
    )
    select l.oid, c.oid, concat_ws(':', l.oid, l.xmin, r.oid, n.oid)
    from listed l
    cross join lateral (select c.oid, c.relnamespace from pg_class c where c.oid = l.relid limit 1) c
    left join lateral (
      select r.oid,
        -- From 19 on, tables can be left out of FOR ALL TABLES.
        r.prattrs is null and r.prqual is null and to_jsonb(r) ->> 'prexcept' is distinct from 'true' as is_whole
      from pg_publication_rel r where r.prpubid = l.oid and r.prrelid = c.oid limit 1) r on true
    left join lateral (
      select n.oid from pg_publication_namespace n where n.pnpubid = l.oid and n.pnnspid = c.relnamespace limit 1) n on true
    -- With a column list or a row filter, changes are missing.
    where r.is_whole is not false
      -- Postgres's function uses the newest committed state; the tables joined here, the snapshot of this query.
      and (l.puballtables or r.oid is not null or n.oid is not null);
end
$$;
comment on function sno.publication_tables(name, oid[]) is
  'The tables whose every new change is published, and the entry by which they are in the publication. Without a name: for all publications of Snö. `relations`: only these tables.';

drop function if exists sno.published(name);
create or replace function sno.published(publication name default null, relations oid[] default null) returns setof oid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select t.relation
  from sno.publication_tables($1, $2) t
  join sno.publishing p on (p.publication, p.relation, p.published_as) = (t.publication_oid, t.relation, t.published_as)
  where p.writers_before is null
$$;
comment on function sno.published(name, oid[]) is
  'The tables whose every change is published, and whose earlier writers have all ended. `relations`: only these tables.';


drop function if exists sno.remember_children();
drop function if exists sno.remember_children(oid[]);
create or replace function sno.remember_parts(relations oid[] default null) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  delete from sno.children h where not exists (select from pg_inherits i where i.inhparent = h.parent and i.inhrelid = h.child);
  insert into sno.children (parent, child)
  select i.inhparent, i.inhrelid
  from pg_inherits i join pg_class c on c.oid = i.inhrelid and not c.relispartition
  where i.inhparent = any (coalesce($1, array(select b.relation from sno.below() b)))
  on conflict do nothing;
  delete from sno.partitions p
  where not exists (select from pg_class c where c.oid = p.relation)
    or p.root = any (coalesce($1, array[p.root])) and pg_partition_root(p.relation) is distinct from p.root::regclass;
  insert into sno.partitions as p (relation, root)
  select t.relid, root.oid
  from pg_class root cross join lateral pg_partition_tree(root.oid) t
  where root.relkind = 'p' and not root.relispartition
    and root.oid = any (coalesce($1, array(select b.relation from sno.below() b))) and t.relid <> root.oid
    and not exists (select from sno.partitions k where k.relation = t.relid and k.root = root.oid)
  on conflict (relation) do update set root = excluded.root where p.root <> excluded.root;
  delete from sno.unique_indexes u where not exists (select from pg_index i where i.indexrelid = u.index and i.indrelid = u.relation);
  insert into sno.unique_indexes (index, relation)
  select i.indexrelid, i.indrelid from pg_index i
  where i.indisunique and i.indrelid = any (coalesce($1, array(select b.relation from sno.below() b)))
  on conflict do nothing
$$;
comment on function sno.remember_parts(oid[]) is 'Stores the inheritance children, partitions and unique indexes of the tables that views read (or of `relations`), for sno.on_ddl() and sno.on_drop().';


-- TRUNCATE of partitions ------------------------------------------------------------------------------------------

-- Postgres sends the TRUNCATE of a partitioned table, but not that of a single partition.
create or replace function sno.on_truncate() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  root oid := coalesce(pg_partition_root(tg_relid), tg_relid);
  -- Roots that the present statement truncates, each between commas.
  truncating text := coalesce(current_setting('sno.truncating', true), '');
  views text[];
begin
  if tg_relid = root then
    perform set_config('sno.truncating',
      case when tg_when = 'BEFORE' then truncating || format(',%s,', root) else replace(truncating, format(',%s,', root), '') end, true);
  elsif position(format(',%s,', root) in truncating) = 0 then
    select array_agg(a.schema || ':' || a.name) into views from sno.above('pg_class'::regclass, root) a;
    if views is not null then
      perform sno.note(views, false, views);
    end if;
  end if;
  return null;
exception when others then
  raise warning 'Snö did not notice this TRUNCATE: %', sqlerrm using hint = 'Restart Snö, so that its clients read their channels again.';
  return null;
end
$$;
comment on function sno.on_truncate() is 'Reports that a single partition was truncated. Never fails.';

drop function if exists sno.guard_partitions();
drop function if exists sno.guard_partitions(oid);
create or replace function sno.guard_partitions(relations oid[] default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  item record;
  deadline timestamptz := clock_timestamp() + interval '100 milliseconds';
  busy integer := 0;
begin
  for item in
    select p.relid::regclass::text as name, t.name as trigger, t.timing
    from (select distinct r.oid from unnest(coalesce($1, array(select b.relation from sno.below() b))) r (oid)) r
    cross join lateral (select * from pg_class c where c.oid = r.oid and c.relkind = 'p' and not c.relispartition limit 1) top
    cross join lateral pg_partition_tree(top.oid) p
    join pg_class c on c.oid = p.relid and c.relkind in ('r', 'p')
    join (values ('sno_truncate', 'before', true), ('sno_truncated', 'after', false)) t (name, timing, on_partitions)
      on p.isleaf and t.on_partitions or p.relid = top.oid
    where not exists (
        select from pg_trigger g
        where g.tgrelid = p.relid and g.tgname = t.name and g.tgfoid = 'sno.on_truncate()'::regprocedure and g.tgenabled = 'A')
  loop
    loop
      begin
        -- NOWAIT: in the lock's queue, writers would wait behind it, and it could cause a deadlock that aborts one of them.
        execute format('lock table only %s in share row exclusive mode nowait', item.name);
        execute format('create or replace trigger %I %s truncate on %s for each statement execute function sno.on_truncate()', item.trigger, item.timing, item.name);
        -- Logical replication and restores run with session_replication_role = replica.
        execute format('alter table only %s enable always trigger %I', item.name, item.trigger);
        exit;
      exception
        when lock_not_available then
          -- The deadline is for all tables together.
          if clock_timestamp() >= deadline then
            busy := busy + 1;
            exit;
          end if;
        when others then
          raise warning 'Snö will not notice at once when a partition of % is truncated alone: %', item.name, sqlerrm
            using hint = 'Run: select sno.guard_partitions();';
          exit;
      end;
      perform pg_sleep(0.01);
    end loop;
  end loop;
  if busy > 0 then
    raise warning 'Snö will not notice at once when one of % partitions is truncated alone, since other transactions use them now', busy
      using hint = 'Snö tries again every 10 seconds.';
  end if;
end
$$;
comment on function sno.guard_partitions(oid[]) is
  'Creates triggers on the partitioned tables that views read, and on their partitions, which report a TRUNCATE that the WAL lacks. Enables them again if they were disabled. `relations`: only for these tables.';


-- The catalog ----------------------------------------------------------------------------------------------------

drop function if exists sno.columns(oid);
create or replace function sno.columns(relations oid[]) returns table (relation oid, columns json)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select a.attrelid, json_agg(json_build_object(
      'name', a.attname,
      'number', a.attnum,
      'typeOid', a.atttypid::bigint,
      'typeModifier', a.atttypmod,
      'type', format_type(a.atttypid, a.atttypmod),
      -- The builtin provider (17 and newer) orders bytewise in all its locales.
      'bytewise', coalesce(case when l.collprovider = 'd' then d.datlocprovider else l.collprovider end = 'b'
        or case when l.collprovider = 'd' then d.datlocprovider else l.collprovider end = 'c'
          and case when l.collprovider = 'd' then d.datcollate else l.collcollate end in ('C', 'POSIX'), true),
      'deterministic', coalesce(l.collisdeterministic, true),
      'collation', case when l.oid is not null then format('%s."%s"', l.collnamespace::regnamespace, replace(l.collname, '"', '""')) end,
      -- From 18 on, a NOT NULL constraint may be NOT VALID: older rows may have NULLs.
      'notNull', a.attnotnull and not exists (
        select from pg_constraint k
        where k.conrelid = a.attrelid and k.contype = 'n' and not k.convalidated and a.attnum = any (k.conkey)),
      'generated', a.attgenerated,
      'expression', case when a.attgenerated <> '' then pg_get_expr(e.adbin, e.adrelid) end,
      'toastable', a.attstorage in ('x', 'e', 'm'),
      'version', a.xmin::text::bigint
    ) order by a.attnum)
  from pg_attribute a
  join pg_database d on d.datname = current_database()
  left join pg_collation l on l.oid = a.attcollation
  left join pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
  where a.attrelid = any ($1) and a.attnum > 0 and not a.attisdropped
  group by a.attrelid
$$;
comment on function sno.columns(oid[]) is 'The columns of tables and views, for sno.catalog(); no row for one without columns.';

-- A body that is stored as text is parsed only when it runs: its calls are known only by the words in it.
create or replace function sno.calls(function oid) returns setof oid
language sql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
  with recursive called (oid) as (
    select $1
    union
    select x.oid
    from called c
    join pg_proc p on p.oid = c.oid and p.oid >= 16384
    join pg_language l on l.oid = p.prolang
    cross join lateral (
      select q.oid
      from (select lower(p.prosrc collate "C") as body) b
      join pg_proc q on strpos(b.body, lower(q.proname::text collate "C")) > 0
        and (q.proname !~ '^\w+$' or b.body ~ ('\m' || lower(q.proname::text collate "C") || '\M'))
      where l.lanname not in ('c', 'internal') and q.oid >= 16384
      union all
      select coalesce(o.oprcode::oid, d.refobjid)
      from pg_depend d
      left join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
      where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
    ) x
  )
  select oid from called where oid >= 16384
$$;
comment on function sno.calls(oid) is 'A function and all functions that it may call, also indirectly; without built-in ones.';

drop function if exists sno.callers(text[]);
create or replace function sno.callers(names text[], changed oid[] default '{}') returns setof oid
language plpgsql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
declare
  -- The functions on which views depend, and whose bodies are stored as text. Most databases have few of them.
  bases oid[] := array(
    select distinct p.oid
    from pg_depend d
    join pg_proc p on p.oid = d.refobjid
    join pg_language l on l.oid = p.prolang and l.lanname not in ('c', 'internal')
    where d.refclassid = 'pg_proc'::regclass and d.refobjid >= 16384
      and d.classid not in ('pg_trigger'::regclass, 'pg_event_trigger'::regclass, 'pg_proc'::regclass));
begin
  if bases = '{}' or not exists (select from sno.above(array_fill('pg_proc'::regclass::oid, array[cardinality(bases)]), bases)) then
    return;
  end if;
  return query
    with recursive
    written as materialized (
      select p.oid, lower(p.proname::text collate "C") as name, lower(p.prosrc collate "C") as body
      from pg_proc p join pg_language l on l.oid = p.prolang
      where p.oid >= 16384 and l.lanname not in ('c', 'internal')
    ),
    caller (oid, name) as (
      select null::oid, lower(unnest($1) collate "C")
      union
      select unnest($2), null
      union
      select x.oid, x.name
      from caller c
      cross join lateral (
        select w.oid, w.name
        from written w
        where strpos(w.body, c.name) > 0 and (c.name !~ '^\w+$' or w.body ~ ('\m' || c.name || '\M'))
        union all
        -- A parsed body, an operator and a default call by oid.
        select p.oid, lower(p.proname::text collate "C")
        from (
          select d.refobjid, d.objid from pg_depend d
          where d.refclassid = 'pg_proc'::regclass and d.refobjid = c.oid and d.classid = 'pg_proc'::regclass
          union all
          select o.oprcode::oid, d.objid
          from pg_depend f
          join pg_operator o on o.oid = f.objid
          join pg_depend d on d.refclassid = 'pg_operator'::regclass and d.refobjid = o.oid and d.classid = 'pg_proc'::regclass
          where f.refclassid = 'pg_proc'::regclass and f.refobjid = c.oid and f.classid = 'pg_operator'::regclass
        ) d (called, oid)
        cross join lateral (select * from pg_proc p where p.oid = d.oid limit 1) p
      ) x
    )
    select distinct c.oid from caller c where c.oid is not null;
end
$$;
comment on function sno.callers(text[], oid[]) is
  'The functions whose text contains one of these names, or that call one of these functions by oid, and their callers in turn. Empty if no view depends on a function whose body is stored as text.';

drop function if exists sno.functions(oid[]);
drop function if exists sno.functions(oid[], oid[]);
create or replace function sno.functions(views oid[], classes oid[], sources oid[]) returns table (view oid, functions json)
language sql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
  with recursive
  source as materialized (select * from unnest($1, $2, $3) s (view, class, oid)),
  -- Each tree once, even if many views read through it.
  tree as materialized (
    select t.class, t.oid, t.text
    from (select array_agg(s.class) as classes, array_agg(s.oid) as oids from source s) s
    cross join lateral sno.trees(s.classes, s.oids) t
  ),
  direct as materialized (
    select distinct t.class, t.oid, f.function
    from tree t
    cross join lateral sno.numbers_after(':funcid ',
      replace(replace(replace(t.text, ':opfuncid ', ':funcid '), ':aggfnoid ', ':funcid '), ':winfnoid ', ':funcid ')) f (function)
  ),
  -- Postgres adds the defaults of arguments when it plans a call, so they are not in the tree.
  called (function, oid) as (
    select distinct d.function, d.function from direct d
    union
    select c.function, m[1]::oid
    from called c
    -- LIMIT makes the planner look up each row instead of reading all of pg_proc for each view.
    cross join lateral (select * from pg_proc p where p.oid = c.oid limit 1) p
    cross join lateral regexp_matches(p.proargdefaults::text, ':(?:funcid|opfuncid) ([0-9]+)', 'g') m
  ),
  described as materialized (
    select p.oid, json_build_object(
      'schema', n.nspname,
      'name', p.proname,
      'arguments', (
        select coalesce(json_agg(t.typname order by a.position), '[]')
        from unnest(p.proargtypes) with ordinality a (type, position)
        cross join lateral (select t.typname from pg_type t where t.oid = a.type limit 1) t),
      'volatility', case when p.proargdefaults::text like '%{SQLVALUEFUNCTION %' then 'v' else p.provolatile end,
      'kind', p.prokind,
      'returnsSet', p.proretset,
      'builtin', p.oid < 16384,
      'needsPath', p.oid >= 16384 and p.prosqlbody is null and coalesce(array_to_string(p.proconfig, E'\n') !~ '(^|\n)search_path=', true)
        and p.prolang not in (select l.oid from pg_language l where l.lanname in ('c', 'internal')),
      'body', case when p.oid >= 16384
        then (
          select md5(string_agg(row(
              q.proname, q.pronamespace, q.proargtypes, q.prosrc, q.probin, q.prosqlbody, q.proargdefaults, q.prolang, q.proisstrict, q.provolatile, q.proconfig,
              (select g from pg_aggregate g where g.aggfnoid = q.oid))::text, ',' order by q.oid))
          from pg_proc q where q.oid in (select sno.calls(p.oid))) end
    ) as description
    from (select distinct c.oid from called c) c
    cross join lateral (select * from pg_proc p where p.oid = c.oid limit 1) p
    join pg_namespace n on n.oid = p.pronamespace
  )
  select u.view, json_agg(d.description order by d.oid)
  from (
    select distinct s.view, c.oid
    from source s
    join direct t on (t.class, t.oid) = (s.class, s.oid)
    join called c on c.function = t.function
  ) u
  join described d on d.oid = u.oid
  group by u.view
$$;
comment on function sno.functions(oid[], oid[], oid[]) is 'The functions that views call, also by operators, for sno.catalog(). `classes` and `sources`: for each view, a relation whose rule it runs (`pg_rewrite`) or a policy. No row for a view that calls none.';

drop function if exists sno.casts_by_text(oid[]);
create or replace function sno.casts_by_text(views oid[], sources oid[]) returns table (view oid, types json)
language sql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
  with recursive
  source as materialized (select * from unnest($1, $2) s (view, oid)),
  named as materialized (
    select distinct r.ev_class, coalesce(m[1], m[2])::oid as type
    from pg_rewrite r
    -- COERCEVIAIO is the only node in which the collation follows the result type. JSON_VALUE, JSON_QUERY and JSON_TABLE
    -- (Postgres 17) make the value of RETURNING from text too.
    cross join lateral regexp_matches(
      case when r.ev_action::text like any (array['%{COERCEVIAIO %', '%{JSONRETURNING %']) then r.ev_action::text end,
      ':resulttype ([0-9]+) :resultcollid|\{JSONRETURNING :format (?:<>|\{[^}]*\}) :typid ([0-9]+)', 'g') m
    where r.ev_class in (select s.oid from source s) and r.ev_type = '1'
  ),
  made (view, type) as (
    select s.view, n.type from source s join named n on n.ev_class = s.oid
    union
    select made.view, x.type
    from made
    cross join lateral (select * from pg_type t where t.oid = made.type limit 1) t
    cross join lateral (
      values (t.typbasetype), (t.typelem)
      union all
      select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
      union all
      select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) x (type)
    where x.type <> 0
  )
  select m.view, json_agg(format_type(m.type, null) order by m.type) from made m group by m.view
$$;
comment on function sno.casts_by_text(oid[], oid[]) is
  'The types to which views cast values through their text, or which RETURNING names for JSON, and the types that those consist of, for sno.catalog(). `sources`: for each view, a relation whose rule it runs. No row for a view without such casts.';

create or replace function sno.surroundings(views oid[], classes oid[], sources oid[]) returns table (view oid, digest text)
language sql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
  with recursive
  rule as materialized (
    select distinct s.view, s.class, case s.class when 'pg_rewrite'::regclass then r.oid else s.oid end as oid
    from unnest($1, $2, $3) s (view, class, oid)
    left join pg_rewrite r on s.class = 'pg_rewrite'::regclass and r.ev_class = s.oid and r.ev_type = '1'
  ),
  depends as materialized (
    select distinct r.view, d.refclassid, d.refobjid, d.refobjsubid
    from rule r join pg_depend d on d.classid = r.class and d.objid = r.oid
    where d.refclassid in ('pg_type'::regclass, 'pg_proc'::regclass, 'pg_class'::regclass, 'pg_ts_config'::regclass, 'pg_ts_dict'::regclass)
  ),
  used (view, class, oid) as (
    select d.view, d.refclassid, d.refobjid from depends d where d.refclassid not in ('pg_proc'::regclass, 'pg_class'::regclass)
    union
    select d.view, 'pg_type'::regclass, a.atttypid
    from depends d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and a.atttypid >= 16384
    union
    select d.view, 'pg_type'::regclass, x.type
    from depends d join pg_proc p on p.oid = d.refobjid cross join lateral unnest(p.proargtypes::oid[] || p.prorettype) x (type)
    where d.refclassid = 'pg_proc'::regclass and x.type >= 16384
    union
    select u.view, u.class, x.type
    from used u
    -- LIMIT makes the planner look up each row instead of reading all of pg_type.
    cross join lateral (select * from pg_type t where u.class = 'pg_type'::regclass and t.oid = u.oid limit 1) t
    cross join lateral (
      values (t.typbasetype), (t.typelem)
      union all
      select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
      union all
      select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) x (type)
    where x.type >= 16384
  ),
  item as materialized (select distinct u.class, u.oid from used u),
  described as materialized (
    select i.class, i.oid, string_agg(e.enumlabel, ',' order by e.enumsortorder) as text
    from item i join pg_enum e on e.enumtypid = i.oid
    where i.class = 'pg_type'::regclass
    group by i.class, i.oid
    union all
    select i.class, i.oid, string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict, d.xmin), ',' order by m.maptokentype, m.mapseqno)
    from item i join pg_ts_config_map m on m.mapcfg = i.oid join pg_ts_dict d on d.oid = m.mapdict
    where i.class = 'pg_ts_config'::regclass
    group by i.class, i.oid
    union all
    select i.class, i.oid, d.xmin::text from item i join pg_ts_dict d on d.oid = i.oid where i.class = 'pg_ts_dict'::regclass
  )
  select u.view, md5(string_agg(concat_ws(' ', d.class, d.oid, d.text), ';' order by d.class, d.oid))
  from used u join described d on (d.class, d.oid) = (u.class, u.oid)
  group by u.view
$$;
comment on function sno.surroundings(oid[], oid[], oid[]) is
  'A digest of what definitions of views do not print: the labels of enums, text search configurations. The arguments are those of sno.functions(). No row for a view that uses none.';

create or replace function sno.columns_read(views oid[], sources oid[]) returns table (view oid, columns json)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  -- Views are in arrays: joined to the relations that they read, the cost would grow with the square of their number.
  with source as materialized (
    select s.oid, array_agg(distinct s.view) as views from unnest($1, $2) s (view, oid) group by s.oid
  ),
  -- A whole-row reference has no columns in pg_depend.
  rule as materialized (
    select s.views, r.oid, strpos(r.ev_action::text, ':varattno 0 ') > 0 as is_whole
    from source s join pg_rewrite r on r.ev_class = s.oid and r.ev_type = '1'
  ),
  direct as materialized (
    select distinct v.view, d.refobjid as relation, d.refobjsubid as number
    from rule r
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
    cross join lateral unnest(r.views) v (view)
  ),
  -- All policies, even if they do not apply to the reader: an ALTER ROLE may change that.
  policy as materialized (
    select u.view, p.oid, strpos(p.polqual::text, ':varattno 0 ') > 0 as is_whole
    from (select distinct d.view, d.relation from direct d) u
    join pg_policy p on p.polrelid = u.relation and p.polcmd in ('r', '*')
  ),
  used as materialized (
    select d.view, d.relation, d.number from direct d
    union
    select p.view, d.refobjid, d.refobjsubid
    from policy p
    join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
  ),
  unknown (view) as materialized (
    select unnest(r.views) from rule r where r.is_whole
    union
    select p.view from policy p where p.is_whole
    union
    -- Policies of tables that a policy reads.
    select u.view from used u join pg_policy p on p.polrelid = u.relation and p.polcmd in ('r', '*')
    where not exists (select from direct d where (d.view, d.relation) = (u.view, u.relation))
  ),
  root as materialized (
    select d.view, pg_partition_root(c.oid)::oid as relation
    from (select distinct view, relation from direct) d join pg_class c on c.oid = d.relation and c.relispartition
  )
  select r.view, json_agg(json_build_object('relation', r.relation::bigint, 'columns', r.names) order by r.relation)
  from (
    select u.view, u.relation, coalesce(json_agg(a.attname order by a.attnum) filter (where a.attname is not null), '[]') as names
    from used u
    join pg_class c on c.oid = u.relation and c.relkind in ('r', 'p')
    left join pg_attribute a on a.attrelid = u.relation and a.attnum = u.number and u.number > 0
    left join pg_type t on t.oid = a.atttypid
    group by u.view, u.relation
    -- Equal texts must mean equal values; for types of extensions that is unknown.
    having coalesce(bool_and(t.oid < 16384 or t.typtype = 'e' or t.typtype = 'd' and t.typbasetype < 16384) filter (where a.attname is not null), true)
  ) r
  where r.view not in (select view from unknown)
    -- A query of the parent or root reads this table too, by the parent's columns.
    and not exists (select from pg_inherits i where i.inhrelid = r.relation)
    and (r.view, r.relation) not in (select view, relation from root)
  group by r.view
$$;
comment on function sno.columns_read(oid[], oid[]) is
  'The columns that access views read, by table; an update that changes none of them changes no row of the view. If a table is missing, the view may read all its columns. `sources`: for each view, a relation whose rule it runs.';

create or replace function sno.search_path(role oid) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  -- In the server's order: the setting of the role in this database, of the role, of the database, of all.
  select regexp_replace(
    coalesce((
      select regexp_replace(c.setting, '^search_path=', '')
      from pg_db_role_setting s cross join lateral unnest(s.setconfig) c (setting)
      where c.setting like 'search\_path=%' and s.setrole in ($1, 0)
        and s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
      order by s.setrole = 0, s.setdatabase = 0
      limit 1), '"$user", public'),
    '(^|,)\s*"\$user"\s*(?=,|$)', '\1' || replace(quote_ident(pg_get_userbyid($1)), '\', '\\'), 'g')
$$;
comment on function sno.search_path(oid) is
  'The search_path with which a session of a role starts in this database, with its name in place of $user. A setting in the server''s configuration files is not seen.';

-- It must not have settings of its own (SET): these would undo its set_config at its end.
create or replace function sno.under_path(path text) returns boolean
language plpgsql immutable parallel safe
as $$
begin
  return pg_catalog.set_config('search_path', path, true) is not null;
end
$$;
comment on function sno.under_path(text) is
  'Sets the search_path for the rest of the transaction. Declared immutable, so that Postgres evaluates it in FROM when it plans the query: after looking up the query''s own names, before reading the bodies of functions.';

create or replace function sno.forget_plans() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  discard plans;
end
$$;
comment on function sno.forget_plans() is 'For sno.under_path(path, functions): a function that is not volatile may not run DISCARD itself.';

create or replace function sno.under_path(path text, functions text) returns boolean
language plpgsql immutable parallel safe
as $$
declare
  -- A setting of the session for each digest, so that views with other functions do not take turns.
  name pg_catalog.text := 'sno.planned_' operator(pg_catalog.||) functions;
begin
  -- With pg_catalog written out: the path of an earlier query of the transaction may be in force.
  if not coalesce(pg_catalog.current_setting(name, true) operator(pg_catalog.=) 'on', false) then
    perform sno.forget_plans();
    perform pg_catalog.set_config(name, 'on', false);
  end if;
  return sno.under_path(path);
end
$$;
comment on function sno.under_path(text, text) is
  'As sno.under_path(path). `functions`: a digest (hex) of the functions that the query calls. At the first call for it, the session forgets its plans: Postgres keeps a plan when another function now fits its call better.';

create or replace function sno.types(relations oid[]) returns setof oid
language sql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
  with recursive types (oid) as (
    select a.atttypid
    from pg_attribute a
    where a.attrelid = any ($1) and a.attnum > 0 and not a.attisdropped
    union
    select x.oid
    from types
    join pg_type t on t.oid = types.oid
    cross join lateral (
      values (t.typbasetype), (t.typelem)
      union all
      select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) x (oid)
    where x.oid <> 0
  )
  select oid from types
$$;
comment on function sno.types(oid[]) is 'The types of the columns of tables and views, with their parts, for sno.catalog().';

-- The settings are pinned, since definitions print constants by them: a DDL message is written in the session that ran the DDL.
drop function if exists sno.catalog(name);
create or replace function sno.catalog(publication name default null, views oid[] default null) returns json
language sql stable
set search_path = pg_catalog, pg_temp
set TimeZone = 'UTC'
set DateStyle = 'ISO'
set IntervalStyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
  with publication as materialized (select coalesce($1, sno.default_publication()) as name),
  below as materialized (select view, relation from sno.below($2)),
  views as materialized (
    select c.oid, n.nspname as schema, c.relname as name, c.relkind as kind, c.relowner as owner, c.reloptions as options,
      case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) else '' end as definition
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid = any (coalesce($2, sno.views()))
  ),
  -- Everything is grouped by view first: searched view by view, the cost would grow with the square of their number.
  access as materialized (select array_agg(v.oid) as views from views v where v.schema <> 'channels'),
  rights as materialized (select r.* from sno.rights(array(select v.oid from views v)) r),
  policies as materialized (select p.* from access a cross join lateral sno.policies(a.views) p where a.views is not null),
  unnoticed as materialized (select u.* from access a cross join lateral sno.unnoticed(a.views) u where a.views is not null),
  tables as materialized (
    select c.oid, c.relnamespace, n.nspname as schema, c.relname as name, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.relispartition,
      case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end as definition
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid in (select relation from below)
  ),
  reads as materialized (
    select b.view, json_agg(b.relation::bigint order by b.relation) as everything,
      json_agg(t.oid::bigint order by t.oid) filter (where t.relkind <> 'v') as tables,
      json_agg(t.oid::bigint order by t.oid) filter (where t.relkind = 'v') as between,
      json_agg(t.definition order by t.oid) filter (where t.relkind in ('v', 'm')) as through
    from below b left join tables t on t.oid = b.relation
    group by b.view
  ),
  secured as materialized (
    select r.view, json_agg(json_build_object(
        'reader', r.reader::regclass::text,
        'relation', r.relation::regclass::text,
        'role', (select rolname from pg_roles where oid = r.role),
        'owner', pg_get_userbyid(c.relowner),
        'isForced', sno.is_secured(c.oid, c.relowner),
        'isInvoker', exists (
          select from pg_options_to_table(i.reloptions) o where o.option_name = 'security_invoker' and o.option_value::boolean)
      ) order by r.reader, r.relation) as secured
    from rights r join pg_class c on c.oid = r.relation join pg_class i on i.oid = r.reader
    where r.is_secured and i.relkind = 'v'
    group by r.view
  ),
  relevant_rights as materialized (
    select r.view, json_agg(json_build_object(
        'relation', r.relation::regclass::text,
        'role', (select rolname from pg_roles where oid = r.role),
        'isReadable', r.is_readable,
        'isSecured', r.is_secured,
        'isByRole', r.is_by_role
      ) order by r.relation, r.role, r.is_readable) as rights
    from rights r
    where not r.is_readable or r.is_secured or r.is_by_role
    group by r.view
  ),
  relevant_policies as materialized (
    select a.view, json_agg(json_build_object(
        'relation', p.polrelid::regclass::text,
        'name', p.polname,
        'isPermissive', p.polpermissive,
        'condition', coalesce(pg_get_expr(p.polqual, p.polrelid), '')
      ) order by p.oid) as policies
    from policies a join pg_policy p on p.oid = a.policy
    group by a.view
  ),
  untold as materialized (select u.view, json_agg(u.what order by u.what) as what from unnoticed u group by u.view),
  published as materialized (select p.oid from sno.published((select name from publication), array(select oid from tables)) p (oid)),
  columns as materialized (select * from sno.columns(array(select v.oid from views v union select t.oid from tables t))),
  paths as materialized (select o.owner, sno.search_path(o.owner) as path from (select distinct v.owner from views v) o),
  -- Without the sources of materialized views: their functions are called only by a REFRESH.
  sources as materialized (
    select array_agg(s.view) as views, array_agg(s.class) as classes, array_agg(s.oid) as oids
    from (
      select v.oid, 'pg_rewrite'::regclass::oid, v.oid from views v
      union all
      select b.view, 'pg_rewrite'::regclass, b.relation from below b join tables t on t.oid = b.relation and t.relkind = 'v'
      union all
      select p.view, 'pg_policy'::regclass, p.policy from policies p
    ) s (view, class, oid)
  ),
  functions as materialized (select f.* from sources s cross join lateral sno.functions(s.views, s.classes, s.oids) f),
  surroundings as materialized (select g.* from sources s cross join lateral sno.surroundings(s.views, s.classes, s.oids) g),
  casts as materialized (
    select c.* from (
      select array_agg(u.view) as views, array_agg(u.oid) as oids
      from sources s cross join lateral unnest(s.views, s.classes, s.oids) u (view, class, oid)
      where u.class = 'pg_rewrite'::regclass) s
    cross join lateral sno.casts_by_text(s.views, s.oids) c
  ),
  columns_read as materialized (
    select c.* from (
      select array_agg(u.view) as views, array_agg(u.oid) as oids
      from sources s cross join lateral unnest(s.views, s.classes, s.oids) u (view, class, oid)
      join views v on v.oid = u.view and v.schema <> 'channels'
      where u.class = 'pg_rewrite'::regclass) s
    cross join lateral sno.columns_read(s.views, s.oids) c
    where s.views is not null
  ),
  types as materialized (select t.oid from sno.types(array(select v.oid from views v union all select t.oid from tables t)) t (oid))
  select json_build_object(
    'version', sno.version(),
    'server', json_build_object('version', current_setting('server_version_num')::integer, 'encoding', getdatabaseencoding()),
    'channels', (
      select coalesce(json_agg(json_build_object(
          'oid', v.oid::bigint,
          'pattern', v.name,
          'kind', v.kind,
          'definition', v.definition,
          'columns', coalesce(c.columns, '[]'),
          'searchPath', p.path,
          'functions', coalesce(f.functions, '[]'),
          'castsByText', coalesce(k.types, '[]'),
          'surroundings', coalesce(e.digest, ''),
          'reads', coalesce(r.everything, '[]'),
          'options', coalesce(to_json(v.options), '[]'),
          'secured', coalesce(s.secured, '[]')
        ) order by v.oid), '[]')
      from views v
      join paths p on p.owner = v.owner
      left join columns c on c.relation = v.oid
      left join functions f on f.view = v.oid
      left join casts k on k.view = v.oid
      left join surroundings e on e.view = v.oid
      left join reads r on r.view = v.oid
      left join secured s on s.view = v.oid
      where v.schema = 'channels' and v.definition is not null),
    'access', (
      select coalesce(json_agg(json_build_object(
          'oid', v.oid::bigint,
          'schema', v.schema,
          'pattern', v.name,
          'kind', v.kind,
          'definition', v.definition,
          'columns', coalesce(c.columns, '[]'),
          'searchPath', p.path,
          'functions', coalesce(f.functions, '[]'),
          'castsByText', coalesce(k.types, '[]'),
          'surroundings', coalesce(e.digest, ''),
          'basis', json_build_object(
            'unnoticed', coalesce(u.what, '[]'),
            'policies', coalesce(o.policies, '[]'),
            'rights', coalesce(g.rights, '[]')),
          'reads', coalesce(r.tables, '[]'),
          'between', coalesce(r.between, '[]'),
          'through', coalesce(r.through, '[]'),
          'columnsRead', coalesce(q.columns, '[]')
        ) order by v.oid), '[]')
      from views v
      join paths p on p.owner = v.owner
      left join columns c on c.relation = v.oid
      left join functions f on f.view = v.oid
      left join casts k on k.view = v.oid
      left join surroundings e on e.view = v.oid
      left join reads r on r.view = v.oid
      left join untold u on u.view = v.oid
      left join relevant_policies o on o.view = v.oid
      left join relevant_rights g on g.view = v.oid
      left join columns_read q on q.view = v.oid
      where v.schema <> 'channels' and v.definition is not null),
    'tables', (
      select coalesce(json_agg(json_build_object(
          'oid', t.oid::bigint,
          'schema', t.schema,
          'name', t.name,
          'kind', t.relkind,
          'persistence', t.relpersistence,
          'replicaIdentity', t.relreplident,
          'columns', coalesce(c.columns, '[]'),
          'definition', case when t.relkind = 'v' then t.definition end,
          'primaryKey', (
            select to_json((i.indkey::int2[])[0:i.indnkeyatts - 1])
            from pg_index i
            where i.indrelid = t.oid and i.indisprimary and i.indimmediate and i.indisvalid),
          'identityIndex', (
            select to_json((i.indkey::int2[])[0:i.indnkeyatts - 1])
            from pg_index i
            where i.indrelid = t.oid and t.relreplident = 'i' and i.indisreplident and i.indisvalid
              -- From 18 on, Postgres accepts an index over columns whose NOT NULL is NOT VALID.
              and not exists (
                select from pg_constraint k
                where k.conrelid = t.oid and k.contype = 'n' and not k.convalidated and k.conkey && (i.indkey::int2[])[0:i.indnkeyatts - 1])),
          'uniqueIndexes', (
            select coalesce(json_agg(json_build_object('name', x.relname, 'columns', to_json((i.indkey::int2[])[0:i.indnkeyatts - 1]),
                -- In a partitioned table, each partition has its own identity.
                'canIdentify', t.relkind = 'r' and not exists (
                  select from pg_attribute a
                  where a.attrelid = t.oid and not a.attnotnull and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
                  and not exists (
                    select from pg_constraint k
                    where k.conrelid = t.oid and k.contype = 'n' and not k.convalidated and k.conkey && (i.indkey::int2[])[0:i.indnkeyatts - 1]))
              order by i.indnkeyatts, x.relname), '[]')
            from pg_index i
            join pg_class x on x.oid = i.indexrelid
            where i.indrelid = t.oid and t.relkind in ('r', 'p') and i.indisunique and not i.indisprimary and i.indimmediate and i.indisvalid
              and i.indpred is null and i.indexprs is null),
          'keyedAs', (
            select coalesce(string_agg(coalesce(k.oid, i.indexrelid)::text, ',' order by i.indisprimary desc), '')
            from pg_index i
            left join pg_constraint k on k.conrelid = t.oid and k.conindid = i.indexrelid and k.contype = 'p'
            where i.indrelid = t.oid and (i.indisprimary or i.indisreplident and t.relreplident = 'i')),
          'rowSecurity', t.relrowsecurity,
          'isPartition', t.relispartition,
          'partitions', (
            select coalesce(json_agg(json_build_object(
                'oid', p.relid::oid::bigint,
                'name', p.relid::regclass::text,
                'kind', c.relkind,
                'persistence', c.relpersistence,
                'replicaIdentity', c.relreplident,
                'attachedAs', (
                  select string_agg(i.version::text, ',' order by i.inhrelid)
                  -- LIMIT makes the planner look up each row: it expects 1,000 ancestors of each partition.
                  from pg_partition_ancestors(p.relid) a cross join lateral (select h.inhrelid, h.xmin from pg_inherits h where h.inhrelid = a.relid limit 1) i (inhrelid, version)),
                'isEmpty', coalesce(pg_relation_size(p.relid) = 0, true),
                'isGuarded', exists (
                  select from pg_trigger g
                  where g.tgrelid = p.relid and g.tgfoid = 'sno.on_truncate()'::regprocedure and g.tgenabled = 'A')
              ) order by p.relid::oid), '[]')
            from pg_partition_tree(t.oid) p
            left join pg_class c on c.oid = p.relid
            where p.isleaf and t.relkind = 'p'),
          'publishedAs', (
            select concat_ws(':', p.oid, p.xmin, r.oid, n.oid, case when to_jsonb(r) ->> 'prexcept' = 'true' then 'except' end)
            from publication u join pg_publication p on p.pubname = u.name
            left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = t.oid
            left join pg_publication_namespace n on n.pnpubid = p.oid and n.pnnspid = t.relnamespace),
          'inherited', exists (
            select from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = t.oid and not c.relispartition),
          'unlikePartitions', (
            select coalesce(json_agg(p.relid::regclass::text order by p.relid::oid), '[]')
            from pg_partition_tree(t.oid) p
            join pg_class c on c.oid = p.relid
            where p.isleaf and t.relkind = 'p' and c.relreplident <> t.relreplident
              -- An old row by identity FULL includes the key.
              and not (t.relreplident = 'd' and c.relreplident = 'f'))
        ) order by t.oid), '[]')
      from tables t left join columns c on c.relation = t.oid),
    'types', (
      select coalesce(json_agg(json_build_object(
          'oid', t.oid::bigint,
          'schema', n.nspname,
          'name', t.typname,
          'kind', t.typtype,
          'category', t.typcategory,
          'element', case when t.typsubscript = 'array_subscript_handler'::regproc then t.typelem::bigint else 0 end,
          'delimiter', t.typdelim,
          'base', t.typbasetype::bigint,
          'baseType', case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
          'labels', case when t.typtype = 'e' then
            (select coalesce(json_agg(e.enumlabel order by e.enumsortorder), '[]') from pg_enum e where e.enumtypid = t.oid) end,
          'fields', case when t.typtype = 'c' then (
            select coalesce(json_agg(json_build_object('name', a.attname, 'typeOid', a.atttypid::bigint) order by a.attnum), '[]')
            from pg_attribute a
            where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) end,
          -- As in json.c: only for types that are not built in, and only casts with a function.
          'jsonCast', (
            select p.provolatile
            from pg_cast c join pg_proc p on p.oid = c.castfunc
            where t.oid >= 16384 and c.castsource = t.oid and c.casttarget = 'json'::regtype and c.castmethod = 'f'),
          'castOfText', exists (
            select from pg_cast c
            where c.castsource = 'text'::regtype and c.casttarget = t.oid and (c.castmethod = 'f' or c.castmethod = 'b'
              and not exists (select from pg_proc p where p.oid = t.typinput and p.prosrc in ('textin', 'bpcharin', 'varcharin')))),
          'castOfTextToArray', t.typarray <> 0 and exists (
            select from pg_cast c where c.castsource = 'text'::regtype and c.casttarget = t.typarray and c.castmethod = 'f'),
          'textCast', exists (
            select from pg_cast c
            where c.castsource = t.oid and c.casttarget = 'text'::regtype
              and not (c.castmethod = 'b' and exists (select from pg_proc p where p.oid = t.typoutput and p.prosrc = 'textout'))),
          'equality', t.typtype in ('e', 'r', 'm') or exists (
            select from pg_operator o
            where o.oprname = '=' and o.oprnamespace = 'pg_catalog'::regnamespace
              and o.oprleft = t.oid and o.oprright = t.oid and (o.oprcanmerge or o.oprcanhash))
        ) order by t.oid), '[]')
      from pg_type t
      join pg_namespace n on n.oid = t.typnamespace
      where t.oid in (select oid from types)),
    'published', (select coalesce(json_agg(p.oid::bigint order by p.oid), '[]') from published p),
    'publishing', (
      select coalesce(json_agg(p.relation::bigint order by p.relation), '[]')
      from sno.publication_tables((select name from publication), array(select oid from tables)) p
      where p.relation not in (select oid from published))
  )
$$;
comment on function sno.catalog(name, oid[]) is 'Channel views, access views and all that they read, in the form that Snö loads (src/channels/catalog/catalog.ts). `views`: only these, with all that they read.';


-- The publication ------------------------------------------------------------------------------------------------

drop function if exists sno.sync_publication(name);
create or replace function sno.sync_publication(publication name default null, views oid[] default null) returns table (relation text, result text, reason text)
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
  candidate record;
  relations oid[] := array(select distinct b.relation from sno.below($2) b);
begin
  for candidate in
    with published as materialized (select * from sno.publication_tables($1, relations))
    select p.pubname, c.oid::regclass::text as name, c.relkind, c.relpersistence, sno.identified(c.oid, p.pubname) as identified,
      r.oid is not null as listed, to_jsonb(r) ->> 'prexcept' = 'true' as excepted,
      (p.oid, c.oid) in (select t.publication_oid, t.relation from published t) as published,
      p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate as complete
    from pg_publication p
    cross join unnest(relations) b (relation)
    cross join lateral (select * from pg_class where oid = b.relation limit 1) c
    left join lateral (select * from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = c.oid limit 1) r on true
    where p.pubname in (select sno.publication_names($1)) and c.relkind <> 'v' and not c.relispartition
    order by p.pubname, c.oid
  loop
    relation := candidate.name;
    begin
      if candidate.identified is false and candidate.listed and candidate.excepted is not true then
        execute format('alter publication %I drop table only %s', candidate.pubname, candidate.name);
        result := 'withdrawn';
        reason := 'it has no primary key or replica identity any more, so that UPDATE and DELETE would fail while it is published';
      elsif candidate.published then
        continue;
      else
        result := 'left out';
        reason := case
          when candidate.relkind = 'm' then 'it is a materialized view: its changes are not in the WAL'
          when candidate.relkind = 'f' then 'it is a foreign table: its changes are not in the WAL'
          when candidate.relpersistence = 'u' then 'it is unlogged: its changes are not in the WAL'
          when candidate.relpersistence = 't' then 'it is temporary'
          when candidate.identified is false then 'it has no primary key or replica identity, so that UPDATE and DELETE would fail while it is published'
          when not candidate.complete then 'the publication leaves out inserts, updates, deletes or truncates'
          when candidate.excepted then 'the publication leaves it out by EXCEPT'
          when candidate.listed then 'it is published with a column list or a row filter'
        end;
        if reason is null then
          execute format('alter publication %I add table only %s', candidate.pubname, candidate.name);
          result := 'added';
        end if;
      end if;
    exception when others then
      result := 'left out';
      reason := sqlerrm;
    end;
    return next;
  end loop;
  perform sno.guard_partitions(relations);
  perform sno.remember_parts(relations);
end
$$;
comment on function sno.sync_publication(name, oid[]) is
  'Adds the tables that channel views and access views read to a publication (without a name: to each one of Snö). Returns the tables that were added, left out or removed, with the reason. Removes only tables on which the app''s own UPDATE and DELETE would fail. `views`: only their tables.';


-- Transactions that were open when a table was published -----------------------------------------------------------

-- Postgres decides for each row by the publication as it was at the row's place in the WAL. So if a transaction wrote to a table
-- before the table was added, Postgres never sends these rows, but sends later ones of the same transaction.

drop function if exists sno.exclude_writers(name);
create or replace function sno.exclude_writers(publication name default null, relations oid[] default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  deadline timestamptz := clock_timestamp() + interval '300 milliseconds';
  read oid[] := coalesce($2, array(select b.relation from sno.below() b));
  item record;
  settled oid[] := '{}';
begin
  for item in
    select t.*, format('lock table %s %s in share row exclusive mode nowait', case c.relkind when 'p' then '' else 'only' end, c.oid::regclass) as lock
    from sno.publication_tables($1, read) t
    join pg_class c on c.oid = t.relation
    where not exists (
      select from sno.publishing p
      where (p.publication, p.relation, p.published_as) = (t.publication_oid, t.relation, t.published_as))
    order by t.relation
  loop
    loop
      begin
        -- NOWAIT: in the lock's queue, writers would wait behind it, and it could cause a deadlock that aborts one of them.
        execute item.lock;
        insert into sno.publishing values (item.publication_oid, item.relation, item.published_as, null)
        on conflict on constraint publishing_pkey do update set published_as = excluded.published_as, writers_before = null;
        settled := settled || item.relation;
        exit;
      exception
        when lock_not_available then
          -- The deadline is for all tables together. sno.settle() handles the rest: it waits for their writers without a lock.
          exit when clock_timestamp() >= deadline;
        when others then
          exit;
      end;
      perform pg_sleep(0.01);
    end loop;
  end loop;
  -- Removed, since a table that is published again may have the same entry.
  delete from sno.publishing p
  where p.publication in (select o.oid from pg_publication o where o.pubname in (select sno.publication_names($1)))
      and case when $2 is null then (p.publication, p.relation) not in (select t.publication_oid, t.relation from sno.publication_tables($1) t)
        else p.relation = any ($2) and (p.publication, p.relation) not in (select t.publication_oid, t.relation from sno.publication_tables($1, $2) t) end
    or not exists (select from pg_class c where c.oid = p.relation)
    or not exists (select from pg_publication o where o.oid = p.publication);
  -- Views that this transaction did not touch may be served now, too.
  update sno.ddl d
  set told = d.told || array(
    select distinct a.schema || ':' || a.name
    from sno.above(array_fill('pg_class'::regclass::oid, array[cardinality(settled)]), settled) a)
  where settled <> '{}' and d.transaction = pg_current_xact_id_if_assigned();
end
$$;
comment on function sno.exclude_writers(name, oid[]) is 'Locks each newly published table for a moment: once the lock is granted, no earlier writer of the table is left. `relations`: only these tables.';

create or replace function sno.writers_before(relation oid, bound xid8) returns table (pid integer, transaction xid)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with locks as materialized (select * from pg_locks where granted)
  select distinct x.pid, x.transactionid
  from locks l
  join locks x on x.virtualtransaction = l.virtualtransaction and x.pid is not distinct from l.pid
  where l.locktype = 'relation' and l.mode in ('RowExclusiveLock', 'AccessExclusiveLock')
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
    and l.relation in (select $1 union all select p.relid from pg_partition_tree($1) p)
    and x.locktype = 'transactionid' and x.mode = 'ExclusiveLock'
    and age(x.transactionid) > age($2::xid)
$$;
comment on function sno.writers_before(oid, xid8) is 'The open transactions before a given one that may have changed a table: a transaction that changes a row holds a lock on its table until it ends.';

create or replace function sno.settle(publication name default null, tells boolean default true) returns table (relation text, writers text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  new sno.publishing[];
  views text[];
begin
  -- A transaction that wrote before the change of the publication already had its id then. So its id is lower than one that is
  -- assigned after this query has seen the change. That does not hold if this transaction already has its id.
  if pg_current_xact_id_if_assigned() is null then
    select array_agg((t.publication_oid, t.relation, t.published_as, null)::sno.publishing) into new
    from sno.publication_tables($1, array(select distinct b.relation from sno.below() b)) t
    where not exists (
      select from sno.publishing p
      where (p.publication, p.relation, p.published_as) = (t.publication_oid, t.relation, t.published_as));
    insert into sno.publishing (publication, relation, published_as, writers_before)
    select n.publication, n.relation, n.published_as, pg_current_xact_id() from unnest(new) n
    on conflict on constraint publishing_pkey do update set published_as = excluded.published_as, writers_before = excluded.writers_before;
  end if;
  with settled as (
    update sno.publishing p set writers_before = null
    where p.writers_before is not null and not exists (select from sno.writers_before(p.relation, p.writers_before))
    returning p.relation
  )
  select array_agg(distinct a.schema || ':' || a.name) into views
  from settled s cross join lateral sno.above('pg_class'::regclass, s.relation) a;
  if tells and views is not null then
    perform sno.note(views, false);
  end if;
  return query
    select p.relation::regclass::text, string_agg(
      case when w.pid is null
        then format('the prepared transaction %L (user %s, for %s s)', x.gid, x.owner, floor(extract(epoch from now() - x.prepared)))
        else format('pid %s (user %s, %s, running for %s s)', w.pid, a.usename, a.state, floor(extract(epoch from now() - a.xact_start))) end,
      '; ' order by w.pid)
    from sno.publishing p
    cross join lateral sno.writers_before(p.relation, p.writers_before) w
    left join pg_stat_activity a on a.pid = w.pid
    left join pg_prepared_xacts x on x.transaction = w.transaction and w.pid is null
    where p.writers_before is not null
    group by p.relation;
end
$$;
comment on function sno.settle(name, boolean) is
  'Checks whether the earlier writers of newly published tables have ended. Returns the open ones. `tells`: whether to report in the WAL the channels that can be served now.';


-- Published messages ---------------------------------------------------------------------------------------------

-- `anycompatible` accepts json, jsonb, rows and untyped literals. With one function for each type, a literal would be ambiguous.
create or replace function sno.publish(channel text, data anycompatible, event text, except_socket text) returns void
language plpgsql volatile parallel unsafe set search_path = pg_catalog, pg_temp
as $$
declare
  content text;
begin
  -- All bytes of values outside A-Za-z0-9_.~- are percent-encoded, and no others: a channel has one name.
  if channel is null or octet_length(channel) > 1024
    or channel !~ '^([A-Za-z0-9_.:/~-]|%(?!2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{2})+$' then
    raise exception 'sno.publish: % is no channel name', coalesce(quote_literal(left(channel, 100)), 'null')
      using errcode = 'invalid_parameter_value',
        hint = 'Write it as clients subscribe to it, at most 1,024 bytes: values as Postgres prints them, with every byte outside A-Za-z0-9_.~- as %XX.';
  end if;
  if event is null or event = '' or octet_length(event) > 255 or event ~ '[\u0001-\u001F\u007F]' then
    raise exception 'sno.publish: the event must have 1 to 255 bytes and no control characters'
      using errcode = 'invalid_parameter_value', hint = 'Name what happened, such as wave.';
  end if;
  if except_socket !~ '^[0-9]{1,20}[.][0-9]{1,20}$' then
    raise exception 'sno.publish: % is no socket id', quote_literal(left(except_socket, 100))
      using errcode = 'invalid_parameter_value', hint = 'Pass the id that the Pusher client knows of its connection, or null.';
  end if;
  begin
    content := case when pg_typeof(data) in ('text'::regtype, 'varchar'::regtype) then data::text::json::text else to_json(data)::text end;
  exception when invalid_text_representation then
    raise exception 'sno.publish: the data is not JSON: %', left(sqlerrm, 200)
      using errcode = 'invalid_text_representation', hint = 'Pass json or jsonb, or text that is JSON; to_json() makes JSON of any value.';
  end;
  -- Snö sends the bytes unchanged, so they must be UTF-8, in a database of another encoding too.
  perform pg_logical_emit_message(true, 'sno.publish', convert_to(
    channel || coalesce(E'\t' || except_socket, '') || E'\n' || event || E'\n' || coalesce(content, 'null'), 'UTF8'));
end
$$;
comment on function sno.publish(text, anycompatible, text, text) is
  'Like sno.publish with three arguments. `except_socket`: the Pusher client with this socket id does not receive the message; null: all clients do.';

-- A separate function, so that the app's functions that call it in a SQL-standard body stay valid.
create or replace function sno.publish(channel text, data anycompatible, event text default 'message') returns void
language plpgsql volatile parallel unsafe set search_path = pg_catalog, pg_temp
as $$
begin
  perform sno.publish(channel, data, event, null);
end
$$;
comment on function sno.publish(text, anycompatible, text) is
  'Sends a message to a channel when the transaction commits, in commit order with all changes: select sno.publish(''room:7'', ''{"hi":1}'', event => ''wave'').';

create or replace function sno.trace(traceparent text) returns void
language plpgsql volatile parallel unsafe set search_path = pg_catalog, pg_temp
as $$
begin
  if traceparent is null or traceparent !~ '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' then
    raise exception 'sno.trace: % is no traceparent', coalesce(quote_literal(left(traceparent, 100)), 'null')
      using errcode = 'invalid_parameter_value',
        hint = 'Pass the traceparent of W3C Trace Context, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.';
  end if;
  perform pg_logical_emit_message(true, 'sno.trace', traceparent);
end
$$;
comment on function sno.trace(text) is 'Names the trace of this transaction (W3C traceparent): its events carry it as `trace`. The last call counts.';


-- The service's role -----------------------------------------------------------------------------------------------

drop function if exists sno.lacking(name);
create or replace function sno.lacking(role name, views oid[] default null) returns table (object text, statement text, is_essential boolean)
language sql stable set search_path = pg_catalog, pg_temp
set work_mem = '64kB'
as $$
  with recursive
  -- A role that does not exist yet has the rights of PUBLIC.
  grantee (name) as (select coalesce((select rolname from pg_roles where rolname = $1), 'public')),
  own (oid) as (select oid from pg_namespace where nspname in ('sno', 'channels', 'channel_access', 'channel_presence', 'channel_send')),
  relation as (
    select c.oid, c.relnamespace, true as is_essential
    from unnest(coalesce($2, sno.views())) v (oid)
    cross join lateral (select * from pg_class c where c.oid = v.oid limit 1) c
    where c.relkind in ('v', 'm')
    union all
    select c.oid, c.relnamespace, false
    from (select distinct b.relation as oid from sno.below($2) b) b
    cross join lateral (select * from pg_class c where c.oid = b.oid limit 1) c
    where c.relkind in ('r', 'p', 'v', 'm')
      and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    union all
    select 'sno.settings'::regclass, 'sno'::regnamespace, true
  ),
  used (class, object) as (
    select d.refclassid, d.refobjid
    from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    where r.ev_class in (select oid from relation)
    union
    select 'pg_type'::regclass, a.atttypid
    from pg_attribute a
    where a.attrelid in (select oid from relation) and a.attnum > 0 and not a.attisdropped
  ),
  -- For domains and arrays, also their base and element types: Postgres evaluates views over values of these.
  part (type) as (
    select u.object from used u where u.class = 'pg_type'::regclass
    union
    select x.type from part join pg_type t on t.oid = part.type cross join lateral (values (t.typbasetype), (t.typelem)) x (type)
    where x.type <> 0
  ),
  routine as (
    select p.oid, p.pronamespace, p.pronamespace = to_regnamespace('sno') as is_essential
    from pg_proc p
    where p.pronamespace = to_regnamespace('sno') and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
      or p.oid >= 16384 and p.oid in (
        select object from used where class = 'pg_proc'::regclass
        union all
        select o.oprcode from used join pg_operator o on class = 'pg_operator'::regclass and o.oid = object)
  ),
  -- The schemas in which the bodies of functions look names up.
  path (schema) as (
    select distinct coalesce(replace(m[1], '""', '"'), m[2])
    from pg_class c
    cross join lateral regexp_matches(sno.search_path(c.relowner), '"((?:[^"]|"")*)"|([^\s,"]+)', 'g') m
    where c.oid in (select r.oid from relation r where r.is_essential) and exists (select from routine r where not r.is_essential)
  ),
  namespace as (
    select n.oid, n.nspname, n.oid in (select oid from own) as is_essential
    from pg_namespace n
    where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and n.oid in (
      select oid from own
      union all select relnamespace from relation
      union all select pronamespace from routine
      union all select t.typnamespace from part join pg_type t on t.oid = part.type
      union all select l.collnamespace from pg_attribute a join pg_collation l on l.oid = a.attcollation
        where a.attrelid in (select oid from relation) and a.attnum > 0 and not a.attisdropped
      union all select s.oid from path join pg_namespace s on s.nspname = path.schema and s.nspname !~ '^pg_')
  )
  select format('schema %I', n.nspname), format('grant usage on schema %I to %I;', n.nspname, $1), n.is_essential
  from namespace n cross join grantee g where not has_schema_privilege(g.name, n.oid, 'usage')
  union all
  select r.oid::regclass::text, format('grant select on %s to %I;', r.oid::regclass, $1), bool_or(r.is_essential)
  from relation r cross join grantee g where not has_table_privilege(g.name, r.oid, 'select') group by r.oid
  union all
  select r.oid::regprocedure::text, format('grant execute on routine %s to %I;', r.oid::regprocedure, $1), r.is_essential
  from routine r cross join grantee g where not has_function_privilege(g.name, r.oid, 'execute')
$$;
comment on function sno.lacking(name, oid[]) is 'The rights that the service needs and a role lacks: to start (essential), or to read the tables and call the functions below views. `views`: only for these.';

drop function if exists sno.grant_service();
create or replace function sno.grant_service(views oid[] default null) returns table (object text, reason text)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  item record;
begin
  for item in
    select l.object, l.statement from sno.service_roles() s (name) cross join lateral sno.lacking(s.name, $1) l
  loop
    begin
      execute item.statement;
    exception when others then
      object := item.object;
      reason := sqlerrm;
      return next;
    end;
  end loop;
end
$$;
comment on function sno.grant_service(oid[]) is 'Grants the roles of the services (sno.publications) the rights that they lack. Returns those that could not be granted. `views`: only for these.';

drop function if exists sno.remember_catalog(text);
create or replace function sno.remember_catalog(catalog text, publication name) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  insert into sno.settings (name, value) values ('catalog of ' || $2, $1)
  on conflict (name) do update set value = excluded.value
  returning true
$$;
comment on function sno.remember_catalog(text, name) is 'Stores the definitions that were reported last, for databases without event triggers.';


-- Slot generations -----------------------------------------------------------------------------------------------

create or replace function sno.slot_epoch(slot text, out system_identifier text, out timeline integer, out current_timeline integer, out generation integer)
returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select s.system_identifier, s.timeline, s.current_timeline, s.generation from sno.slot s where s.name = $1 $$;
comment on function sno.slot_epoch(text) is 'The history that a slot continues; no row if Snö never used the slot.';

create or replace function sno.next_generation(slot text, system_identifier text, timeline integer) returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  insert into sno.slot as s (name, generation, system_identifier, timeline, current_timeline) values ($1, 1, $2, $3, $3)
  on conflict (name) do update
    set generation = s.generation + 1, system_identifier = excluded.system_identifier, timeline = excluded.timeline, current_timeline = excluded.timeline, created_at = now()
  returning s.generation
$$;
comment on function sno.next_generation(text, text, integer) is 'Begins a new history on a slot: the slot was created, or its stream does not continue the earlier one. Returns the generation.';

create or replace function sno.same_history(slot text, timeline integer) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$ update sno.slot s set current_timeline = $2 where s.name = $1 $$;
comment on function sno.same_history(text, integer) is 'Call it after a promotion that kept the slot: its history continues on another timeline.';


-- DDL into the WAL (the event triggers are in 000002_event_trigger.sql) ------------------------------------------

drop function if exists sno.note(text[], boolean);
drop function if exists sno.note(text[], boolean, text[]);
create or replace function sno.note(touched text[], publish boolean, voided text[] default '{}', states text[] default '{}') returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  insert into sno.ddl as d (transaction, touched, publish, voided, states) values (pg_current_xact_id(), $1, $2, $3, $4)
  on conflict (transaction) do update
    set touched = d.touched || excluded.touched, publish = d.publish or excluded.publish,
      voided = d.voided || excluded.voided, states = d.states || excluded.states
$$;
comment on function sno.note(text[], boolean, text[], text[]) is 'Notes views that this transaction touches. The first call causes sno.send_catalog() at the commit.';

-- Postgres sends a row by the table's state when the row was written. If a table is unlogged or unpublished for a while, rows are
-- missing, although the table looks the same before and after.
create or replace function sno.state(relation oid) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select md5(concat_ws(' ', c.relpersistence, c.relreplident,
    (
      select string_agg(concat_ws(':', p, p.xmin, r.oid, n.oid), ' ' order by p.oid)
      from pg_publication p
      left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
      left join pg_publication_namespace n on n.pnpubid = p.oid and n.pnnspid = c.relnamespace
      where p.pubname in (select sno.publication_names())),
    (
      select string_agg(concat_ws(':', i.indexrelid, i.indisprimary, i.indisvalid), ' ' order by i.indexrelid)
      from pg_index i where i.indrelid = c.oid and (i.indisprimary or i.indisreplident)),
    (
      select string_agg(concat_ws(':', a.attnum, a.attgenerated, e.adbin), ' ' order by a.attnum)
      from pg_attribute a join pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
      where a.attrelid = c.oid and a.attgenerated <> ''),
    (
      select string_agg(concat_ws(':', g.oid, g.tgenabled), ' ' order by g.oid)
      from pg_trigger g where g.tgrelid = c.oid and g.tgfoid = 'sno.on_truncate()'::regprocedure and g.tgenabled <> 'A')))
  from pg_class c where c.oid = $1
$$;
comment on function sno.state(oid) is 'A digest of all properties that decide whether and how Postgres sends the changes of a table.';

create or replace function sno.voided_by(states text[]) returns text[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(distinct a.schema || ':' || a.name), '{}')
  from (
    select distinct split_part(s, ' ', 1)::oid as relation from unnest($1) s
    where sno.state(split_part(s, ' ', 1)::oid) <> split_part(s, ' ', 2)
  ) o
  cross join lateral sno.above('pg_class'::regclass, o.relation) a
$$;
comment on function sno.voided_by(text[]) is 'The views above tables whose state differs now from one of these earlier states (`OID STATE`).';

create or replace function sno.on_ddl() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  -- The objects that the command named.
  classes oid[];
  objects oid[];
  -- Of these, newly created partitions.
  fresh oid[] := '{}';
  -- Further functions and relations that it changed.
  functions oid[];
  relations oid[] := '{}';
  is_departure boolean;
  touched text[];
  voided text[];
  states text[];
  partitioned text[];
  deprived text[];
  root oid;
  item oid;
  stack text;
begin
  -- Frequent commands that change no meaning and no row. All others are examined, including those of later versions: docs/ddl.md.
  if tg_tag in ('COMMENT', 'CREATE INDEX', 'CREATE SEQUENCE', 'ALTER SEQUENCE', 'CREATE STATISTICS', 'SECURITY LABEL') then
    return;
  end if;
  -- Snö's own triggers change no meaning.
  get diagnostics stack = pg_context;
  if position('sno.guard_partitions(oid[])' in stack) > 0 then
    return;
  end if;
  -- This function runs at every DDL command. The first run of a query in a session is expensive, since it is planned. So each query
  -- runs only if the command can affect its result.
  select array_agg(e.classid), array_agg(e.objid), bool_or(tg_tag = 'ALTER SCHEMA' or tg_tag like 'ALTER%' and e.object_type = 'view')
  into classes, objects, is_departure
  from pg_event_trigger_ddl_commands() e
  where e.schema_name is distinct from 'pg_temp' and e.classid is not null;
  if tg_tag in ('CREATE TABLE', 'ALTER TABLE') then
    if tg_tag = 'CREATE TABLE' then
      fresh := array(
        select o.oid from unnest(objects) o (oid)
        cross join lateral (select c.relispartition from pg_class c where c.oid = o.oid limit 1) c
        where c.relispartition);
    end if;
    -- Triggers for a TRUNCATE that follows in the same transaction.
    for root, item in
      select coalesce(pg_partition_root(c.oid)::oid, c.oid), min(c.oid)
      from unnest(classes, objects) o (class, oid)
      cross join lateral (select * from pg_class c where c.oid = o.oid limit 1) c
      where o.class = 'pg_class'::regclass and (c.relkind = 'p' or c.relispartition)
      group by 1
    loop
      if exists (select from sno.above('pg_class'::regclass, item)) then
        perform sno.guard_partitions(array[root]);
      end if;
    end loop;
  end if;
  if classes && array['pg_publication'::regclass::oid, 'pg_publication_rel'::regclass, 'pg_publication_namespace'::regclass] then
    with command as (
      select c.classid, c.objid from unnest(classes, objects) c (classid, objid)
    ),
    publication_table as (
      -- ALTER PUBLICATION ... ADD TABLE: Snö's own, and the user's.
      select r.prrelid as relation from command c join pg_publication_rel r on c.classid = 'pg_publication_rel'::regclass and r.oid = c.objid
      join pg_publication p on p.oid = r.prpubid and p.pubname in (select sno.publication_names())
      union
      -- ALTER PUBLICATION ... ADD TABLES IN SCHEMA.
      select t.oid from command c join pg_publication_namespace n on c.classid = 'pg_publication_namespace'::regclass and n.oid = c.objid
      join pg_publication p on p.oid = n.pnpubid and p.pubname in (select sno.publication_names())
      join pg_class t on t.relnamespace = n.pnnspid and t.oid in (select b.relation from sno.below() b)
      union
      -- The publication itself: created, altered or renamed. Rows that are written meanwhile may never be sent.
      select b.relation from sno.below() b
      where exists (
        select from command c
        where c.classid = 'pg_publication'::regclass
          and (exists (select from pg_publication p where p.oid = c.objid and p.pubname in (select sno.publication_names()))
            or exists (select from sno.publication_names() o (name) where o.name not in (select pubname from pg_publication))))
    )
    select coalesce(array_agg(t.relation), '{}') into relations from publication_table t;
  end if;
  if 'pg_class'::regclass::oid = any (classes) then
    -- NO INHERIT: the parent loses the rows of the child.
    relations := relations || array(
      select h.parent from sno.children h
      where h.child = any (objects) and not exists (select from pg_inherits i where i.inhparent = h.parent and i.inhrelid = h.child));
  end if;
  if tg_tag = 'ALTER TABLE' then
    -- DETACH PARTITION: Postgres names only the table that loses the partition, and views may read the partition directly.
    relations := relations || array(
      select p.relation
      from sno.partitions p
      where p.root in (select coalesce(pg_partition_root(o.oid)::oid, o.oid) from unnest(objects) o (oid))
        and pg_partition_root(p.relation) is distinct from p.root::regclass);
  end if;
  if 'pg_proc'::regclass::oid = any (classes) then
    -- Functions that may call this one, by their text.
    functions := array(
      select sno.callers(array_agg(p.proname::text), array_agg(p.oid))
      from unnest(classes, objects) o (class, oid)
      cross join lateral (select * from pg_proc p where p.oid = o.oid limit 1) p
      where o.class = 'pg_proc'::regclass);
  end if;
  if tg_tag in ('REVOKE', 'DROP OWNED') then
    -- Postgres does not report which rights were revoked.
    select array_agg(distinct s.nspname || ':' || v.relname) into deprived
    from sno.rights(array(
      select c.oid from pg_class c
      where c.relnamespace in (select n.oid from pg_namespace n where n.nspname in ('channel_access', 'channel_presence', 'channel_send'))
        and c.relkind = 'v')) r
    join pg_class v on v.oid = r.view
    join pg_namespace s on s.oid = v.relnamespace
    where not r.is_readable or tg_tag = 'DROP OWNED' and r.is_secured;
  end if;
  classes := classes || array_fill('pg_class'::regclass::oid, array[cardinality(relations)])
    || array_fill('pg_proc'::regclass::oid, array[coalesce(cardinality(functions), 0)]);
  objects := objects || relations || functions;
  with above as (
    select a.class, a.object, a.schema || ':' || a.name as view,
      a.class = 'pg_class'::regclass and a.object = any (fresh) and a.object <> all (relations) as is_new_partition
    from sno.above(classes, objects) a
  )
  -- A new partition is empty, so subscribers' rows do not change.
  select coalesce(array_agg(distinct a.view) filter (where not a.is_new_partition), '{}'),
    -- Text search: the same query may find other words.
    coalesce(array_agg(distinct a.view) filter (where a.class in (
      'pg_ts_config'::regclass, 'pg_ts_dict'::regclass, 'pg_ts_parser'::regclass, 'pg_ts_template'::regclass)), '{}'),
    array_agg(distinct a.view) filter (where a.is_new_partition)
  into touched, voided, partitioned
  from above a;
  touched := touched || deprived;
  -- A renamed view or schema may have been a channel's under its old name.
  if touched = '{}' and partitioned is null and is_departure is not true then
    return;
  end if;
  states := array(
    select o.oid || ' ' || sno.state(o.oid)
    from (select distinct o.oid from unnest(classes, objects) o (class, oid) where o.class = 'pg_class'::regclass) o
    cross join lateral (select * from pg_class c where c.oid = o.oid and c.relkind in ('r', 'p') limit 1) c
    where (o.oid <> all (fresh) or o.oid = any (relations)) and exists (select from sno.above('pg_class'::regclass, o.oid)));
  -- After ALTER PUBLICATION, publishes nothing: an operator may have removed a table on purpose.
  perform sno.note(touched, tg_tag <> 'ALTER PUBLICATION', voided, states);
  if partitioned is not null then
    update sno.ddl d set told = d.told || partitioned where d.transaction = pg_current_xact_id();
  end if;
exception when others then
  raise warning 'Snö did not notice this % at once: %', tg_tag, sqlerrm
    using hint = 'Snö compares its channels with the database every few seconds. Rows that this transaction writes may be missing until its clients subscribe again.';
end
$$;
comment on function sno.on_ddl() is 'Notes DDL that touches a channel view, an access view or an object that one depends on. Never fails.';

create or replace function sno.on_drop() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  kinds text[];
  touched text[];
  voided text[] := '{}';
  -- The dropped relations.
  relations oid[];
  -- Existing tables that lost a partition, a child, their place in the publication, a policy or their identity (`bereaved`),
  -- or their TRUNCATE trigger (`unguarded`).
  bereaved oid[] := '{}';
  unguarded oid[] := '{}';
  classes oid[];
  objects oid[];
begin
  -- As in sno.on_ddl(), each query runs only if the command can affect its result.
  select array_agg(distinct d.object_type), array_agg(d.objid) filter (where d.classid = 'pg_class'::regclass),
    array_agg(distinct d.schema_name || ':' || d.object_name) filter (
      where d.schema_name in ('channels', 'channel_access', 'channel_presence', 'channel_send') and d.object_type in ('view', 'materialized view', 'table', 'foreign table'))
  into kinds, relations, touched
  from pg_event_trigger_dropped_objects() d where not d.is_temporary;
  if kinds is null then
    return;
  end if;
  if relations is not null then
    bereaved := array(
      select p.root from sno.partitions p where p.relation = any (relations)
      union
      select h.parent from sno.children h where h.child = any (relations)
      union
      -- A unique index makes a join find one row.
      select u.relation from sno.unique_indexes u where u.index = any (relations) and u.relation <> all (relations));
  end if;
  if kinds && array['policy', 'publication relation', 'publication excluded relation', 'trigger', 'table constraint'] then
    select bereaved || coalesce(array_agg(o.oid) filter (where not o.is_guard), '{}'), coalesce(array_agg(o.oid) filter (where o.is_guard), '{}')
    into bereaved, unguarded
    from (
      select to_regclass(quote_ident(d.address_names[1]) || '.' || quote_ident(d.address_names[2]))::oid as oid, d.object_type = 'trigger' as is_guard, d.object_type
      from pg_event_trigger_dropped_objects() d
      where not d.is_temporary and (
        d.object_type in ('policy', 'table constraint')
        or d.classid = 'pg_publication_rel'::regclass and d.address_args[1] in (select sno.publication_names())
        or d.object_type = 'trigger' and d.address_names[3] in ('sno_truncate', 'sno_truncated'))
    ) o
    where o.oid is not null and case when o.object_type = 'table constraint' then sno.identified(o.oid) is false else true end;
  end if;
  -- DROP TABLE drops only the table's own indexes, unless columns of other tables are dropped too.
  if 'index' = any (kinds) and (tg_tag <> 'DROP TABLE' or 'table column' = any (kinds)) then
    bereaved := bereaved || array(
      select c.oid from pg_class c
      where c.relreplident = 'i' and not exists (select from pg_index i where i.indrelid = c.oid and i.indisreplident and i.indisvalid));
  end if;
  if kinds && array['publication', 'publication namespace'] and exists (
    select from pg_event_trigger_dropped_objects() d
    where d.object_type = 'publication' and d.object_name in (select sno.publication_names())
      or d.object_type = 'publication namespace' and d.address_args[1] in (select sno.publication_names()))
  then
    bereaved := bereaved || array(select b.relation from sno.below() b);
  end if;
  objects := bereaved || unguarded;
  classes := array_fill('pg_class'::regclass::oid, array[cardinality(objects)]);
  if 'cast' = any (kinds) then
    select classes || array_fill('pg_type'::regclass::oid, array[count(*)::integer]), objects || coalesce(array_agg(to_regtype(d.address_names[1])::oid), '{}')
    into classes, objects
    from pg_event_trigger_dropped_objects() d
    where not d.is_temporary and d.object_type = 'cast' and to_regtype(d.address_names[1]) is not null
      and to_regtype(d.address_args[1]) in ('json'::regtype, 'text'::regtype);
  end if;
  if kinds && array['function', 'procedure', 'aggregate', 'routine'] then
    with gone as (
      select array_agg(d.address_names[2]) as names from pg_event_trigger_dropped_objects() d where not d.is_temporary and d.classid = 'pg_proc'::regclass
    )
    select classes || array_fill('pg_proc'::regclass::oid, array[count(f)::integer]), objects || coalesce(array_agg(f) filter (where f is not null), '{}')
    into classes, objects
    from gone left join lateral sno.callers(gone.names) f on true;
  end if;
  if objects <> '{}' then
    select touched || array_agg(distinct a.schema || ':' || a.name),
      coalesce(array_agg(distinct a.schema || ':' || a.name) filter (where a.class = 'pg_class'::regclass and a.object = any (unguarded)), '{}')
    into touched, voided
    from sno.above(classes, objects) a;
  end if;
  if touched is not null then
    perform sno.note(touched, tg_tag not in ('ALTER PUBLICATION', 'DROP PUBLICATION'), voided);
  end if;
exception when others then
  raise warning 'Snö did not notice this % at once: %', tg_tag, sqlerrm
    using hint = 'Snö compares its channels with the database every few seconds.';
end
$$;
comment on function sno.on_drop() is 'Notes that a channel view or access view was dropped, or an object that one depends on. Never fails.';

create or replace function sno.views_named(names text[]) returns oid[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(c.oid), '{}')
  from (select distinct split_part(n.name, ':', 1) as schema, substr(n.name, strpos(n.name, ':') + 1) as name from unnest($1) n (name)) n
  join pg_namespace s on s.nspname = n.schema and s.nspname in ('channels', 'channel_access', 'channel_presence', 'channel_send')
  cross join lateral (select * from pg_class c where c.relname = n.name and c.relnamespace = s.oid limit 1) c
$$;
comment on function sno.views_named(text[]) is 'The channel views and access views of these names (`SCHEMA:NAME`) that exist.';

-- Runs once for each transaction, at its commit: many views that are created together send the catalog once.
create or replace function sno.send_catalog() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  item record;
  -- Read before the ALTERs below, which are noted too: these change no rows of subscribers.
  noted sno.ddl := (select d from sno.ddl d where d.transaction = new.transaction);
  -- Read after them: the message includes the changed tables.
  noted_last sno.ddl;
  voided text[];
  -- The views that the message describes; null: all.
  views oid[];
  -- The relations that they read.
  relations oid[];
  told json;
  in_turn boolean;
  -- For the locks of partitions, without waiting in their queues.
  deadline timestamptz := clock_timestamp() + interval '100 milliseconds';
begin
  voided := noted.voided || sno.voided_by(noted.states);
  if not noted.is_whole then
    views := sno.views_named(noted.touched || noted.told || voided);
  end if;
  begin
    relations := array(select distinct b.relation from sno.below(views) b);
    -- A new partition does not take its root's replica identity by itself.
    for item in
      select p.relid::regclass::text as name
      from pg_class root
      cross join lateral pg_partition_tree(root.oid) p
      join pg_class leaf on leaf.oid = p.relid
      where root.relkind = 'p' and root.relreplident = 'f' and p.isleaf and leaf.relreplident <> 'f' and leaf.relkind = 'r'
        and root.oid = any (relations)
    loop
      loop
        begin
          execute format('lock table only %s in access exclusive mode nowait', item.name);
          execute format('alter table only %s replica identity full', item.name);
          exit;
        exception when others then
          if sqlstate <> '55P03' or clock_timestamp() >= deadline then
            raise warning 'Snö could not give the partition % its root''s replica identity: %', item.name, sqlerrm
              using hint = format('Run: alter table only %s replica identity full', item.name);
            exit;
          end if;
        end;
        perform pg_sleep(0.01);
      end loop;
    end loop;
    if noted.publish then
      for item in select * from sno.sync_publication(null, views) where result <> 'added' loop
        raise warning 'Snö: the table % is not published: %', item.relation, item.reason;
      end loop;
    else
      perform sno.guard_partitions(relations);
      perform sno.remember_parts(relations);
    end if;
    for item in select * from sno.grant_service(views) loop
      raise warning 'Snö: its service may not read %: %', item.object, item.reason;
    end loop;
    perform sno.exclude_writers(null, relations);
  exception when others then
    raise warning 'Snö could not bring its publication up to date: %', sqlerrm using hint = 'Run: select * from sno.sync_publication();';
  end;
  delete from sno.ddl d where d.transaction = new.transaction returning * into noted_last;
  if not noted_last.is_whole then
    views := sno.views_named(noted_last.touched || noted_last.told || noted_last.voided || voided);
  end if;
  -- Transactions write catalogs one after the other, each until its commit: a catalog must include the changes of those that commit
  -- before it. A transaction that cannot get the lock in time, or whose snapshot is older (repeatable read), reports only the
  -- touched views. Snö then asks for the catalog by sno.retell().
  begin
    -- A prepared transaction (which has no process) may hold the lock for hours.
    in_turn := current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
      and not exists (select from pg_locks where relation = 'sno.turn'::regclass and database = (select oid from pg_database where datname = current_database()) and granted and pid is null);
    if in_turn then
      lock table sno.turn in share row exclusive mode;
    end if;
  exception when others then
    in_turn := false;
  end;
  -- Views that another transaction is dropping are locked, or vanish while they are read. So this retries, but not for long, since
  -- that transaction may wait for this one. Without success, only the touched views are reported.
  perform set_config('lock_timeout', '100ms', true);
  for item in select p.name from sno.publications p order by p.name loop
    told := null;
    for attempt in 1..4 loop
      exit when not in_turn;
      -- Rolled back to a savepoint, so that no lock remains: printing definitions locks their tables and views, and this
      -- transaction may be prepared.
      begin
        told := sno.catalog(item.name, views);
        raise exception using errcode = 'SNO01';
      exception
        when sqlstate 'SNO01' then exit;
        when others then perform pg_sleep(0.01 * attempt);
      end;
    end loop;
    perform pg_logical_emit_message(true, 'sno.catalog', convert_to(json_build_object(
      'key', (select s.value from sno.settings s where s.name = 'catalog_key'),
      'transaction', pg_current_xact_id()::text,
      'publication', item.name,
      'touched', array(select distinct unnest(noted.touched || voided) order by 1),
      'voided', array(select distinct unnest(voided) order by 1),
      -- A view that is missing in this list was dropped, even if it was renamed before.
      'views', case when views is not null then array(select v.oid::bigint from unnest(sno.views()) v (oid) order by v.oid) end,
      'catalog', told)::text, 'UTF8'));
  end loop;
  return null;
exception when others then
  -- Snö's own call fails instead, and is retried.
  if current_setting('sno.must_tell', true) = 'on' then
    raise;
  end if;
  raise warning 'Snö did not notice the DDL of this transaction at once: %', sqlerrm
    using hint = 'Snö compares its channels with the database every few seconds. Rows that this transaction wrote may be missing until its clients subscribe again.';
  return null;
end
$$;
comment on function sno.send_catalog() is 'Adds tables to the publications, and writes the catalog to the WAL for the reader of each publication, within the transaction that changed it. Never fails, unless sno.must_tell is on.';

drop function if exists sno.retell();
create or replace function sno.retell(touched text[] default '{}') returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select sno.note($1, $1 <> '{}');
  update sno.ddl d set is_whole = true where $1 = '{}' and d.transaction = pg_current_xact_id();
$$;
comment on function sno.retell(text[]) is 'Writes the catalog to the WAL again: after a commit that could report only the touched views, or that no trigger noted.';

drop trigger if exists send_catalog on sno.ddl;
create constraint trigger send_catalog after insert on sno.ddl
  deferrable initially deferred for each row execute function sno.send_catalog();
comment on trigger send_catalog on sno.ddl is 'Runs when the transaction commits.';
-- Logical replication and restores run with session_replication_role = replica.
alter table sno.ddl enable always trigger send_catalog;


-- Changes that no trigger reports -----------------------------------------------------------------------------------

create or replace function sno.fingerprint() returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with recursive space as materialized (select oid from pg_namespace where nspname !~ '^pg_(temp|toast)'),
  class as materialized (
    select * from pg_class where relnamespace in (select oid from space) and relkind in ('r', 'p', 'v', 'm', 'f', 'c')
  ),
  -- The roles whose rights apply when views are read, and the roles that these are members of.
  role (oid) as (
    select relowner from class where relkind in ('v', 'm')
    union
    select r.oid from sno.service_roles() s (name) join pg_roles r on r.rolname = s.name
    union
    select m.roleid from pg_auth_members m join role r on r.oid = m.member
  )
  select concat_ws(' ',
    (select sum(hash_record_extended(row(oid, rolsuper, rolbypassrls, rolinherit), 0)) from pg_roles where oid in (select oid from role)),
    (select sum(hash_record_extended(row(roleid, member), 0)) from pg_auth_members where member in (select oid from role)),
    (select sum(hash_record_extended(row(c.oid, relname, relnamespace, relowner, relkind, relpersistence, relreplident, relrowsecurity, relforcerowsecurity,
      relispartition, relhasrules, reloptions::text, relacl::text), 0)) from class c),
    (select sum(hash_record_extended(row(attrelid, attnum, a.xmin), 0)) from pg_attribute a where attnum > 0 and attrelid in (select oid from class)),
    (select sum(hash_record_extended(row(i.indexrelid, i.xmin), 0)) from pg_index i where indrelid in (select oid from class) and indisunique),
    (select sum(hash_record_extended(row(i.inhrelid, i.inhparent, i.xmin), 0)) from pg_inherits i),
    (select sum(hash_record_extended(row(o.oid, o.xmin), 0)) from pg_rewrite o),
    (select sum(hash_record_extended(row(o.oid, o.xmin), 0)) from pg_proc o),
    (select sum(hash_record_extended(row(o.oid, o.xmin), 0)) from pg_operator o where o.oid >= 16384),
    (select sum(hash_record_extended(row(o.oid, o.xmin), 0)) from pg_type o where typnamespace in (select oid from space)),
    (select sum(hash_record_extended(row(o.oid, o.xmin), 0)) from pg_attrdef o where adrelid in (select oid from class)),
    (select sum(hash_record_extended(row(o.oid, o.xmin), 0)) from pg_trigger o where tgfoid = 'sno.on_truncate()'::regprocedure),
    (select sum(hash_record_extended(row(oid, xmin), 0)) from (
      select oid, xmin from pg_enum union all select oid, xmin from pg_ts_config union all select oid, xmin from pg_ts_dict
      union all select mapcfg, xmin from pg_ts_config_map union all select oid, xmin from pg_cast union all select oid, xmin from pg_namespace where oid in (select oid from space)
      union all select oid, xmin from pg_collation union all select oid, xmin from pg_policy union all select oid, xmin from pg_publication
      union all select oid, xmin from pg_publication_rel union all select oid, xmin from pg_publication_namespace
      -- Functions look names up in the search_path of a role or of the database.
      union all select setrole, xmin from pg_db_role_setting
      union all select aggfnoid::oid, xmin from pg_aggregate union all select rngtypid, xmin from pg_range
      union all select oid, xmin from pg_constraint where contype in ('p', 'x') or contypid <> 0) o))
$$;
comment on function sno.fingerprint() is 'A digest that differs once an object is altered that a view may depend on. Takes a few milliseconds, much less than sno.catalog().';

create or replace function sno.deaf() returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    (
      select string_agg(format('the event trigger %s %s', e.name, case when t.evtname is null then 'is missing' else 'is not ENABLE ALWAYS' end), '; ' order by e.name)
      from (values ('sno_ddl'), ('sno_drop')) e (name)
      left join pg_event_trigger t on t.evtname = e.name and t.evtfoid in (select oid from pg_proc where pronamespace = 'sno'::regnamespace)
      where t.evtenabled is distinct from 'A'),
    case when current_setting('event_triggers', true) = 'off' then 'event_triggers is off' end,
    (select 'the trigger send_catalog on sno.ddl is not ENABLE ALWAYS' from pg_trigger
      where tgrelid = 'sno.ddl'::regclass and tgname = 'send_catalog' and tgenabled <> 'A'))
$$;
comment on function sno.deaf() is 'The reason why triggers do not report DDL in the WAL; null if they do.';

create or replace function sno.inspect() returns table (fingerprint text, deaf text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms'
set client_min_messages = error
as $$
declare
  touched text[];
  voided text[];
begin
  begin
    perform sno.guard_partitions();
    with below as materialized (select distinct b.relation from sno.below() b),
    now (relation, above, file, guard) as (
      select leaf.oid, top.oid, pg_relation_filenode(leaf.oid),
        (
          select string_agg(concat_ws(':', g.oid, g.xmin), ' ' order by g.oid) from pg_trigger g
          where g.tgfoid = 'sno.on_truncate()'::regprocedure and g.tgrelid in (top.oid, leaf.oid)
          having count(*) filter (where g.tgenabled = 'A') >= 3)
      from pg_class top
      cross join lateral pg_partition_tree(top.oid) p
      join pg_class leaf on leaf.oid = p.relid and leaf.relkind = 'r'
      where top.relkind = 'p' and not top.relispartition and p.isleaf and top.oid in (select relation from below)
      union all
      -- An event trigger reports a REFRESH.
      select c.oid, c.oid, pg_relation_filenode(c.oid), case when sno.deaf() is null then (
        select string_agg(concat_ws(':', t.oid, t.xmin), ' ' order by t.oid) from pg_event_trigger t where t.evtname in ('sno_ddl', 'sno_drop')) end
      from pg_class c
      where c.relkind = 'm' and c.oid in (select relation from below)
    ),
    untold as (
      select n.above from now n join sno.watched w on w.relation = n.relation
      where n.file is distinct from w.file and (n.guard is null or n.guard is distinct from w.guard)
    ),
    kept as (
      insert into sno.watched as w (relation, file, guard)
      select n.relation, n.file, n.guard from now n
      where n.file is not null and not exists (select from sno.watched w where w.relation = n.relation and w.file = n.file and w.guard is not distinct from n.guard)
      on conflict on constraint watched_pkey do update set file = excluded.file, guard = excluded.guard
    ),
    gone as (
      delete from sno.watched w where not exists (select from now n where n.relation = w.relation)
    )
    select array_agg(distinct a.schema || ':' || a.name) into touched
    from untold u cross join lateral sno.above('pg_class'::regclass, u.above) a;
    if touched is not null then
      perform sno.note(touched, false, touched);
    end if;
  exception when lock_not_available then
    -- A transaction, such as a VACUUM FULL, holds a partition: the next call examines them.
    null;
  end;
  return query select sno.fingerprint(), sno.deaf();
end
$$;
comment on function sno.inspect() is
  'Reports truncated partitions and refreshed materialized views that no trigger reported, since triggers were disabled. Enables the triggers of partitions again. Does neither while a partition is locked. Returns sno.fingerprint() and sno.deaf().';



-- Privileges -----------------------------------------------------------------------------------------------------

revoke all on all functions in schema sno from public;
grant execute on function sno.publish(text, anycompatible, text), sno.publish(text, anycompatible, text, text), sno.trace(text) to public;
-- A role that lacks rights must be able to find out which. These functions read only the system catalogs.
grant execute on function sno.below(oid[]), sno.views(), sno.policy_reads(oid[]), sno.search_path(oid), sno.lacking(name, oid[]), sno.version() to public;


-- Settings of all functions ----------------------------------------------------------------------------------------

-- The planner expects many more rows in system catalogs than there are. With JIT, it would compile for seconds a query that runs
-- for milliseconds. Bodies are read by the settings of the session that calls: without standard_conforming_strings, a backslash
-- in a string would mean something else.
do $$
declare
  function regprocedure;
begin
  for function in select oid from pg_proc
    -- A function with settings of its own undoes, at its end, the setting that under_path() is for.
    where pronamespace = 'sno'::regnamespace and proname <> 'under_path' order by oid
  loop
    execute format('alter function %s set jit = off', function);
    execute format('alter function %s set standard_conforming_strings = on', function);
  end loop;
end
$$;
