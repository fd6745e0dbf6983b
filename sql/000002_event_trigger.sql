-- The event triggers that put the catalog into the WAL when DDL touches a channel. Run after 000001_install.sql, in one
-- transaction; running it again changes nothing. Needs a superuser, or what the provider of a managed Postgres allows
-- in its place. Without them Snö polls the catalog.
--
-- They fire for every command, since what a view depends on is found by its dependencies, not by the command's name
-- (docs/ddl.md). ENABLE ALWAYS: logical replication and restores run with session_replication_role = replica.

drop event trigger if exists sno_ddl;
create event trigger sno_ddl on ddl_command_end execute function sno.on_ddl();
alter event trigger sno_ddl enable always;
comment on event trigger sno_ddl is 'Snö: notices DDL that touches a channel.';

drop event trigger if exists sno_drop;
create event trigger sno_drop on sql_drop execute function sno.on_drop();
alter event trigger sno_drop enable always;
comment on event trigger sno_drop is 'Snö: notices that a channel, or something it needs, was dropped.';
