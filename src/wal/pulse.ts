/**
 * Keeps one replication connection alive: tells the server what has been read and what it may forget, answers when it
 * asks, asks when nothing comes, and ends the connection when that is in vain.
 */
import { SnoError } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import type { Acknowledger } from './source.ts';
import { statusUpdate } from './status.ts';

export interface PulseOptions {
  readonly acknowledger: Acknowledger;
  readonly now: () => number;
  readonly send: (packet: Buffer) => void;
  /** Ends the connection. */
  readonly fail: (error: SnoError) => void;
}

/** How often it is looked whether there is something to tell the server. */
const INTERVAL_MS = 1_000;
/** Without a change, how often the status is sent nevertheless. */
const IDLE_MS = 10_000;
/** After how long without anything from the server it is asked for a sign of life. */
const QUIET_MS = 10_000;
/** A connection on which nothing has come for so long, though signs of life were asked for, is dead. */
const SILENCE_MAX_MS = 60_000;
/** A server asks for a reply when it has heard nothing for a while; so soon after one, only when it shuts down. */
const ASKED_AT_ONCE_MS = 250;
const ASKED_AT_ONCE_MAX = 5;

export class Pulse {
  readonly #options: PulseOptions;
  #timer: NodeJS.Timeout | undefined;
  #isReady = false;
  #isPaused = false;
  #sentAt = 0;
  #heardAt = 0;
  #askedAtOnce = 0;
  #written: Lsn = 0;
  #flushed: Lsn = 0;

  constructor(options: PulseOptions) {
    this.#options = options;
  }

  /** Begins with signs of life that acknowledge nothing. */
  start(): void {
    this.heard();
    // runs also while the socket is paused: the server must hear of us either way
    this.#timer = setInterval(() => this.#tick(), INTERVAL_MS);
  }

  /** The acknowledger speaks of this stream from now on. */
  ready(): void {
    this.#isReady = true;
    this.beat(true);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Something has come. */
  heard(): void {
    this.#heardAt = this.#options.now();
  }

  /** While the socket is paused, nothing is read, requests for a reply neither. */
  set isPaused(isPaused: boolean) {
    this.#isPaused = isPaused;
    this.heard();
  }

  /**
   * The server wants a reply. One that shuts down waits until all it has sent is flushed, and asks again and again. The
   * slot stays behind by the replay window, so the way to let the server go is to leave.
   */
  asked(): void {
    const isAtOnce = this.#options.now() - this.#sentAt < ASKED_AT_ONCE_MS;
    this.#askedAtOnce = isAtOnce ? this.#askedAtOnce + 1 : 0;
    if (this.#askedAtOnce <= ASKED_AT_ONCE_MAX) this.beat(false);
    else this.#options.fail(new SnoError('database_unreachable', 'Postgres is shutting down'));
  }

  /** Sends the status. A position of zero says nothing but "here". */
  beat(asksReply: boolean): void {
    const { acknowledger, now, send } = this.#options;
    this.#written = this.#isReady ? acknowledger.written() : 0;
    this.#flushed = this.#isReady ? acknowledger.flushed() : 0;
    this.#sentAt = now();
    send(statusUpdate(this.#written, this.#flushed, this.#sentAt, asksReply));
  }

  #tick(): void {
    const { acknowledger, now, fail } = this.#options;
    const silentMs = this.#isPaused ? 0 : now() - this.#heardAt;
    if (silentMs > SILENCE_MAX_MS) {
      fail(new SnoError('database_unreachable', `nothing has come from Postgres for ${Math.round(silentMs)} ms`));
      return;
    }
    const isQuiet = silentMs >= QUIET_MS;
    const isIdle = now() - this.#sentAt >= IDLE_MS;
    const isNews =
      this.#isReady && (acknowledger.flushed() !== this.#flushed || acknowledger.written() !== this.#written);
    if (isQuiet || isIdle || isNews || this.#isPaused) this.beat(isQuiet);
  }
}
