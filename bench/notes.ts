/** The table, the channel and the event that the fan-out benchmarks share. */
import type { World } from './world.ts';

const BODY = 'x'.repeat(80);

/** The event that peers send: as long as Snö's event. `{stamp}` stands for its time. */
export const EVENT = `{"type":"changes","channel":"notes:1","position":"1kq5zw0gqb9rs-1-1:0/16B3748:1","lsn":"0/16B3748","xid":100741,"committed_at":"{stamp}","events":[{"op":"insert","key":{"id":123456},"data":{"id":123456,"room":1,"body":"${BODY}"}}]}`;
export const EVENT_BYTES = EVENT.replace('{stamp}', '2026-11-23T10:00:00.123456Z').length;
export const INSERT_NOTE = `insert into notes (room, body) values (1, '${BODY}')`;

/**
 * A second channel on the same server, which gets no events. Servers write the colon differently.
 */
export const quiet = (channel: string): string => channel.replace('1', '2');

export async function createNotes(world: World): Promise<void> {
  await world.query(`create table notes (id bigint generated always as identity primary key, room int not null, body text not null);
    alter table notes replica identity full; create schema channels; create schema channel_access;
    create view channels."notes:{room}" as select id, room, body from notes;
    create view channel_access."notes:{room}" as select generate_series(1, 2) as room;
    create procedure fill(commits int) language plpgsql as $$
    begin for i in 1..commits loop ${INSERT_NOTE}; commit; end loop; end $$`);
}

/** A position before everything that is written from now on. */
export async function positionNow(world: World): Promise<string> {
  const { rows } = await world.query(
    "select system_identifier, timeline, generation, pg_current_wal_insert_lsn()::text as lsn from sno.slot where name = 'sno'",
  );
  const { system_identifier: system, timeline, generation, lsn } = rows[0];
  const epoch = `${BigInt(system).toString(36)}-${Number(timeline).toString(36)}-${Number(generation).toString(36)}`;
  return `${epoch}:${lsn}:${2 ** 31}`;
}
