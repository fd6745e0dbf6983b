/**
 * Sends the members of channels to the subscribers of this process that watch them. A watcher first
 * receives all members, then those that joined or left, gathered for a short time. Members that do
 * not fit into one frame follow in further frames, at the pace of the watcher's socket. So the
 * whole list of a large channel is never queued for a client that does not read.
 */
import type { Member } from '../access/access.ts';
import type { Clock } from '../clock.ts';
import { UnstoredFrame } from '../fanout/unstored.ts';
import { PayloadArena } from '../memory/payload.ts';

/** A subscriber that watches. */
export interface Watcher {
  /** Sends a frame. Returns false if it was dropped, because too many frames wait. */
  post(frame: UnstoredFrame): boolean;
  /** Whether few enough bytes wait for its socket that more may be sent. */
  takesMore(): boolean;
  /** Resolves when its socket has drained, or is closed. */
  drained(): Promise<void>;
}

export interface WatchersOptions {
  readonly clock: Pick<Clock, 'after'>;
  readonly members: (channel: string) => Iterable<Member>;
}

/** How long changes are gathered before they are sent, in ms. */
const GATHER_MS = 50;
/** The same in a channel with more than MANY watchers. */
const GATHER_MS_MANY = 1_000;
const MANY = 1_000;
/** Approximate maximum bytes of the members in a frame. */
const FRAME_BYTES = 32 * 1_024;
const MEMBER_OVERHEAD_BYTES = 24;

type Part = 'members' | 'joined' | 'left';

/** What happened to a member since the last frame about it. */
interface News {
  readonly wasThere: boolean;
  readonly member: Member;
  readonly isThere: boolean;
}

/** A watcher that has not received all members yet. */
interface Listing {
  /** The frames with the members that it has not received. Undefined: it has received none. */
  rest: Iterator<UnstoredFrame, undefined> | undefined;
  isWaiting: boolean;
}

interface Watched {
  readonly watchers: Set<Watcher>;
  /** Watchers that are being sent all members. One that missed a frame is sent all again. */
  readonly listings: Map<Watcher, Listing>;
  news: Map<string, News> | undefined;
}

export class Watchers {
  readonly #options: WatchersOptions;
  readonly #channels = new Map<string, Watched>();
  readonly #payloads = new PayloadArena();

  constructor(options: WatchersOptions) {
    this.#options = options;
  }

  /** Sends the watcher all members, and from now on changes. */
  add(channel: string, watcher: Watcher): void {
    let watched = this.#channels.get(channel);
    if (watched === undefined) {
      watched = { watchers: new Set(), listings: new Map(), news: undefined };
      this.#channels.set(channel, watched);
    }
    // The other watchers first receive the changes that the new one's list includes.
    this.#tellNews(channel, watched);
    watched.watchers.add(watcher);
    watched.listings.set(watcher, { rest: undefined, isWaiting: false });
    this.#tellMembers(channel, watched, watcher);
  }

  delete(channel: string, watcher: Watcher): void {
    const watched = this.#channels.get(channel);
    watched?.watchers.delete(watcher);
    watched?.listings.delete(watcher);
    if (watched?.watchers.size === 0) this.#channels.delete(channel);
  }

  /** Reports a member to the watchers. `wasThere`: it was shown before, and its `info` changed. */
  joined(channel: string, member: Member, wasThere: boolean): void {
    this.#note(channel, { member, wasThere, isThere: true });
  }

  left(channel: string, member: Member): void {
    this.#note(channel, { member, wasThere: true, isThere: false });
  }

  /** Call periodically: continues the lists of watchers that could not take all of it. */
  refresh(): void {
    for (const [channel, watched] of this.#channels)
      for (const watcher of watched.listings.keys()) this.#tellMembers(channel, watched, watcher);
  }

  #note(channel: string, { member, wasThere, isThere }: News): void {
    const watched = this.#channels.get(channel);
    if (watched === undefined) return;
    if (watched.news === undefined) {
      watched.news = new Map();
      const ms = watched.watchers.size > MANY ? GATHER_MS_MANY : GATHER_MS;
      this.#options.clock.after(ms, () => this.#tellNews(channel, watched));
    }
    const known = watched.news.get(member.id);
    watched.news.set(member.id, { member, wasThere: known?.wasThere ?? wasThere, isThere });
  }

  #tellNews(channel: string, watched: Watched): void {
    const { news, watchers, listings } = watched;
    watched.news = undefined;
    if (news === undefined) return;
    const all = [...news.values()];
    const frames = [
      ...this.#frames(
        channel,
        'joined',
        all.filter(({ isThere }) => isThere).map(({ member }) => member),
      ),
      ...this.#frames(
        channel,
        'left',
        all.filter(({ isThere, wasThere }) => wasThere && !isThere).map(({ member }) => member),
      ),
    ];
    for (const frame of frames)
      for (const watcher of watchers) {
        const listing = listings.get(watcher);
        if (listing !== undefined && listing.rest === undefined) continue;
        if (!watcher.post(frame)) listings.set(watcher, { rest: undefined, isWaiting: listing?.isWaiting ?? false });
      }
  }

  /** Sends a watcher the members that it has not received, while its socket takes more. */
  #tellMembers(channel: string, watched: Watched, watcher: Watcher): void {
    const listing = watched.listings.get(watcher);
    if (listing === undefined) return;
    while (watcher.takesMore()) {
      listing.rest ??= this.#list(channel);
      const { value: frame } = listing.rest.next();
      if (frame === undefined) {
        watched.listings.delete(watcher);
        return;
      }
      if (watcher.post(frame)) continue;
      listing.rest = undefined;
      return;
    }
    if (listing.isWaiting) return;
    listing.isWaiting = true;
    void watcher.drained().then(() => {
      const current = watched.listings.get(watcher);
      if (current === undefined) return;
      current.isWaiting = false;
      this.#tellMembers(channel, watched, watcher);
    });
  }

  /** The frames of a list. Members that join or leave meanwhile are sent as changes too. */
  *#list(channel: string): Generator<UnstoredFrame, undefined> {
    let part: Part = 'members';
    for (const some of this.#cut(this.#options.members(channel))) {
      yield this.#frame(channel, part, some);
      part = 'joined';
    }
    if (part === 'members') yield this.#frame(channel, part, []);
  }

  #frames(channel: string, part: Part, members: readonly Member[]): readonly UnstoredFrame[] {
    return [...this.#cut(members)].map((some) => this.#frame(channel, part, some));
  }

  *#cut(members: Iterable<Member>): Iterable<readonly Member[]> {
    let some: Member[] = [];
    let bytes = 0;
    for (const member of members) {
      some.push(member);
      bytes += member.id.length + member.info.length + MEMBER_OVERHEAD_BYTES;
      if (bytes < FRAME_BYTES) continue;
      yield some;
      some = [];
      bytes = 0;
    }
    if (some.length > 0) yield some;
  }

  #frame(channel: string, part: Part, members: readonly Member[]): UnstoredFrame {
    const list = members.map(({ id, info }) => `{"id":${JSON.stringify(id)},"info":${info}}`).join();
    const text = `{"type":"presence","channel":${JSON.stringify(channel)},"${part}":[${list}]}`;
    return new UnstoredFrame('presence', channel, this.#payloads.text(text));
  }
}
