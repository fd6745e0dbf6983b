/**
 * Presence and sends, beside the core of the client library:
 *
 *     const room = presence(sno, 'room:7');
 *     room.subscribe(({ members }) => render(members));
 *     send(sno, 'room:7', 'typing', { at: 3 });
 */
import { CONNECTION, type Connection } from '../connection.ts';
import { checkText, SnoClientError } from '../error.ts';
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
 * Throws `argument_invalid` if the channel or event is not a text, or JSON cannot hold the data.
 */
export function send(client: Client, channel: string, event: string, data: unknown = null): boolean {
  checkText('The name of a channel', channel);
  checkText('The event of a send', event);
  checkData(data);
  return connectionOf(client).post({ type: 'send', channel, event, data });
}

/** Maximum bytes of a send's data as JSON. The server closes a connection that sends much more. */
const DATA_BYTES_MAX = 64_000;

function checkData(data: unknown): void {
  let text: string;
  try {
    text = JSON.stringify(data) ?? 'null';
  } catch (error) {
    throw new SnoClientError('argument_invalid', `The data of a send must be JSON: ${String(error)}`);
  }
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > DATA_BYTES_MAX)
    throw new SnoClientError(
      'argument_invalid',
      `The data of a send is at most ${DATA_BYTES_MAX} bytes, not ${bytes}.`,
    );
}

function connectionOf(client: object): Connection {
  return (client as { readonly [CONNECTION]: Connection })[CONNECTION];
}

export type { Member, Presence, PresenceOptions, PresenceUpdate } from './handle.ts';
