/** Joins the members of all processes into those that are shown, and reports each change. */
import type { Member } from '../access/access.ts';

/** The members of one process, by channel and id. */
export type Members = Map<string, Map<string, Member>>;

export interface UnionOptions {
  /** A member is shown from now on. `wasThere`: it was shown before, and its `info` has changed. */
  readonly joined: (channel: string, member: Member, wasThere: boolean) => void;
  /** No process has the member any more. */
  readonly left: (channel: string, member: Member) => void;
}

interface Shown {
  member: Member;
  /** Number of processes that have it. */
  holders: number;
}

export class Union {
  readonly #options: UnionOptions;
  readonly #shown = new Map<string, Map<string, Shown>>();

  constructor(options: UnionOptions) {
    this.#options = options;
  }

  /** The channels that have members. */
  channels(): Iterable<string> {
    return this.#shown.keys();
  }

  *members(channel: string): Iterable<Member> {
    for (const { member } of this.#shown.get(channel)?.values() ?? []) yield member;
  }

  count(channel: string): number {
    return this.#shown.get(channel)?.size ?? 0;
  }

  /** Adds a member to those of a process, or changes what is shown of it. */
  add(members: Members, channel: string, member: Member): void {
    const had = put(members, channel, member);
    let inChannel = this.#shown.get(channel);
    if (inChannel === undefined) {
      inChannel = new Map();
      this.#shown.set(channel, inChannel);
    }
    const shown = inChannel.get(member.id);
    if (shown === undefined) inChannel.set(member.id, { member, holders: 1 });
    else {
      if (had === undefined) shown.holders++;
      // Without a change nothing is updated: another process may have newer `info`.
      if (had?.info === member.info || shown.member.info === member.info) return;
      shown.member = member;
    }
    this.#options.joined(channel, member, shown !== undefined);
  }

  /** Removes a member from those of a process. Returns false if the process does not have it. */
  delete(members: Members, channel: string, id: string): boolean {
    const some = members.get(channel);
    if (some?.delete(id) !== true) return false;
    if (some.size === 0) members.delete(channel);
    const inChannel = this.#shown.get(channel);
    const shown = inChannel?.get(id);
    if (inChannel === undefined || shown === undefined || --shown.holders > 0) return true;
    inChannel.delete(id);
    if (inChannel.size === 0) this.#shown.delete(channel);
    this.#options.left(channel, shown.member);
    return true;
  }

  /** Replaces the members of a process. A member that stays is not reported as left. */
  replace(members: Members, by: Members): void {
    for (const [channel, some] of by) for (const member of some.values()) this.add(members, channel, member);
    for (const [channel, some] of [...members])
      for (const id of [...some.keys()]) if (by.get(channel)?.has(id) !== true) this.delete(members, channel, id);
  }
}

/** Puts the member into the map. Returns the one that it replaces. */
export function put(members: Members, channel: string, member: Member): Member | undefined {
  let inChannel = members.get(channel);
  if (inChannel === undefined) {
    inChannel = new Map();
    members.set(channel, inChannel);
  }
  const had = inChannel.get(member.id);
  inChannel.set(member.id, member);
  return had;
}
