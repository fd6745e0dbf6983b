/**
 * One timer that gives every connection its heartbeat, a part of them at each tick, so that a hundred thousand pings
 * don't go out in one turn of the loop.
 */
import { HEARTBEAT_SECONDS } from '../protocol.ts';

const PARTS = 100;

export class Heartbeat<Member extends { beat(): void }> {
  readonly #parts: readonly Set<Member>[] = Array.from({ length: PARTS }, () => new Set<Member>());
  readonly #timer: NodeJS.Timeout;
  #joined = 0;
  #next = 0;

  /** `periodMs` is between two beats of one member. */
  constructor(periodMs = HEARTBEAT_SECONDS * 1_000) {
    this.#timer = setInterval(() => this.#tick(), periodMs / PARTS);
    this.#timer.unref();
  }

  /** Returns how to leave. */
  join(member: Member): () => void {
    const part = this.#parts[this.#joined++ % PARTS] as Set<Member>;
    part.add(member);
    return () => part.delete(member);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const part = this.#parts[this.#next++ % PARTS] as Set<Member>;
    for (const member of part) member.beat();
  }
}
