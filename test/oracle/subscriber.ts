/**
 * A subscriber that records all frames and does not use the client library. It reconnects when its
 * connection ends, resumes after the last whole commit, and judges nothing itself.
 */
import { WebSocket } from 'ws';
import type { Frame } from './frame.ts';

/** One line of the subscriber's record. */
export type Note = { readonly at: number } & (
  | { readonly what: 'opened' }
  | { readonly what: 'closed'; readonly code: number }
  | { readonly what: 'asked'; readonly channel: string; readonly since: string | undefined }
  | { readonly what: 'frame'; readonly frame: Frame }
);

export interface SubscriberOptions {
  readonly url: () => string;
  readonly ca: string;
  readonly token: string;
  readonly channels: readonly string[];
  /** Whether the subscriber offers compression. */
  readonly perMessageDeflate: boolean;
  /** Whether each channel begins with a snapshot. */
  readonly snapshot: boolean;
  /**
   * After this many frames of a channel, the subscriber leaves it and subscribes again. 0: never.
   */
  readonly framesUntilRejoining: number;
  /** Whether the subscriber asks for the old rows of updates and deletes. */
  readonly old: boolean;
}

const RETRY_MS = 50;
const PING_MS = 300;
/** How long a connection may be silent after a ping before it counts as dead, in ms. */
const SILENCE_MAX_MS = 10_000;

class Interest {
  position: string | undefined;
  isLive = false;
  /** Whether the channel has been live on this connection. */
  hasBeenLive = false;
  frames = 0;
  openParts = 0;
  /** Whether the subscriber has sent an unsubscribe. */
  isLeaving = false;
}

export class Subscriber {
  readonly record: Note[] = [];
  readonly options: SubscriberOptions;
  readonly #interests: ReadonlyMap<string, Interest>;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #pinger: NodeJS.Timeout;
  #socket: WebSocket | undefined;
  #heardAt = 0;
  #isAway = false;
  #isSettled = false;
  #isClosed = false;

  constructor(options: SubscriberOptions) {
    this.options = options;
    this.#interests = new Map(options.channels.map((channel) => [channel, new Interest()]));
    this.#connect();
    this.#pinger = setInterval(() => this.#ping(), PING_MS);
  }

  /** Whether every channel is live on this connection, and none is being left. */
  get isLive(): boolean {
    return [...this.#interests.values()].every(({ isLive, isLeaving }) => isLive && !isLeaving);
  }

  /** Whether every channel has been live on this connection, even if it was left since. */
  get hasJoined(): boolean {
    return [...this.#interests.values()].every(({ hasBeenLive }) => hasBeenLive);
  }

  /** Number of connections so far. */
  get openings(): number {
    return this.record.reduce((count, { what }) => count + Number(what === 'opened'), 0);
  }

  /** Number of closes that asked to reconnect. */
  get sentAway(): number {
    return this.record.reduce((count, note) => count + Number(note.what === 'closed' && note.code === 1001), 0);
  }

  get deliveries(): number {
    return this.record.reduce(
      (count, note) => count + Number(note.what === 'frame' && /^(changes|message)$/.test(note.frame.type)),
      0,
    );
  }

  /** State of the connection and the newest note, for error messages. */
  get standing(): string {
    const { readyState = 'none' } = this.#socket ?? {};
    const silence = Math.round(performance.now() - this.#heardAt);
    const notes = JSON.stringify(this.record.slice(-5)).slice(0, 1_000);
    return `socket ${readyState}, opened ${this.openings} times, silent for ${silence} ms: ${notes}`;
  }

  /** Cuts the connection without a close frame, and does not reconnect. */
  leave(): void {
    this.#isAway = true;
    this.#socket?.terminate();
  }

  comeBack(): void {
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#connect();
  }

  /** Leaves every live channel, and subscribes again. */
  rejoin(): void {
    for (const [channel, interest] of this.#interests) if (interest.isLive) this.#leave(channel, interest);
  }

  /** Stops leaving channels by itself. */
  settle(): void {
    this.#isSettled = true;
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#pinger);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#socket?.terminate();
  }

  /** Connects, unless a connection exists. When a closing one ends, its handler connects again. */
  #connect(): void {
    if (this.#isAway || this.#isClosed || this.#socket !== undefined) return;
    const { url, ca, token, channels, perMessageDeflate } = this.options;
    const socket = new WebSocket(url(), { ca, maxPayload: 0, handshakeTimeout: SILENCE_MAX_MS, perMessageDeflate });
    this.#socket = socket;
    this.#heardAt = performance.now();
    socket.on('error', () => undefined);
    socket.on('open', () => {
      this.#note({ at: performance.now(), what: 'opened' });
      this.#send({ type: 'hello', token });
      for (const channel of channels) this.#subscribe(channel);
    });
    socket.on('message', (data) => this.#take(JSON.parse(String(data)) as Frame));
    socket.on('close', (code) => {
      this.#socket = undefined;
      this.#note({ at: performance.now(), what: 'closed', code });
      for (const interest of this.#interests.values()) {
        interest.isLive = false;
        interest.hasBeenLive = false;
        interest.isLeaving = false;
        interest.openParts = 0;
      }
      this.#later(() => this.#connect());
    });
  }

  #subscribe(channel: string): void {
    const since = this.#interest(channel).position;
    this.#note({ at: performance.now(), what: 'asked', channel, since });
    const from =
      since === undefined ? { ...(this.options.snapshot && hasRows(channel) && { snapshot: true }) } : { since };
    this.#send({ type: 'subscribe', channel, ...from, ...(this.options.old && { old: true }) });
  }

  #take(frame: Frame): void {
    this.#heardAt = performance.now();
    this.#note({ at: this.#heardAt, what: 'frame', frame });
    if (frame.type === 'heartbeat') {
      for (const interest of this.#interests.values())
        if (interest.isLive && interest.openParts === 0) interest.position = frame.position;
      return;
    }
    if (frame.channel === undefined) return;
    const interest = this.#interest(frame.channel);
    switch (frame.type) {
      case 'subscribed':
        interest.isLive = true;
        interest.hasBeenLive = true;
        interest.position = frame.position;
        return;
      case 'changes':
        interest.openParts = frame.last === false ? interest.openParts + 1 : 0;
        if (frame.last === false || !interest.isLive) return;
        interest.position = frame.position;
        return this.#rejoinAtTimes(frame.channel, interest);
      case 'message':
        interest.position = frame.position;
        return this.#rejoinAtTimes(frame.channel, interest);
      case 'reset':
        this.#forget(interest);
        return this.#subscribe(frame.channel);
      case 'unsubscribed':
        this.#forget(interest);
        return frame.code === 'client' ? this.#subscribe(frame.channel) : this.#retry(frame.channel);
      case 'error':
        // the channel was reset just when the subscriber wanted to leave
        if (frame.code === 'not_subscribed') return;
        interest.isLive = false;
        return this.#retry(frame.channel);
    }
  }

  #rejoinAtTimes(channel: string, interest: Interest): void {
    const { framesUntilRejoining } = this.options;
    if (this.#isSettled) return;
    if (framesUntilRejoining > 0 && ++interest.frames % framesUntilRejoining === 0) this.#leave(channel, interest);
  }

  #leave(channel: string, interest: Interest): void {
    if (interest.isLeaving) return;
    interest.isLeaving = true;
    this.#send({ type: 'unsubscribe', channel });
  }

  #forget(interest: Interest): void {
    interest.position = undefined;
    interest.isLive = false;
    interest.isLeaving = false;
    interest.openParts = 0;
  }

  #retry(channel: string): void {
    const socket = this.#socket;
    this.#later(() => {
      if (this.#socket === socket) this.#subscribe(channel);
    });
  }

  #interest(channel: string): Interest {
    const interest = this.#interests.get(channel);
    if (interest === undefined) throw new Error(`a frame of ${channel}, which was not subscribed`);
    return interest;
  }

  #note(note: Note): void {
    this.record.push(note);
  }

  #ping(): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    if (performance.now() - this.#heardAt > SILENCE_MAX_MS) this.#socket.terminate();
    else this.#send({ type: 'ping' });
  }

  #send(frame: unknown): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #later(work: () => void): void {
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, RETRY_MS);
    this.#timers.add(timer);
  }
}

/** Whether the channel has a view. */
function hasRows(channel: string): boolean {
  return !channel.startsWith('talk');
}
