/**
 * Knows which members are in which channels, in all processes together.
 *
 * Each process owns its own members, and sends each change to its peers, with a number. A peer that
 * missed a change notices it by the number, and asks for the whole list. A member is shown while at
 * least one process has it.
 *
 * - Each process sends a beat at intervals, with the number of its last change. A process that is
 *   silent for LEASE_TICKS is dropped with its members.
 * - Ticks are counted, not time: this process may have been blocked, and messages of others may
 *   wait unread.
 * - While the connection between machines is down, no process is dropped for its silence: its
 *   members may be connected all the same.
 * - A process that has ended stays for `graceTicks`: its clients reconnect to other processes
 *   meanwhile.
 *
 * Messages may be lost, but those of one process arrive in order. The class has no clock, and
 * neither input nor output: see presence.ts. Decision 0053 gives the reasons.
 */
import type { Member } from '../access/access.ts';
import { type Members, put, Union, type UnionOptions } from './union.ts';

export type MembersOf = readonly (readonly [channel: string, members: readonly Member[]])[];

/** A message of a process about itself. `sequence`: the number of its last change. */
export type RosterMessage =
  /** It has just started and has no members. It asks all peers for their lists. */
  | { readonly kind: 'hello' }
  /** It asks one peer for its list. */
  | { readonly kind: 'ask'; readonly of: string }
  | { readonly kind: 'beat'; readonly sequence: number }
  | {
      readonly kind: 'change';
      readonly sequence: number;
      readonly channel: string;
      readonly joined: readonly Member[];
      readonly left: readonly string[];
    }
  /** A part of its list, from 0. */
  | {
      readonly kind: 'list';
      readonly sequence: number;
      readonly part: number;
      readonly isLast: boolean;
      readonly members: MembersOf;
    }
  /** It ends. If it was killed, another process sends this in its name. */
  | { readonly kind: 'end' };

export interface RosterOptions extends UnionOptions {
  /** The id of this process among its peers. */
  readonly self: string;
  readonly send: (message: RosterMessage) => void;
  /** For how many ticks the members of a process that has ended stay. */
  readonly graceTicks: number;
  /** Maximum approximate bytes of members in one message. */
  readonly listBytesMax?: number;
}

/** Ticks between two beats. */
const BEAT_TICKS = 3;
/** Ticks of silence after which a process is dropped. */
export const LEASE_TICKS = 20;
/** Ticks without an answer after which a process is asked again for its list. */
const ASK_TICKS = 2;
/** Approximate maximum bytes of a message: far below the maximum of NATS. */
const LIST_BYTES_MAX = 256 * 1_024;
const MEMBER_OVERHEAD_BYTES = 64;

interface Peer {
  members: Members;
  /** The last change that has arrived. Undefined: its list has not arrived yet. */
  sequence: number | undefined;
  /** The parts of its list that have arrived. Undefined: no list is arriving. */
  list: { readonly sequence: number; parts: number; readonly members: Members } | undefined;
  silentTicks: number;
  /** Ticks since its list was asked for. Undefined: nothing is missing. */
  askedTicks: number | undefined;
  /** Ticks until it is dropped. Undefined: it has not ended. */
  endsIn: number | undefined;
}

export class Roster {
  readonly #options: RosterOptions;
  readonly #own: Members = new Map();
  readonly #peers = new Map<string, Peer>();
  readonly #union: Union;
  #sequence = 0;
  #ticks = 0;
  #isDown = false;
  /** The tick at which this process last sent its list. */
  #listSentAt = -1;
  /** Whether a peer has asked for it since. */
  #isListWanted = false;
  #ownCount = 0;

  constructor(options: RosterOptions) {
    this.#options = options;
    this.#union = new Union(options);
  }

  /** Number of members that this process has. */
  get ownCount(): number {
    return this.#ownCount;
  }

  /** The channels that have members, in all processes. */
  channels(): Iterable<string> {
    return this.#union.channels();
  }

  /** The members of a channel, in all processes. */
  members(channel: string): Iterable<Member> {
    return this.#union.members(channel);
  }

  memberCount(channel: string): number {
    return this.#union.count(channel);
  }

  /** Whether the lists of all known peers have arrived. */
  get isComplete(): boolean {
    for (const { sequence, endsIn } of this.#peers.values())
      if (sequence === undefined && endsIn === undefined) return false;
    return true;
  }

  /** The other processes that serve clients now. */
  *others(): Iterable<string> {
    for (const [id, { endsIn }] of this.#peers) if (endsIn === undefined) yield id;
  }

  start(): void {
    this.#options.send({ kind: 'hello' });
  }

  /** Tells the peers that this process ends. */
  stop(): void {
    this.#options.send({ kind: 'end' });
  }

  /** Adds a member of this process, or changes what is shown of it. */
  set(channel: string, member: Member): void {
    const had = this.#own.get(channel)?.get(member.id);
    if (had?.info === member.info) return;
    if (had === undefined) this.#ownCount++;
    this.#union.add(this.#own, channel, member);
    this.#options.send({ kind: 'change', sequence: ++this.#sequence, channel, joined: [member], left: [] });
  }

  /** Removes a member of this process. */
  delete(channel: string, id: string): void {
    if (!this.#union.delete(this.#own, channel, id)) return;
    this.#ownCount--;
    this.#options.send({ kind: 'change', sequence: ++this.#sequence, channel, joined: [], left: [id] });
  }

  receive(from: string, message: RosterMessage): void {
    if (from === this.#options.self) return;
    if (message.kind === 'end') return this.#end(from);
    const peer = this.#peer(from, message.kind !== 'hello');
    // Messages that it sent before it ended may arrive later.
    if (peer.endsIn !== undefined) return;
    peer.silentTicks = 0;
    switch (message.kind) {
      case 'hello':
        peer.sequence = 0;
        peer.askedTicks = undefined;
        return this.#answer();
      case 'ask':
        if (message.of === this.#options.self) this.#answer();
        return;
      case 'beat':
        if (peer.sequence !== undefined && message.sequence !== peer.sequence) this.#ask(from, peer);
        return;
      case 'change':
        return this.#change(from, peer, message);
      case 'list':
        return this.#list(peer, message);
    }
  }

  /** Call when the connection between machines broke, or is back. */
  setDown(isDown: boolean): void {
    if (this.#isDown && !isDown) {
      for (const peer of this.#peers.values()) peer.silentTicks = 0;
      // Others may have dropped this process meanwhile.
      this.#beat();
    }
    this.#isDown = isDown;
  }

  /** Call it once a second. */
  tick(): void {
    this.#ticks++;
    if (this.#ticks % BEAT_TICKS === 0) this.#beat();
    if (this.#isListWanted) this.#sendList();
    for (const [id, peer] of this.#peers) {
      if (peer.endsIn !== undefined) {
        if (--peer.endsIn < 0) this.#drop(id, peer);
        continue;
      }
      if (!this.#isDown && ++peer.silentTicks > LEASE_TICKS) this.#drop(id, peer);
      else if (peer.askedTicks !== undefined && ++peer.askedTicks >= ASK_TICKS) this.#ask(id, peer);
    }
  }

  #beat(): void {
    this.#options.send({ kind: 'beat', sequence: this.#sequence });
  }

  /** Returns a peer. If it is new, its list is asked for. */
  #peer(id: string, isListNeeded: boolean): Peer {
    let peer = this.#peers.get(id);
    if (peer !== undefined) return peer;
    peer = {
      members: new Map(),
      sequence: undefined,
      list: undefined,
      silentTicks: 0,
      askedTicks: undefined,
      endsIn: undefined,
    };
    this.#peers.set(id, peer);
    if (isListNeeded) this.#ask(id, peer);
    return peer;
  }

  #ask(of: string, peer: Peer): void {
    if (peer.askedTicks !== undefined && peer.askedTicks < ASK_TICKS) return;
    peer.askedTicks = 0;
    this.#options.send({ kind: 'ask', of });
  }

  #change(
    from: string,
    peer: Peer,
    { sequence, channel, joined, left }: Extract<RosterMessage, { kind: 'change' }>,
  ): void {
    // Its list will have the change.
    if (peer.sequence === undefined || sequence <= peer.sequence) return;
    if (sequence !== peer.sequence + 1) return this.#ask(from, peer);
    peer.sequence = sequence;
    for (const member of joined) this.#union.add(peer.members, channel, member);
    for (const id of left) this.#union.delete(peer.members, channel, id);
  }

  #list(peer: Peer, { sequence, part, isLast, members }: Extract<RosterMessage, { kind: 'list' }>): void {
    if (part === 0) peer.list = { sequence, parts: 0, members: new Map() };
    const list = peer.list;
    if (list === undefined || list.sequence !== sequence || list.parts !== part) {
      peer.list = undefined;
      return;
    }
    list.parts++;
    for (const [channel, some] of members) for (const member of some) put(list.members, channel, member);
    if (!isLast) return;
    peer.list = undefined;
    if (peer.sequence !== undefined && sequence < peer.sequence) return;
    peer.sequence = sequence;
    peer.askedTicks = undefined;
    this.#union.replace(peer.members, list.members);
  }

  #end(id: string): void {
    const peer = this.#peers.get(id);
    if (peer !== undefined) peer.endsIn ??= this.#options.graceTicks;
  }

  #drop(id: string, peer: Peer): void {
    this.#peers.delete(id);
    this.#union.replace(peer.members, new Map());
  }

  /** Sends the list at once, but at most once between two ticks. */
  #answer(): void {
    if (this.#listSentAt === this.#ticks) this.#isListWanted = true;
    else this.#sendList();
  }

  /** Sends the members of this process, in messages of limited size. */
  #sendList(): void {
    this.#isListWanted = false;
    this.#listSentAt = this.#ticks;
    const { send, listBytesMax = LIST_BYTES_MAX } = this.#options;
    const sequence = this.#sequence;
    let part = 0;
    let bytes = 0;
    let some: [string, Member[]][] = [];
    for (const [channel, members] of this.#own) {
      let inChannel: Member[] = [];
      some.push([channel, inChannel]);
      for (const member of members.values()) {
        if (bytes > listBytesMax) {
          send({ kind: 'list', sequence, part: part++, isLast: false, members: some });
          inChannel = [];
          some = [[channel, inChannel]];
          bytes = 0;
        }
        inChannel.push(member);
        bytes += channel.length + member.id.length + member.info.length + MEMBER_OVERHEAD_BYTES;
      }
    }
    send({ kind: 'list', sequence, part, isLast: true, members: some });
  }
}
