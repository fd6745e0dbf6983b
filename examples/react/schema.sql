-- The database of this app, and its channels.
create table tasks (
  id int generated always as identity primary key,
  project_id int not null,
  title text not null,
  done boolean not null default false
);
alter table tasks replica identity full;
insert into tasks (project_id, title) values (42, 'Buy paint'), (42, 'Paint the fence');

create schema if not exists channels;
create view channels."project:{project_id}" as select id, project_id, title, done from tasks;
create schema if not exists channel_access;
create view channel_access."project:{project_id}" as select distinct project_id from tasks;
