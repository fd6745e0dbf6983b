/**
 * A walsender writes each message by itself, and to be woken for each costs more than to handle it, on both sides. So while
 * many come, the reader rests for some milliseconds between reads, and finds them joined. While few come, it never does.
 *
 * Each message is a packet, too, unless the sender's TCP holds it back because it has as many packets under way as its
 * congestion window allows: then it joins all that follow. A rest ends in one acknowledgement of all that came in it, and
 * BBR adds what is acknowledged in one burst to that window, until a whole rest fits into it and nothing is joined any more. It looks
 * back for ten round trips. So after a few rests a dozen reads follow each other at once, each of few packets.
 */
import { READ_BYTES_MAX } from '../postgres/in-place-socket.ts';

export interface PaceOptions {
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
  readonly pause: () => void;
  readonly resume: () => void;
}

/** How long a rest may be; a timer has no finer steps than the shortest. */
const REST_MS_MIN = 1;
const REST_MS_MAX = 4;
/** What a rest is to bring: well below what a read takes, so that the next finds all of it. */
const REST_BYTES = 40 * 1024;
/** After so many rests, so many reads without one. */
const RESTS = 4;
const READS_AT_ONCE = 12;
/** How often it is decided anew whether many come. */
const WINDOW_MS = 4;
/** Many: so many reads in a window, while it does not rest. */
const READS_MIN = 32;
/** Many still: so many bytes each millisecond, while it does. */
const BYTES_PER_MS_MIN = 2_048;
/** So many windows in a row with fewer end it: a walsender that was not given a processor for a moment goes on. */
const QUIET_WINDOWS = 4;

export class Pace {
  readonly #options: PaceOptions;
  #isBusy = false;
  #bytesPerMs = 0;
  #since = 0;
  #reads = 0;
  #bytes = 0;
  #quietWindows = 0;
  #rests = 0;
  /** Reads that no rest follows. */
  #readsAtOnce = 0;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Something was read: rests where that was little of much. */
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
    if (!this.#isBusy || bytes >= READ_BYTES_MAX || this.#isStopped) return;
    if (this.#readsAtOnce > 0) this.#readsAtOnce--;
    else this.#rest();
  }

  /** Never rests again. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #rest(): void {
    if (++this.#rests % RESTS === 0) this.#readsAtOnce = READS_AT_ONCE;
    this.#options.pause();
    clearTimeout(this.#timer);
    const ms = Math.round(REST_BYTES / this.#bytesPerMs);
    this.#timer = setTimeout(this.#options.resume, Math.min(Math.max(ms, REST_MS_MIN), REST_MS_MAX));
  }
}
