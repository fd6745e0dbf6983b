-- The database of the chat. The first part is as it was with Pusher.
create table users (id text primary key, name text not null);
create table rooms (id int primary key, name text not null);
create table members (room_id int references rooms, user_id text references users, primary key (room_id, user_id));
create table messages (
  id int generated always as identity primary key,
  room_id int not null references rooms,
  user_id text not null references users,
  body text not null
);
insert into users values ('ada', 'Ada'), ('bob', 'Bob'), ('eve', 'Eve');
insert into rooms values (1, 'Garden');
insert into members values (1, 'ada'), (1, 'bob');
insert into messages (room_id, user_id, body) values (1, 'ada', 'Which colour?');

-- This part came with the move: the room as a channel, and what its members may do there.
alter table messages replica identity full;
create schema if not exists channels;
create schema if not exists channel_access;
create schema if not exists channel_presence;
create schema if not exists channel_send;
create view channels."room:{room_id}" as
  select id, room_id, user_id, body from messages;
create view channel_access."room:{room_id}" as
  select room_id, user_id as sub from members;
create view channel_presence."room:{room_id}" as
  select m.room_id, m.user_id as sub, u.name from members m join users u on u.id = m.user_id;
create view channel_send."room:{room_id}" as
  select room_id, user_id as sub from members;
