-- The sample's table and channel. Snö applies this file at each start, so each statement may run again.
create table if not exists tasks (
  id bigint generated always as identity primary key,
  list text not null,
  title text not null,
  done boolean not null default false
);
alter table tasks replica identity full;

create or replace view channels."list:{list}" as
  select id, list, title from tasks where not done;

-- Each user may follow the list of the same name.
create or replace view channel_access."list:{list}" as
  select distinct list, list as sub from tasks
  union
  select 'ada', 'ada';
