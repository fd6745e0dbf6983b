/**
 * Presence in one process that serves clients. Connects its roster with the other processes, with
 * the clients that appear as members, and with the clients that watch.
 */
import type { Member } from '../access/access.ts';
import type { Clock } from '../clock.ts';
import { writeMessage } from '../peers/message.ts';
import { NETWORK, type Peers } from '../peers/peers.ts';
import { Attendance, type Stay } from './attendance.ts';
import { Roster, type RosterMessage } from './roster.ts';
import { type Watcher, Watchers } from './watchers.ts';

const KIND = 'presence';
const TICK_MS = 1_000;
/** How long a process that has just started waits for the lists of other processes, in ticks. */
const SETTLE_TICKS = 2;
/**
 * How long it waits if a known process has not sent its list, in ticks, and for the clients of the
 * process before it: they would be shown as gone to clients that come back earlier.
 */
const SETTLE_TICKS_MAX = 5;

export interface PresenceOptions {
  readonly peers: Peers;
  readonly clock: Pick<Clock, 'after'>;
  readonly graceSeconds: number;
}

/** The message that a process has ended. Another process sends it in its name if it was killed. */
export function endedMessage(peer: string): Buffer {
  return writeMessage({ from: peer, kind: KIND, head: { kind: 'end' } });
}

export class Presence {
  readonly #peers: Peers;
  readonly #roster: Roster;
  readonly #attendance: Attendance;
  readonly #watchers: Watchers;
  /** How long clients of the process before this one have to come back, in ticks. */
  readonly #returnTicks: number;
  #timer: NodeJS.Timeout | undefined;
  #ticks = 0;
  /** Watchers that wait until the members are known. Undefined: they are. */
  #waiting: Map<Watcher, Set<string>> | undefined = new Map();
  /** Called once the lists of other processes have arrived. Undefined: they have. */
  #onListed: (() => void)[] | undefined = [];

  constructor({ peers, clock, graceSeconds }: PresenceOptions) {
    this.#peers = peers;
    this.#watchers = new Watchers({ clock, members: (channel) => this.#roster.members(channel) });
    this.#roster = new Roster({
      self: peers.id,
      send: (message) => peers.send(KIND, message as unknown as Record<string, unknown>),
      joined: (channel, member, wasThere) => this.#watchers.joined(channel, member, wasThere),
      left: (channel, member) => this.#watchers.left(channel, member),
      graceTicks: graceSeconds,
    });
    this.#attendance = new Attendance({ clock, graceMs: graceSeconds * 1_000, roster: this.#roster });
    this.#returnTicks = Math.min(graceSeconds, SETTLE_TICKS_MAX);
    peers.on(KIND, ({ from, head }) => this.#roster.receive(from, head as unknown as RosterMessage));
    peers.on(NETWORK, ({ head }) => this.#roster.setDown(head['isDown'] === true));
  }

  /** Number of members that appear through this process. */
  get ownCount(): number {
    return this.#roster.ownCount;
  }

  start(): void {
    this.#settle();
    this.#roster.start();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#roster.stop();
  }

  /** Resolves with the other processes that serve clients, once they have had time to say so. */
  async others(): Promise<readonly string[]> {
    const waiting = this.#peers.isAlone ? undefined : this.#onListed;
    if (waiting !== undefined) await new Promise<void>((resolve) => waiting.push(resolve));
    return [...this.#roster.others()];
  }

  /** The channels that have members, in all processes. */
  channels(): Iterable<string> {
    return this.#roster.channels();
  }

  /** The members of a channel, in all processes. */
  members(channel: string): Iterable<Member> {
    return this.#roster.members(channel);
  }

  memberCount(channel: string): number {
    return this.#roster.memberCount(channel);
  }

  /** A client appears as this member, until `leave`. */
  enter(channel: string, member: Member): Stay {
    return this.#attendance.enter(channel, member);
  }

  /** `isAtOnce`: the client may not appear any more. */
  leave(stay: Stay, isAtOnce?: boolean): void {
    this.#attendance.leave(stay, isAtOnce);
  }

  watch(channel: string, watcher: Watcher): void {
    if (this.#waiting === undefined) return this.#watchers.add(channel, watcher);
    const channels = this.#waiting.get(watcher);
    if (channels === undefined) this.#waiting.set(watcher, new Set([channel]));
    else channels.add(channel);
  }

  unwatch(channel: string, watcher: Watcher): void {
    this.#waiting?.get(watcher)?.delete(channel);
    this.#watchers.delete(channel, watcher);
  }

  #tick(): void {
    this.#roster.tick();
    this.#watchers.refresh();
    this.#ticks++;
    this.#settle();
  }

  /** Shows the members once they are known. */
  #settle(): void {
    if (this.#waiting === undefined || !this.#areListed) return;
    for (const resolve of this.#onListed ?? []) resolve();
    this.#onListed = undefined;
    if (this.#ticks < this.#returnTicks) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const [watcher, channels] of waiting) for (const channel of channels) this.#watchers.add(channel, watcher);
  }

  /** Whether the other processes have had time to send their lists. */
  get #areListed(): boolean {
    if (this.#peers.isAlone || this.#ticks >= SETTLE_TICKS_MAX) return true;
    return this.#ticks >= SETTLE_TICKS && this.#roster.isComplete;
  }
}
