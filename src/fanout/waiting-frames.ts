/**
 * Frames that are in no stream, until their subscription is live: it joins, it reads from the
 * journal, or its access is being checked.
 */
import type { Subscription } from './subscription.ts';
import type { UnstoredFrame } from './unstored.ts';

/** Maximum frames that wait for one connection. */
const WAITING_MAX = 100;

export class WaitingFrames {
  #frames: (readonly [Subscription, UnstoredFrame])[] = [];

  /** Returns false if too many wait: the frame is dropped. */
  add(subscription: Subscription, frame: UnstoredFrame): boolean {
    if (this.#frames.length >= WAITING_MAX) this.#frames = this.#frames.filter(([each]) => !each.isEnded);
    if (this.#frames.length >= WAITING_MAX) return false;
    this.#frames.push([subscription, frame]);
    return true;
  }

  /** Removes and returns the frames of a subscription, in order. */
  take(subscription: Subscription): readonly UnstoredFrame[] {
    const taken = this.#frames.filter(([each]) => each === subscription).map(([, frame]) => frame);
    this.#frames = this.#frames.filter(([each]) => each !== subscription && !each.isEnded);
    return taken;
  }
}
