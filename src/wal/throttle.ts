/**
 * A walsender writes each message separately, and each wake-up costs more than the message, on both
 * sides. So while many messages arrive, the reader rests for some milliseconds between reads, and
 * finds them joined. While few arrive, it never rests.
 *
 * Each message is also a packet of its own, unless the sender's congestion window is full: then TCP
 * joins the messages that wait. A rest ends in one acknowledgement of everything received during
 * it. BBR adds the bytes of that burst to the window. In the end the window holds everything sent
 * during a rest, and TCP joins nothing any more. BBR looks back for ten round trips. So after a few
 * rests, the reader reads a dozen times without a rest, a few packets each.
 *
 * While a transaction in progress is received, the writer of the transaction, the walsender and the
 * reader share the processors. Rests are then longer.
 *
 * If more WAL waits than one read takes, Node reads the socket up to 32 times in one turn of the
 * event loop: two megabytes, which take more than a tenth of a second. Answers of the database and
 * requests of clients would wait for that. So they get a turn after a part of it.
 */
import { READ_BYTES_MAX } from '../postgres/in-place-socket.ts';

export interface ReadThrottleOptions {
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
  readonly pause: () => void;
  readonly resume: () => void;
  /** Whether a transaction in progress is being received. */
  readonly isInProgress?: () => boolean;
}

/** How long a rest may be, in ms. A timer has no finer steps than the shortest. */
const REST_MS_MIN = 1;
const REST_MS_MAX = 4;
const LONG_REST_MS_MAX = 10;
/** Bytes that should arrive in a rest: well below a read's maximum, so that one read takes all. */
const REST_BYTES = 40 * 1024;
/** The same of a long rest, which several reads follow. */
const LONG_REST_BYTES = 240 * 1024;
/** Number of rests before READS_AT_ONCE reads without a rest. */
const RESTS = 4;
const READS_AT_ONCE = 12;
/** How often the reader decides anew whether many messages arrive, in ms. */
const WINDOW_MS = 4;
/** Minimum reads in a window before the reader starts to rest. */
const READS_MIN = 32;
/** Minimum bytes per ms for the reader to keep resting. */
const BYTES_PER_MS_MIN = 2_048;
/**
 * Minimum bytes of a read that another one may follow in the same turn: what a TLS record has at
 * most.
 */
const FULL_BYTES = 16 * 1024;
/** Bytes of such reads before everything else gets a turn. */
const TURN_BYTES = 8 * READ_BYTES_MAX;
/**
 * Number of consecutive quiet windows before the reader stops resting: a walsender may lack a
 * processor for a moment.
 */
const QUIET_WINDOWS = 4;

export class ReadThrottle {
  readonly #options: ReadThrottleOptions;
  #isBusy = false;
  #bytesPerMs = 0;
  #since = 0;
  #reads = 0;
  #bytes = 0;
  #quietWindows = 0;
  #rests = 0;
  /** Number of coming reads without a rest. */
  #readsAtOnce = 0;
  #timer: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;
  /** Bytes of full reads since the last turn of everything else. */
  #turnBytes = 0;
  #isStopped = false;

  constructor(options: ReadThrottleOptions) {
    this.#options = options;
  }

  /**
   * Called after a read. Rests if the read was small while many messages arrive. Lets everything
   * else have a turn after many bytes.
   */
  read(bytes: number): void {
    this.#reads++;
    this.#bytes += bytes;
    const elapsedMs = this.#options.now() - this.#since;
    if (elapsedMs >= WINDOW_MS) {
      this.#bytesPerMs = this.#bytes / elapsedMs;
      this.#quietWindows = this.#bytesPerMs >= BYTES_PER_MS_MIN ? 0 : this.#quietWindows + 1;
      this.#isBusy &&= this.#quietWindows < QUIET_WINDOWS;
      this.#since += elapsedMs;
      this.#reads = 0;
      this.#bytes = 0;
    }
    this.#isBusy ||= this.#reads >= READS_MIN;
    this.#turnBytes = bytes < FULL_BYTES ? 0 : this.#turnBytes + bytes;
    if (this.#isStopped) return;
    if (this.#isBusy && bytes < READ_BYTES_MAX) {
      if (this.#readsAtOnce <= 0) return this.#rest();
      this.#readsAtOnce--;
    }
    if (this.#turnBytes >= TURN_BYTES) this.#endTurn();
  }

  /** Never rests again. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#turn);
  }

  #endTurn(): void {
    this.#turnBytes = 0;
    this.#options.pause();
    this.#turn = setImmediate(this.#options.resume);
  }

  #rest(): void {
    this.#turnBytes = 0;
    if (++this.#rests % RESTS === 0) this.#readsAtOnce = READS_AT_ONCE;
    this.#options.pause();
    clearTimeout(this.#timer);
    const isLong = this.#options.isInProgress?.() === true;
    const ms = Math.round((isLong ? LONG_REST_BYTES : REST_BYTES) / this.#bytesPerMs);
    const msMax = isLong ? LONG_REST_MS_MAX : REST_MS_MAX;
    this.#timer = setTimeout(this.#options.resume, Math.min(Math.max(ms, REST_MS_MIN), msMax));
  }
}
