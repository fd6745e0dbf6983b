/** A room with members, for tests of sends and presence. */
import { type ServiceProcess, signToken } from '../support/service.ts';
import { type Frame, RawClient, type SubscribeOptions } from './raw-client.ts';

/** `users`: those who may join room 1, with a name, and may send. */
export const ROOM = `
  create table notes (id int primary key, room int not null);
  alter table notes replica identity full;
  create table members (room int, sub text, sends boolean not null default true, hidden boolean not null default false, primary key (room, sub));
  create table users (sub text primary key, name text not null);
  create schema channels; create schema if not exists channel_access; create schema channel_presence; create schema channel_send;
  create view channels."room:{room}" as select id, room from notes;
  create view channel_access."room:{room}" as select room, sub from members;
  create view channel_presence."room:{room}" as
    select m.room, m.sub, u.name, 12345678901234567890 as big from members m join users u using (sub) where not m.hidden;
  create view channel_send."room:{room}" as select room, sub from members where sends;
  insert into users select s, upper(s) from unnest('{ada,bob,cy,dan,eve,fay}'::text[]) s;
  insert into members (room, sub) select room, sub from users, generate_series(1, 2) room;
`;
export const ROOM_SETTINGS = { SNO_ACCESS: 'views', SNO_PRESENCE_GRACE_SECONDS: '1' };

/** A client of the user that is subscribed to the channel. */
export async function enter(
  service: Pick<ServiceProcess, 'url' | 'certificate'>,
  user: string,
  options: SubscribeOptions = { presence: true },
  channel = 'room:1',
): Promise<RawClient> {
  const client = await RawClient.open(service, await signToken({ sub: user }));
  const answer = await client.subscribe(channel, options);
  if (answer.type !== 'subscribed') throw new Error(JSON.stringify(answer));
  return client;
}

/** The ids of the members that a client has been shown. */
export function membersOf({ frames }: RawClient, channel = 'room:1'): readonly string[] {
  const ids = new Set<string>();
  for (const frame of frames.filter((each) => each.type === 'presence' && each.channel === channel)) {
    if (frame.members !== undefined) ids.clear();
    for (const { id } of [...(frame.members ?? []), ...(frame.joined ?? [])]) ids.add(id);
    for (const { id } of frame.left ?? []) ids.delete(id);
  }
  return [...ids].sort();
}

/** Resolves when the client is shown exactly these members. */
export function shows(client: RawClient, ...ids: readonly string[]): Promise<unknown> {
  return client.until(`members ${ids.join()}`, () => membersOf(client).join() === [...ids].sort().join());
}

/** Whether the member was ever shown as gone. */
export const hasSeenLeave = ({ frames }: RawClient, id: string) =>
  frames.some(({ left }) => left?.some((member) => member.id === id));

let fences = 0;
/** What `client` has received of the room since `from`, up to something that `sender` sends now. */
export async function sentTo(client: RawClient, sender: RawClient, from: number): Promise<readonly Frame[]> {
  const event = `fence ${++fences}`;
  sender.send({ type: 'send', channel: 'room:1', event });
  await client.wait(event, from, (frame) => frame.event === event);
  return client.frames.slice(from).filter((frame) => frame.event !== event && frame.type !== 'heartbeat');
}
