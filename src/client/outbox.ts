/**
 * Frames to the server. They are sent at the end of the turn, no faster than the server accepts
 * them. A subscribe that still waits when its unsubscribe is added is never sent.
 */
import type { ClientFrame } from '../protocol.ts';
import type { Timers } from './options.ts';

/**
 * Maximum frames sent at once on a new connection. By default the server accepts 2,000
 * (SNO_MAX_FRAMES_PER_SECOND, averaged over 10 seconds).
 */
const BURST = 500;
const FRAMES_PER_SECOND = 100;

interface OutboxOptions {
  readonly timers: Timers;
  readonly now: () => number;
  send(text: string): void;
  /** A subscribe and its unsubscribe were both left out: the server will not answer. */
  cancelled(channel: string): void;
}

export class Outbox {
  readonly #options: OutboxOptions;
  #waiting: { readonly frame: ClientFrame; readonly text: string }[] = [];
  #left = BURST;
  #countedAt = 0;
  #timer: unknown;
  #isFlushing = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Throws what `JSON.stringify` throws; then nothing is sent. */
  push(frame: ClientFrame): void {
    if (frame.type === 'unsubscribe' && this.#cancel(frame.channel)) return;
    // At once, since an app may change the data of a send in the same turn.
    this.#waiting.push({ frame, text: JSON.stringify(frame) });
    if (this.#isFlushing || this.#timer !== undefined) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  /** The connection changed or ended: drops all waiting frames. */
  reset(): void {
    this.#waiting = [];
    this.#left = BURST;
    this.#countedAt = this.#options.now();
    this.#options.timers.clear(this.#timer);
    this.#timer = undefined;
  }

  #cancel(channel: string): boolean {
    const at = this.#waiting.findLastIndex(({ frame }) => 'channel' in frame && frame.channel === channel);
    if (this.#waiting[at]?.frame.type !== 'subscribe') return false;
    this.#waiting.splice(at, 1);
    this.#options.cancelled(channel);
    return true;
  }

  #flush(): void {
    const { now, timers, send } = this.#options;
    const at = now();
    const earned = (Math.max(0, at - this.#countedAt) / 1_000) * FRAMES_PER_SECOND;
    this.#left = Math.min(BURST, this.#left + earned);
    this.#countedAt = at;
    const count = Math.min(this.#waiting.length, Math.floor(this.#left));
    this.#left -= count;
    for (const { text } of this.#waiting.splice(0, count)) send(text);
    if (this.#waiting.length === 0) return;
    this.#timer = timers.set(
      () => {
        this.#timer = undefined;
        this.#flush();
      },
      Math.ceil((1_000 * (1 - this.#left)) / FRAMES_PER_SECOND),
    );
  }
}
