/**
 * One timer that gives every connection its heartbeat, a part of them at each tick, so that a hundred thousand pings
 * don't go out in one turn of the loop.
 */
import { HEARTBEAT_SECONDS } from '../protocol.ts';

const PARTS = 100;

export interface Beating {
  /** Which part it is of. Set by the heartbeat. */
  beatPart: number;
  beat(): void;
}

export class Heartbeat<Member extends Beating> {
  readonly #parts: readonly Set<Member>[] = Array.from({ length: PARTS }, () => new Set<Member>());
  readonly #timer: NodeJS.Timeout;
  #joined = 0;
  #next = 0;

  /** `periodMs` is between two beats of one member. */
  constructor(periodMs = HEARTBEAT_SECONDS * 1_000) {
    this.#timer = setInterval(() => this.#tick(), periodMs / PARTS);
    this.#timer.unref();
  }

  join(member: Member): void {
    member.beatPart = this.#joined++ % PARTS;
    this.#parts[member.beatPart]?.add(member);
  }

  leave(member: Member): void {
    this.#parts[member.beatPart]?.delete(member);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const part = this.#parts[this.#next++ % PARTS] as Set<Member>;
    for (const member of part) member.beat();
  }
}
