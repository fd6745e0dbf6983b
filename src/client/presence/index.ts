/**
 * Presence and sends, beside the core of the client library:
 *
 *     const room = presence(sno, 'room:7');
 *     room.subscribe(({ members }) => render(members));
 *     send(sno, 'room:7', 'typing', { at: 3 });
 *
 * A channel has one subscription for all its handles, with presence if one of them wants it. If
 * that changes, the channel is subscribed again, and goes on where it was.
 */
import type { ClientFrame, PresenceFrame, PresenceMember, ServerFrame } from '../../protocol.ts';
import type { Channel } from '../channel.ts';
import { CONNECTION, type Connection, type Extension } from '../connection.ts';
import { Emitter } from '../emitter.ts';
import type { SnoClientError } from '../error.ts';
import type { ChannelStatus } from '../state/machine.ts';

export interface Member<Info = Readonly<Record<string, unknown>>> {
  readonly id: string;
  /** What the presence view shows of the member. */
  readonly info: Info;
}

export interface PresenceUpdate<Info> {
  readonly members: readonly Member<Info>[];
  /** New members, and members of which something else is shown. */
  readonly joined: readonly Member<Info>[];
  readonly left: readonly Member<Info>[];
}

export interface PresenceOptions {
  /** Show the members without appearing among them. */
  readonly watch?: boolean;
}

export interface Presence<Info = Readonly<Record<string, unknown>>> {
  readonly channel: string;
  readonly status: ChannelStatus;
  readonly error: SnoClientError | undefined;
  /** The same array until the members change. While the connection is lost: the last ones. */
  readonly members: readonly Member<Info>[];
  /** Returns a function that removes the listener. */
  subscribe(listener: (update: PresenceUpdate<Info>) => void): () => void;
  close(): void;
}

/** A client of `connect()`. */
interface Client {
  channel(name: string): Pick<Channel, 'status' | 'error' | 'close'>;
}

/** Appears in a channel, and shows its members; with `watch`, shows them only. */
export function presence<Info = Readonly<Record<string, unknown>>>(
  client: Client,
  channel: string,
  { watch = false }: PresenceOptions = {},
): Presence<Info> {
  const connection = connectionOf(client);
  connection.extension ??= new Rooms(connection);
  return (connection.extension as Rooms).open(client, channel, watch) as Presence<never> as Presence<Info>;
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

interface RoomEvents {
  update: PresenceUpdate<PresenceMember['info']>;
}

interface Room {
  readonly emitter: Emitter<RoomEvents>;
  readonly byId: Map<string, PresenceMember>;
  members: readonly PresenceMember[];
  /** Handles that appear, and those that watch. */
  appearing: number;
  watching: number;
}

/** The channels with presence of one connection. */
class Rooms implements Extension {
  readonly #connection: Connection;
  readonly #rooms = new Map<string, Room>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  open(client: Client, channel: string, watch: boolean): Presence<PresenceMember['info']> {
    const room = this.#room(channel);
    const change = (by: number) =>
      this.#change(channel, () => {
        if (watch) room.watching += by;
        else room.appearing += by;
        if (room.watching + room.appearing === 0) this.#rooms.delete(channel);
      });
    change(1);
    const handle = client.channel(channel);
    const removers = new Set<() => void>();
    let isClosed = false;
    return {
      channel,
      get status() {
        return handle.status;
      },
      get error() {
        return handle.error;
      },
      get members() {
        return room.members;
      },
      subscribe: (listener) => {
        const remove = room.emitter.on('update', listener);
        removers.add(remove);
        return remove;
      },
      close: () => {
        if (isClosed) return;
        isClosed = true;
        for (const remove of removers) remove();
        handle.close();
        change(-1);
      },
    };
  }

  outgoing(frame: ClientFrame): ClientFrame {
    if (frame.type !== 'subscribe') return frame;
    const presence = this.#wish(frame.channel);
    return presence === undefined ? frame : { ...frame, presence };
  }

  incoming(frame: ServerFrame): void {
    if (frame.type === 'presence') this.#take(frame);
  }

  #room(channel: string): Room {
    let room = this.#rooms.get(channel);
    if (room === undefined) {
      room = { emitter: new Emitter(), byId: new Map(), members: [], appearing: 0, watching: 0 };
      this.#rooms.set(channel, room);
    }
    return room;
  }

  #wish(channel: string): true | 'watch' | undefined {
    const { appearing, watching } = this.#rooms.get(channel) ?? { appearing: 0, watching: 0 };
    return appearing > 0 ? true : watching > 0 ? 'watch' : undefined;
  }

  /** Subscribes again if the server was asked for another kind of presence. */
  #change(channel: string, work: () => void): void {
    const before = this.#wish(channel);
    const phase = this.#connection.subscription(channel)?.phase;
    work();
    // The core subscribes again to a channel whose end it has not asked for.
    if (before !== this.#wish(channel) && (phase === 'live' || phase === 'joining'))
      this.#connection.post({ type: 'unsubscribe', channel });
  }

  #take({ channel, members, joined = [], left = [] }: PresenceFrame): void {
    const room = this.#rooms.get(channel);
    if (room === undefined) return;
    const { byId } = room;
    const before = new Map(byId);
    if (members !== undefined) byId.clear();
    for (const member of [...(members ?? []), ...joined]) byId.set(member.id, member);
    for (const { id } of left) byId.delete(id);
    room.members = [...byId.values()];
    const news = members === undefined ? joined : members.filter(({ id }) => !before.has(id));
    const gone = [...before.values()].filter(({ id }) => !byId.has(id));
    room.emitter.emit('update', { members: room.members, joined: news, left: gone });
  }
}
