-- The event triggers that put the catalog into the WAL when DDL touches a channel. Run after 000001_install.sql, in one
-- transaction; running it again changes nothing. Needs a superuser, or what the provider of a managed Postgres allows
-- in its place. Without them Snö polls the catalog.

drop event trigger if exists sno_ddl;
create event trigger sno_ddl on ddl_command_end
  when tag in (
    'CREATE VIEW', 'ALTER VIEW', 'CREATE RULE', 'ALTER RULE',
    'CREATE TABLE', 'ALTER TABLE', 'CREATE TABLE AS', 'SELECT INTO',
    'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE',
    'CREATE MATERIALIZED VIEW', 'ALTER MATERIALIZED VIEW', 'REFRESH MATERIALIZED VIEW',
    'CREATE SCHEMA', 'ALTER SCHEMA', 'ALTER TYPE', 'ALTER DOMAIN', 'ALTER COLLATION', 'CREATE CAST',
    'CREATE FUNCTION', 'ALTER FUNCTION', 'CREATE PUBLICATION', 'ALTER PUBLICATION')
  execute function sno.on_ddl();
comment on event trigger sno_ddl is 'Snö: notices DDL that touches a channel.';

drop event trigger if exists sno_drop;
create event trigger sno_drop on sql_drop execute function sno.on_drop();
comment on event trigger sno_drop is 'Snö: notices that a channel, or something it needs, was dropped.';
