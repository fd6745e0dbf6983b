/**
 * A walsender writes each message by itself, and to be woken for each costs more than to handle it, on both sides. So while
 * many come, the reader rests for a moment between reads, and finds them joined. While few come, it never does.
 */
export interface PaceOptions {
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
  readonly pause: () => void;
  readonly resume: () => void;
}

const REST_MS = 1;
/** How often it is decided anew whether many come. */
const WINDOW_MS = 4;
/** Many: so many reads in a window, while it does not rest. */
const READS_MIN = 32;
/** Many still: so many bytes each millisecond, while it does. */
const BYTES_PER_MS_MIN = 2_048;
/** A read of so many bytes was worth its wake-up. */
const LARGE_BYTES = 32 * 1024;

export class Pace {
  readonly #options: PaceOptions;
  #isBusy = false;
  #since = 0;
  #reads = 0;
  #bytes = 0;
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
      this.#isBusy &&= this.#bytes >= BYTES_PER_MS_MIN * elapsedMs;
      this.#since += elapsedMs;
      this.#reads = 0;
      this.#bytes = 0;
    }
    this.#isBusy ||= this.#reads >= READS_MIN;
    if (this.#isBusy && bytes < LARGE_BYTES && !this.#isStopped) this.#rest();
  }

  /** Never rests again. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #rest(): void {
    this.#options.pause();
    if (this.#timer === undefined) this.#timer = setTimeout(this.#options.resume, REST_MS);
    else this.#timer.refresh();
  }
}
