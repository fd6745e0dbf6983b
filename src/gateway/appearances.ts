/**
 * One client's presence: the channels whose members it watches, and those in which it appears as a
 * member. The channel's presence view decides whether it may appear, and what is shown. The view is
 * queried again when a commit may have changed its answer, and when the token changes.
 */
import type { Claims, Member, Rights } from '../access/access.ts';
import type { Clock } from '../clock.ts';
import { SnoError } from '../errors.ts';
import type { Fanout, Feed } from '../fanout/fanout.ts';
import type { UnstoredFrame } from '../fanout/unstored.ts';
import type { Stay } from '../presence/attendance.ts';
import type { Presence } from '../presence/presence.ts';
import type { Watcher } from '../presence/watchers.ts';
import type { ChannelResolver } from './channel-resolver.ts';

/** How long after a failed query of the view it is repeated, in ms. */
const RECHECK_MS = 1_000;

/**
 * How a client takes part in presence.
 *
 * - `watch`: it watches.
 * - true: it watches, and appears as the member that the presence view returns.
 * - a member: it watches, and appears as this member, which its protocol has already checked.
 */
export type PresenceRequest = true | 'watch' | Member;

export interface AppearanceServices {
  readonly rights: Rights;
  readonly channels: ChannelResolver;
  readonly fanout: Pick<Fanout, 'openAccessCheck'>;
  readonly presence: Pick<Presence, 'enter' | 'leave' | 'watch' | 'unwatch'>;
  readonly clock: Clock;
}

/** The session of the client. */
export interface Appearing {
  readonly address: string;
  readonly claims: Claims | undefined;
}

/** The part of a feed that watching needs. */
type WatchingFeed = Pick<Feed, 'post' | 'takesMore' | 'drained'>;

/** A channel that is watched. */
interface Appearance {
  /** The channel's own name. */
  readonly channel: string;
  readonly watcher: Watcher;
  /** Undefined: the client does not appear. */
  stay: Stay | undefined;
  /** Whether the presence view decides. */
  readonly isByView: boolean;
  /**
   * Commits that must be visible before the view is queried again. Undefined: no query is needed.
   */
  due: Promise<unknown>[] | undefined;
  isAsking: boolean;
}

export class Appearances {
  readonly #session: Appearing;
  readonly #services: AppearanceServices;
  readonly #feed: WatchingFeed;
  /** By the names that the client knows. */
  readonly #channels = new Map<string, Appearance>();

  constructor(session: Appearing, feed: WatchingFeed, services: AppearanceServices) {
    this.#session = session;
    this.#services = services;
    this.#feed = feed;
  }

  /**
   * Call when the client has subscribed to the channel. `member`: it appears as this one.
   * Undefined: it only watches. `name`: the channel as the client knows it.
   */
  begin(name: string, channel: string, request: PresenceRequest, member: Member | undefined): void {
    const { presence } = this.#services;
    const feed = this.#feed;
    const watcher = {
      post: (frame: UnstoredFrame) => feed.post(name, frame),
      takesMore: () => feed.takesMore,
      drained: () => feed.drained(),
    };
    const stay = member === undefined ? undefined : presence.enter(channel, member);
    this.#channels.set(name, { channel, watcher, stay, isByView: request === true, due: undefined, isAsking: false });
    presence.watch(channel, watcher);
  }

  /** Call when the subscription has ended. */
  end(name: string): void {
    const appearance = this.#channels.get(name);
    if (appearance === undefined) return;
    this.#channels.delete(name);
    const { presence } = this.#services;
    presence.unwatch(appearance.channel, appearance.watcher);
    if (appearance.stay !== undefined) presence.leave(appearance.stay);
  }

  /** Queries the view again, once `seen` resolves. */
  recheck(name: string, seen: Promise<unknown> = Promise.resolve()): void {
    const appearance = this.#channels.get(name);
    if (appearance?.isByView !== true) return;
    appearance.due ??= [];
    appearance.due.push(seen);
    if (!appearance.isAsking) void this.#ask(name, appearance);
  }

  /**
   * Queries all views again: the client has another token. Commits that queries do not see yet may
   * have been skipped, since they concern a user that the earlier token did not name.
   */
  recheckAll(): void {
    const { channels, fanout } = this.#services;
    for (const [name, appearance] of this.#channels) {
      const channel = channels.resolve(appearance.channel);
      // The fan-out ends the subscription of a channel that is gone.
      if (channel instanceof SnoError) continue;
      const window = fanout.openAccessCheck(channel, ['channel_presence']);
      window.close();
      this.recheck(name, window.earlierRevocations);
    }
  }

  async #ask(name: string, appearance: Appearance): Promise<void> {
    const { rights, channels, clock } = this.#services;
    appearance.isAsking = true;
    while (appearance.due !== undefined && this.#channels.get(name) === appearance) {
      const due = appearance.due;
      appearance.due = undefined;
      await Promise.all(due);
      if (channels.known !== undefined) await channels.known;
      const { claims, address } = this.#session;
      const channel = channels.resolve(appearance.channel);
      // The fan-out ends the subscription of a channel that is gone.
      if (claims === undefined || channel instanceof SnoError) break;
      const found = await rights.findMember(channel, claims, address);
      if (this.#channels.get(name) !== appearance) break;
      if (claims !== this.#session.claims) appearance.due ??= [];
      else if (!(found instanceof SnoError)) this.#appear(appearance, found);
      else if (found.code !== 'try_again') this.#disappear(appearance);
      else {
        appearance.due ??= [];
        appearance.due.push(new Promise<void>((resolve) => clock.after(RECHECK_MS * (0.5 + clock.random()), resolve)));
      }
    }
    appearance.isAsking = false;
  }

  #appear(appearance: Appearance, member: Member): void {
    const { presence } = this.#services;
    const before = appearance.stay;
    appearance.stay = presence.enter(appearance.channel, member);
    if (before !== undefined) presence.leave(before, before.id !== member.id);
  }

  #disappear(appearance: Appearance): void {
    if (appearance.stay !== undefined) this.#services.presence.leave(appearance.stay, true);
    appearance.stay = undefined;
  }
}
