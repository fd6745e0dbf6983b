/**
 * One event stream (server-sent events): a GET whose response does not end. The client cannot send
 * more, so the stream does for it what a websocket client does by itself: it subscribes, takes a
 * new snapshot after `reset`, and retries.
 *
 * One id stands for all channels: the client sends the last one when it reconnects, and every
 * channel resumes from there. So an id counts only for the channels that are **in step**. They are
 * complete up to the same position, and go on together in commit order. The id names the others
 * (stream-id.ts): these start anew when the client comes back with it. stream-encoding.ts makes the
 * ids of several channels.
 *
 * - Channels that resume are in step from the start. None of them sends events before each is
 *   subscribed or refused (`hold`).
 * - A channel that starts from now, or with a snapshot, is in step once it is subscribed and the
 *   connection is complete up to the head.
 * - A channel is out of step after `reset`, until it has started anew. A channel that is refused,
 *   or whose access ends, stays out until the client reconnects.
 *
 * The stream ends with its last channel. If the client need not reconnect, it first receives the id
 * FINISHED: a request with this id is answered with 204, which makes EventSource stop.
 */
import type { ServerResponse } from 'node:http';
import type { Identity } from '../../access/access.ts';
import { backoff } from '../../backoff.ts';
import { noTimer } from '../../clock.ts';
import type { SnoError } from '../../errors.ts';
import type { Fanout, Feed, FeedObserver } from '../../fanout/fanout.ts';
import { HEARTBEAT_SECONDS, type ServerFrame } from '../../protocol.ts';
import type { Client, ClientState } from '../clients.ts';
import { Session, type SessionConnection, type SessionServices } from '../session.ts';
import { COMMENT, type EventEncodings, type Events, eventOf, idOnly, retryAfter } from './encoding.ts';
import type { StreamQuery } from './query.ts';
import { StreamEncoding } from './stream-encoding.ts';
import { resumptionOf, StreamIds, type StreamState } from './stream-id.ts';

/** The last id of a stream to which the client need not reconnect. */
export const FINISHED = 'finished';
/**
 * How long a client waits before it reconnects, in ms, from and to. The time is random, so that
 * clients do not all reconnect at once when the server restarts.
 */
const RETRY_MS = [1_000, 4_000] as const;
/** The same for a client that would probably be refused again. */
export const LATER_MS = [5_000, 15_000] as const;
/** Maximum heartbeats during which a client accepts no byte of what waits for it. */
const STALLED_BEATS_MAX = 2;
/** Errors of a channel that pass by themselves. */
const PASSING: ReadonlySet<string> = new Set(['try_again', 'overloaded']);

export interface StreamServices extends SessionServices {
  readonly fanout: SessionServices['fanout'] & Pick<Fanout, 'epoch' | 'attach'>;
  readonly events: EventEncodings;
}

/** How a channel has ended. later: it may be served again. expired: it needs another token. */
type Ending = 'final' | 'later' | 'expired';

export class EventStream implements Client, SessionConnection, FeedObserver {
  beatPart = 0;
  readonly deflates = false;
  readonly #response: ServerResponse;
  readonly #services: StreamServices;
  readonly #query: StreamQuery;
  readonly #feed: Feed;
  readonly #session: Session;
  /** The channels that are not subscribed yet, and where each is to resume. */
  readonly #joining = new Map<string, string | undefined>();
  /** The channels that resume and have no answer yet. While there are any, the feed is held. */
  readonly #resuming = new Set<string>();
  readonly #inStep = new Set<string>();
  readonly #ended = new Map<string, Ending>();
  /** Channels that carry published messages only: they have no snapshot. */
  readonly #rowless = new Set<string>();
  /** The channels that wait for their next attempt to join. */
  readonly #waiting = new Set<string>();
  /** What the client holds. Undefined: nothing. */
  readonly #held: StreamState | undefined;
  /** The encoding with ids of several channels. Undefined: the stream has one channel. */
  readonly #several: StreamEncoding | undefined;
  readonly #events: Events;
  #cancelWait = noTimer;
  #attempts = 0;
  #isSettling = false;
  #isClosing = false;
  // Values at the last heartbeat:
  #bytesAccepted = 0;
  #stalledBeats = 0;

  /** The response has no head yet. */
  constructor(response: ServerResponse, query: StreamQuery, address: string, services: StreamServices) {
    this.#response = response;
    this.#services = services;
    this.#query = query;
    const { events, fanout } = services;
    const { channels, since, old, ids: place } = query;
    this.#events = old ? events.withOldValues : events.usual;
    const ids = new StreamIds(channels);
    this.#held = since === undefined ? undefined : ids.read(since);
    if (channels.length > 1)
      this.#several = new StreamEncoding(this.#events.plain, ids, () => fanout.epoch ?? '', place, this.#held);
    this.#feed = fanout.attach(response, this.#events.plain, this);
    this.#session = new Session(this.#feed, services, this, address);
  }

  get id(): string {
    return this.#session.id;
  }

  get user(): string | undefined {
    return this.#session.user;
  }

  get feed(): Feed {
    return this.#feed;
  }

  get state(): ClientState {
    const sentBytes = this.#response.socket?.bytesWritten ?? 0;
    return { ...this.#session.state, protocol: 'sse', sentBytes };
  }

  get address(): string {
    return this.#session.address;
  }

  verify(token: string | undefined): Promise<Identity | SnoError> {
    return this.#session.verify(token);
  }

  /** Call when the response's head has been sent. */
  open(identity: Identity, epoch: string): void {
    const { channels, since } = this.#query;
    this.#session.renew(identity);
    this.#feed.sendRaw(retryAfter(this.#between(RETRY_MS)));
    this.#feed.send({ type: 'welcome', connection: this.#session.id, epoch, heartbeat_s: HEARTBEAT_SECONDS });
    for (const channel of channels) {
      // An id of another server, of an earlier version, or of other channels.
      if (since !== undefined && this.#held === undefined)
        this.#feed.sendRaw(eventOf({ type: 'reset', channel, reason: 'epoch_changed' }));
      const from = this.#held === undefined ? undefined : resumptionOf(this.#held, channel);
      this.#joining.set(channel, from);
      if (from !== undefined) this.#resuming.add(channel);
    }
    if (this.#resuming.size > 0) this.#feed.hold();
    for (const channel of channels) this.#join(channel);
  }

  drain(): void {
    this.#finish(retryAfter(this.#between(RETRY_MS)));
  }

  suspend(): void {
    this.#finish(retryAfter(this.#between(LATER_MS)));
  }

  terminate(): void {
    this.#response.destroy();
  }

  /** Call when the connection is closed. */
  end(): void {
    this.#isClosing = true;
    this.#cancelWait();
    this.#session.end();
    this.#feed.detach();
  }

  /** Sends a comment, or closes the connection if the client has accepted nothing for long. */
  beat(): void {
    const { writableLength, writableNeedDrain, socket } = this.#response;
    const accepted = (socket?.bytesWritten ?? 0) - writableLength;
    this.#stalledBeats = writableNeedDrain && accepted === this.#bytesAccepted ? this.#stalledBeats + 1 : 0;
    this.#bytesAccepted = accepted;
    if (this.#stalledBeats > STALLED_BEATS_MAX) this.terminate();
    else if (!writableNeedDrain) this.#feed.sendRaw(COMMENT);
  }

  sendError(error: SnoError, channel: string): void {
    if (this.#isClosing) return;
    if (error.code === 'snapshot_unavailable') {
      this.#rowless.add(channel);
      this.#join(channel);
      return;
    }
    const { code, message } = this.#session.record(error, channel);
    this.#feed.send({ type: 'error', code, message, channel });
  }

  sending(frame: ServerFrame): void {
    if (this.#isClosing) return;
    switch (frame.type) {
      case 'subscribed':
        this.#onSubscribed(frame.channel);
        break;
      case 'reset':
        this.#outOfStep(frame.channel);
        this.#joinLater(frame.channel, undefined);
        break;
      case 'unsubscribed':
        this.#onEnded(frame.channel, endingOf(frame));
        break;
      case 'error':
        if (frame.channel === undefined) break;
        if (PASSING.has(frame.code)) this.#joinLater(frame.channel, this.#joining.get(frame.channel));
        else this.#onEnded(frame.channel, refusalOf(frame.code));
        break;
      case 'welcome':
      case 'snapshot':
      case 'changes':
      case 'message':
      case 'presence':
      case 'heartbeat':
        break;
    }
    this.#settleSoon();
  }

  caughtUp(): void {
    if (this.#isClosing || this.#resuming.size > 0) return;
    const before = this.#inStep.size;
    for (const channel of this.#query.channels)
      if (this.#feed.has(channel) && !this.#joining.has(channel)) this.#inStep.add(channel);
    if (this.#inStep.size === before) return;
    this.#chooseEncoding();
    this.#feed.heartbeat();
  }

  #onSubscribed(channel: string): void {
    this.#joining.delete(channel);
    this.#attempts = 0;
    // A channel alone is in step at once: the frame that is to be sent has an id.
    if (this.#query.channels.length > 1) return;
    this.#resuming.delete(channel);
    this.#inStep.add(channel);
    this.#chooseEncoding();
  }

  #outOfStep(channel: string): void {
    this.#resuming.delete(channel);
    if (this.#inStep.delete(channel)) this.#chooseEncoding();
  }

  #onEnded(channel: string, ending: Ending): void {
    this.#joining.delete(channel);
    this.#waiting.delete(channel);
    this.#ended.set(channel, ending);
    this.#outOfStep(channel);
  }

  /** Calls `#settle` once the current call of fan-out or the session has returned. */
  #settleSoon(): void {
    if (this.#isSettling) return;
    this.#isSettling = true;
    queueMicrotask(() => {
      this.#isSettling = false;
      if (!this.#isClosing) this.#settle();
    });
  }

  #settle(): void {
    if (this.#ended.size === this.#query.channels.length) {
      this.#finishEnded();
      return;
    }
    if ([...this.#resuming].some((channel) => this.#joining.has(channel))) return;
    for (const channel of this.#resuming) this.#inStep.add(channel);
    if (this.#resuming.size > 0) this.#chooseEncoding();
    this.#resuming.clear();
    this.#feed.release();
  }

  /** Chooses the encoding of all further events, by the channels that are in step now. */
  #chooseEncoding(): void {
    const { plain, withIds } = this.#events;
    this.#several?.leaveOut(new Set(this.#query.channels.filter((channel) => !this.#inStep.has(channel))));
    this.#feed.setEncoding(this.#inStep.size === 0 ? plain : (this.#several ?? withIds[this.#query.ids]));
  }

  #join(channel: string): void {
    const since = this.#joining.get(channel);
    const snapshot = this.#query.snapshot && !this.#rowless.has(channel);
    const presence = this.#query.presence ? ({ presence: 'watch' } as const) : {};
    this.#session.subscribe({ channel, ...(since === undefined ? { snapshot } : { since }), ...presence });
  }

  /** Joins after a wait that grows with each attempt. */
  #joinLater(channel: string, since: string | undefined): void {
    this.#joining.set(channel, since);
    this.#waiting.add(channel);
    if (this.#waiting.size > 1) return;
    const { clock } = this.#services;
    this.#cancelWait = clock.after(backoff(this.#attempts++, clock.random()), () => {
      this.#cancelWait = noTimer;
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const each of waiting) this.#join(each);
    });
  }

  /** Ends the stream: its last channel has ended. */
  #finishEnded(): void {
    const endings = new Set(this.#ended.values());
    if (endings.has('expired')) this.#finish(retryAfter(this.#between(RETRY_MS)));
    else if (endings.has('later')) this.#finish(retryAfter(this.#between(LATER_MS)));
    else this.#finish(idOnly(FINISHED, this.#query.ids));
  }

  #finish(last: Buffer): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#cancelWait();
    this.#session.end();
    this.#feed.close(last, () => this.#response.end());
  }

  #between([from, to]: readonly [number, number]): number {
    return from + (to - from) * this.#services.clock.random();
  }
}

function endingOf({ code, undeclared }: Extract<ServerFrame, { type: 'unsubscribed' }>): Ending {
  if (code === 'token_expired') return 'expired';
  return code === 'channel_dropped' || undeclared === true ? 'later' : 'final';
}

function refusalOf(code: string): Ending {
  if (code === 'token_expired') return 'expired';
  return code === 'channel_unavailable' ? 'later' : 'final';
}
