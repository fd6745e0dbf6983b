/**
 * Rests between passes over many sockets.
 *
 * A small frame costs a socket's system call and a TLS record, however many events it holds. With
 * many subscribers, a pass takes milliseconds, and commits that arrive evenly would each have one.
 * So each socket rests after it was written to: the next write has the events of all commits that
 * arrived during a pass over the others and a rest.
 *
 *     sockets     slice 1  slice 2  ...  slice 8
 *     time       ----w--------w----...----w-------(rest)----w--------w----...
 *
 * A long pass goes slice by slice (slices.ts), with a turn of the event loop between them. A commit
 * that arrives during the pass is in the writes that follow. So it waits for a pass and a rest at
 * most, and never for the pass after that.
 *
 * Few subscribers never wait: their passes are short. Nor do many bytes: these cost more than the
 * calls.
 */
import { SLICES } from './slices.ts';

/** If a pass takes less, sockets do not rest, in ms. */
const PASS_MS_MIN = 2;
/** A rest is this part of a pass... */
const REST_PART = 0.8;
/** ...and not longer than this, in ms. */
const REST_MS_MAX = 15;
/** New entries of this many bytes do not wait for the end of a rest. */
const BYTES_MAX = 65_536;

export interface PaceOptions {
  /** Writes everything that has arrived to all sockets. */
  readonly pass: () => void;
  /** Writes everything that has arrived to the sockets of a slice. Called for each in turn. */
  readonly slice: (slice: number) => void;
  /** Whether something has arrived that some slice has not been given. */
  readonly isPending: () => boolean;
  /** Bytes of entries kept for the sockets, whether they have been passed on or not. */
  readonly bytes: () => number;
  /** In ms: only differences mean something. */
  readonly now: () => number;
  /** Calls back once, after so many ms; 0: in the next turn. Returns a function that cancels it. */
  readonly after: (ms: number, call: () => void) => () => void;
}

export class Pace {
  readonly #options: PaceOptions;
  /** How long each slice took at last, in ms. */
  readonly #took = new Float64Array(SLICES);
  /** The sum of these. */
  #passMs = 0;
  /** No write to a slice begins before, unless there are many bytes. */
  readonly #restsUntil = new Float64Array(SLICES).fill(Number.NEGATIVE_INFINITY);
  /** `bytes` when each slice was written to. */
  readonly #bytesThen = new Float64Array(SLICES);
  #next = 0;
  /** Set while a slice waits for its turn. */
  #cancel: (() => void) | undefined;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Passes on what has arrived: now, or after the rest. */
  flush(): void {
    if (this.#passMs < PASS_MS_MIN || this.#hasManyBytes()) this.pass();
    else if (this.#cancel === undefined && this.#rest <= 0) this.#slice();
    else this.#wait();
  }

  /** Passes on what has arrived, now, to all sockets. */
  pass(): void {
    this.stop();
    const { now, pass, bytes } = this.#options;
    const beganAt = now();
    pass();
    const endedAt = now();
    this.#passMs = endedAt - beganAt;
    this.#took.fill(this.#passMs / SLICES);
    this.#restsUntil.fill(endedAt + this.#restMs());
    this.#bytesThen.fill(bytes());
  }

  /** What waits is not passed on, until the next call. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** The time that is left of the next slice's rest, in ms. */
  get #rest(): number {
    return (this.#restsUntil[this.#next] as number) - this.#options.now();
  }

  #wait(): void {
    this.#cancel ??= this.#options.after(Math.max(this.#rest, 0), () => this.#due());
  }

  #due(): void {
    this.#cancel = undefined;
    if (this.#hasManyBytes()) this.pass();
    else this.#slice();
  }

  #slice(): void {
    const { now, slice, isPending, bytes } = this.#options;
    const index = this.#next;
    this.#next = (index + 1) % SLICES;
    const beganAt = now();
    slice(index);
    const took = now() - beganAt;
    this.#passMs += took - (this.#took[index] as number);
    this.#took[index] = took;
    // A pass and its rest, from the beginning of this write to that of the next one.
    this.#restsUntil[index] = beganAt + this.#passMs + this.#restMs();
    this.#bytesThen[index] = bytes();
    if (isPending()) this.#wait();
  }

  #restMs(): number {
    return this.#passMs < PASS_MS_MIN ? 0 : Math.min(this.#passMs * REST_PART, REST_MS_MAX);
  }

  #hasManyBytes(): boolean {
    return this.#options.bytes() - Math.min(...this.#bytesThen) >= BYTES_MAX;
  }
}
