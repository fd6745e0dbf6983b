/** The notes that all pages show: their table and channels, and a page's text of them. */
export const SCHEMA = `
  create table notes (id int primary key, room int not null, body text not null);
  alter table notes replica identity full;
  create table open_rooms (room int primary key);
  alter table open_rooms replica identity full;
  insert into open_rooms select generate_series(1, 100);
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
  create view channel_access."room:{room}" as select room from open_rooms;
  create table people (sub text primary key, name text not null);
  insert into people values ('ada', 'Ada'), ('bob', 'Bob');
  create schema channel_presence;
  create view channel_presence."room:{room}" as select r.room, p.sub, p.name from open_rooms r cross join people p;
`;

export interface Note {
  readonly id: number;
  readonly room: number;
  readonly body: string;
}

export const textOf = (rows: readonly Note[]): string =>
  [...rows]
    .sort((one, other) => one.id - other.id)
    .map(({ id, body }) => `${id} ${body.length > 100 ? body.length : body}`)
    .join(', ');
