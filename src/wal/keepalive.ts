/**
 * Keeps one replication connection alive. It reports to the server what has been read and which WAL
 * the server may drop. It replies when the server asks. If nothing arrives, it asks the server for
 * a reply, and closes the connection if none comes.
 *
 * A walsender that decodes much of which it sends nothing does not reply meanwhile: up to half of
 * wal_sender_timeout, or longer. So the server is asked over another connection whether it decodes.
 */
import { SnoError } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import type { Acknowledger } from './source.ts';
import { statusUpdate } from './status.ts';

export interface KeepaliveSenderOptions {
  readonly acknowledger: Acknowledger;
  readonly now: () => number;
  readonly send: (packet: Buffer) => void;
  /** Called to end the connection. */
  readonly fail: (error: SnoError) => void;
  /**
   * How long the server may receive nothing before it ends the connection, in ms
   * (wal_sender_timeout). 0: no limit.
   */
  readonly walSenderTimeoutMs: number;
  /** How long the server may be silent before it is asked for a reply, in ms. */
  readonly quietMs?: number;
  /** Asks the server whether its walsender decodes now. Rejects if the server does not answer. */
  readonly isDecoding?: () => Promise<boolean>;
}

/** Maximum time between two checks for news to report to the server, in ms. */
const INTERVAL_MS_MAX = 1_000;
const INTERVAL_MS_MIN = 10;
/** Maximum time between two status packets when nothing has changed, in ms. */
const IDLE_MS_MAX = 10_000;
/** Number of status packets that the server receives within wal_sender_timeout. */
const BEATS_IN_TIMEOUT = 4;
/** How long the server may be silent before it is asked for a reply, in ms. */
export const QUIET_MS = 10_000;
/**
 * How long the server may be silent, although asked for a reply and not decoding, before the
 * connection counts as dead, in ms.
 */
const SILENCE_MAX_MS = 60_000;
/**
 * A server asks for a reply when it has heard nothing for half of wal_sender_timeout. It asks again
 * within this time, in ms, only when it shuts down.
 */
const ASKED_AT_ONCE_MS_MAX = 250;
const ASKED_AT_ONCE_MAX = 5;

export class KeepaliveSender {
  readonly #options: KeepaliveSenderOptions;
  readonly #intervalMs: number;
  readonly #idleMs: number;
  readonly #askedAtOnceMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isReady = false;
  #isPaused = false;
  #sentAt = 0;
  #heardAt = 0;
  /** When the walsender was last known to decode. */
  #decodedAt = Number.NEGATIVE_INFINITY;
  #isAskingDecoding = false;
  #askedAt = Number.NEGATIVE_INFINITY;
  #askedAtOnce = 0;
  #written: Lsn = 0;
  #flushed: Lsn = 0;

  constructor(options: KeepaliveSenderOptions) {
    this.#options = options;
    const timeoutMs = options.walSenderTimeoutMs || Number.POSITIVE_INFINITY;
    this.#idleMs = Math.min(IDLE_MS_MAX, timeoutMs / BEATS_IN_TIMEOUT);
    this.#intervalMs = Math.max(INTERVAL_MS_MIN, Math.min(INTERVAL_MS_MAX, this.#idleMs / 2));
    this.#askedAtOnceMs = Math.min(ASKED_AT_ONCE_MS_MAX, timeoutMs / BEATS_IN_TIMEOUT);
  }

  /** Starts to send status packets, which acknowledge nothing before `ready`. */
  start(): void {
    this.heard();
    // Runs while the socket is paused too: the server must hear of us either way.
    this.#timer = setInterval(() => this.#tick(), this.#intervalMs);
  }

  /** The acknowledger's positions apply to this stream from now on. */
  ready(): void {
    this.#isReady = true;
    this.beat(true);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Time since something arrived, in ms. 0 while the socket is paused. */
  get silenceMs(): number {
    return this.#isPaused ? 0 : this.#options.now() - this.#heardAt;
  }

  /** Time since something arrived, or since the walsender was known to decode, in ms. */
  get stalledMs(): number {
    return Math.min(this.silenceMs, this.#options.now() - this.#decodedAt);
  }

  /** Call when something arrived. */
  heard(): void {
    this.#heardAt = this.#options.now();
  }

  /** While the socket is paused, nothing is read, including requests for a reply. */
  set isPaused(isPaused: boolean) {
    this.#isPaused = isPaused;
    this.heard();
  }

  /**
   * Call when the server asks for a reply. A server that shuts down waits until everything it has
   * sent is flushed, and asks repeatedly. The slot stays behind by the replay window, so the
   * connection must close to let the server stop.
   */
  asked(): void {
    const now = this.#options.now();
    this.#askedAtOnce = now - this.#askedAt < this.#askedAtOnceMs ? this.#askedAtOnce + 1 : 0;
    this.#askedAt = now;
    if (this.#askedAtOnce <= ASKED_AT_ONCE_MAX) this.beat(false);
    else this.#options.fail(new SnoError('database_unreachable', 'Postgres is shutting down'));
  }

  /** Sends the status. A position of zero acknowledges nothing. */
  beat(asksReply: boolean): void {
    const { acknowledger, now, send } = this.#options;
    this.#written = this.#isReady ? acknowledger.written() : 0;
    this.#flushed = this.#isReady ? acknowledger.flushed() : 0;
    this.#sentAt = now();
    send(statusUpdate(this.#written, this.#flushed, this.#sentAt, asksReply));
  }

  #tick(): void {
    const { acknowledger, now, fail } = this.#options;
    const silentMs = this.silenceMs;
    if (this.stalledMs > SILENCE_MAX_MS) {
      fail(new SnoError('database_unreachable', `Postgres has sent nothing for ${Math.round(silentMs)} ms`));
      return;
    }
    const { quietMs = QUIET_MS } = this.#options;
    const isQuiet = silentMs >= quietMs;
    const isIdle = now() - this.#sentAt >= this.#idleMs;
    const isNews =
      this.#isReady && (acknowledger.flushed() !== this.#flushed || acknowledger.written() !== this.#written);
    if (isQuiet || isIdle || isNews || this.#isPaused) this.beat(isQuiet);
    // the server has not replied to the last packet
    if (silentMs >= quietMs + this.#intervalMs) void this.#askDecoding();
  }

  async #askDecoding(): Promise<void> {
    const { isDecoding, now } = this.#options;
    if (isDecoding === undefined || this.#isAskingDecoding) return;
    this.#isAskingDecoding = true;
    const askedAt = now();
    if (await isDecoding().catch(() => false)) this.#decodedAt = askedAt;
    this.#isAskingDecoding = false;
  }
}
