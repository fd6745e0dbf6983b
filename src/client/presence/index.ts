/**
 * Presence and sends, beside the core of the client library:
 *
 *     const room = presence(sno, 'room:7');
 *     room.subscribe(({ members }) => render(members));
 *     send(sno, 'room:7', 'typing', { at: 3 });
 */
import { CONNECTION, type Connection } from '../connection.ts';
import type { Client, Presence, PresenceOptions } from './handle.ts';
import { Rooms } from './rooms.ts';

/** Appears in a channel, and shows its members; with `watch`, shows them only. */
export function presence<Info = Readonly<Record<string, unknown>>>(
  client: Client,
  channel: string,
  options: PresenceOptions = {},
): Presence<Info> {
  const connection = connectionOf(client);
  connection.extension ??= new Rooms(connection);
  const rooms = connection.extension as Rooms;
  return rooms.open(client, channel, options) as Presence<never> as Presence<Info>;
}

/**
 * Sends to the channel's other subscribers. The client must be subscribed to it. Returns false if
 * the connection is not open: nothing is sent later. A refusal is an `error` event of the client.
 */
export function send(client: Client, channel: string, event: string, data: unknown = null): boolean {
  return connectionOf(client).post({ type: 'send', channel, event, data });
}

function connectionOf(client: object): Connection {
  return (client as { readonly [CONNECTION]: Connection })[CONNECTION];
}

export type { Member, Presence, PresenceOptions, PresenceUpdate } from './handle.ts';
