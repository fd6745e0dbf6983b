/**
 * Unstored frames that wait until their subscription is live: it joins, it reads from the journal,
 * or its access is being checked.
 */
import type { Subscription } from './subscription.ts';
import type { UnstoredFrame } from './unstored.ts';

/** Maximum frames that wait for one connection. */
const WAITING_MAX = 100;

export class WaitingFrames {
  #frames: (readonly [Subscription, UnstoredFrame])[] = [];
  #bytes = 0;

  /** Bytes of all frames. A frame that waits for several connections counts for each. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Returns false if too many frames wait, or `bytesMax` bytes or more: the frame is dropped. */
  add(subscription: Subscription, frame: UnstoredFrame, bytesMax: number): boolean {
    if (this.#isFull(bytesMax)) this.#keep(([each]) => !each.isEnded);
    if (this.#isFull(bytesMax)) return false;
    this.#frames.push([subscription, frame]);
    this.#bytes += frame.bytes;
    return true;
  }

  /** Removes and returns the frames of a subscription, in order. */
  take(subscription: Subscription): readonly UnstoredFrame[] {
    const taken = this.#frames.filter(([each]) => each === subscription).map(([, frame]) => frame);
    this.#keep(([each]) => each !== subscription && !each.isEnded);
    return taken;
  }

  #isFull(bytesMax: number): boolean {
    return this.#frames.length >= WAITING_MAX || this.#bytes >= bytesMax;
  }

  #keep(isKept: (frame: readonly [Subscription, UnstoredFrame]) => boolean): void {
    this.#frames = this.#frames.filter(isKept);
    this.#bytes = this.#frames.reduce((bytes, [, frame]) => bytes + frame.bytes, 0);
  }
}
