/**
 * The channels with presence of one connection. A channel has one subscription for all its handles.
 * The subscription asks for presence if one of them wants it. If that changes, the channel is
 * subscribed again, and continues from its position.
 *
 * A refusal of presence ends no other handle: the channel is subscribed again without it.
 */
import type { ClientFrame, PresenceFrame, PresenceMember, ServerFrame } from '../../protocol.ts';
import type { Connection, Extension } from '../connection.ts';
import { Emitter } from '../emitter.ts';
import { SnoClientError } from '../error.ts';
import type { Client, Presence, PresenceOptions, PresenceUpdate } from './handle.ts';

/** What handles may want. The first that a handle wants, and the server allows, is sent. */
const WISHES = ['appear', 'watch'] as const;
type Wish = (typeof WISHES)[number];
type Info = PresenceMember['info'];

interface RoomEvents {
  change: Omit<PresenceUpdate<Info>, 'status'>;
}

interface Room {
  readonly emitter: Emitter<RoomEvents>;
  byId: ReadonlyMap<string, PresenceMember>;
  members: readonly PresenceMember[];
  /** Number of open handles by their wish. */
  readonly counts: Record<Wish, number>;
  /** Why the server refuses a wish. Tried again on a new connection, and for a new handle. */
  readonly refusals: Map<Wish, SnoClientError>;
  /** The wish of the last subscribe. */
  asked: Wish | undefined;
}

export class Rooms implements Extension {
  readonly #connection: Connection;
  readonly #rooms = new Map<string, Room>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  open(client: Client, channel: string, { watch = false, waitForAccess }: PresenceOptions): Presence<Info> {
    const wish = watch ? 'watch' : 'appear';
    const room = this.#room(channel);
    this.#change(channel, () => {
      room.counts[wish]++;
      room.refusals.delete(wish);
    });
    const forget = (): void =>
      this.#change(channel, () => {
        room.counts[wish]--;
        if (room.counts.appear + room.counts.watch === 0) this.#rooms.delete(channel);
      });
    try {
      return handleOf(room, wish, channel, client.channel(channel, { waitForAccess }), forget);
    } catch (error) {
      forget();
      throw error;
    }
  }

  outgoing(frame: ClientFrame): ClientFrame {
    if (frame.type === 'hello') for (const room of this.#rooms.values()) room.refusals.clear();
    if (frame.type !== 'subscribe') return frame;
    const room = this.#rooms.get(frame.channel);
    const wish = wishOf(room);
    if (room === undefined || wish === undefined) return frame;
    room.asked = wish;
    return { ...frame, presence: wish === 'appear' ? true : 'watch' };
  }

  incoming(frame: ServerFrame): ServerFrame {
    if (frame.type === 'presence') this.#take(frame);
    if (frame.type !== 'error' || frame.channel === undefined || !frame.code.startsWith('presence_')) return frame;
    const { channel, code, message } = frame;
    const room = this.#rooms.get(channel);
    if (room?.asked === undefined) return frame;
    room.refusals.set(room.asked, new SnoClientError(code, message));
    room.emitter.emit('change', { members: room.members, joined: [], left: [] });
    // The core subscribes again to a channel whose end it has not asked for.
    return { type: 'unsubscribed', channel, code: 'client' };
  }

  #room(channel: string): Room {
    let room = this.#rooms.get(channel);
    if (room === undefined) {
      const counts = { appear: 0, watch: 0 };
      room = { emitter: new Emitter(), byId: new Map(), members: [], counts, refusals: new Map(), asked: undefined };
      this.#rooms.set(channel, room);
    }
    return room;
  }

  /** Subscribes again if the work changes what the server is asked for. */
  #change(channel: string, work: () => void): void {
    const before = wishOf(this.#rooms.get(channel));
    work();
    if (before !== wishOf(this.#rooms.get(channel))) this.#connection.rejoin(channel);
  }

  #take({ channel, members, joined = [], left = [] }: PresenceFrame): void {
    const room = this.#rooms.get(channel);
    const phase = this.#connection.subscription(channel)?.phase;
    // Frames of a subscription that is being left are outdated.
    if (room === undefined || (phase !== 'joining' && phase !== 'live')) return;
    const before = room.byId;
    const byId = new Map<string, PresenceMember>(members === undefined ? before : []);
    for (const member of [...(members ?? []), ...joined]) {
      const known = before.get(member.id);
      // A member whose `info` is unchanged stays the same object.
      byId.set(member.id, known !== undefined && shows(known) === shows(member) ? known : member);
    }
    for (const { id } of left) byId.delete(id);
    const news = [...byId.values()].filter((member) => before.get(member.id) !== member);
    const gone = [...before.values()].filter(({ id }) => !byId.has(id));
    if (news.length + gone.length === 0) return;
    room.byId = byId;
    room.members = [...byId.values()];
    room.emitter.emit('change', { members: room.members, joined: news, left: gone });
  }
}

const shows = ({ info }: PresenceMember): string => JSON.stringify(info);

function wishOf(room: Room | undefined): Wish | undefined {
  return room && WISHES.find((wish) => room.counts[wish] > 0 && !room.refusals.has(wish));
}

function handleOf(
  room: Room,
  wish: Wish,
  channel: string,
  handle: ReturnType<Client['channel']>,
  forget: () => void,
): Presence<Info> {
  const emitter = new Emitter<{ update: PresenceUpdate<Info> }>();
  let isClosed = false;
  const presence: Presence<Info> = {
    channel,
    get status() {
      return !isClosed && room.refusals.has(wish) ? 'error' : handle.status;
    },
    get error() {
      return (isClosed ? undefined : room.refusals.get(wish)) ?? handle.error;
    },
    get members() {
      return room.members;
    },
    subscribe: (listener) => emitter.on('update', listener),
    close() {
      if (isClosed) return;
      isClosed = true;
      remove();
      emitter.clear();
      handle.close();
      forget();
    },
  };
  const tell = (change: RoomEvents['change']) => emitter.emit('update', { ...change, status: presence.status });
  const remove = room.emitter.on('change', tell);
  handle.on('status', () => tell({ members: room.members, joined: [], left: [] }));
  return presence;
}
