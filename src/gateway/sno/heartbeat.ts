/**
 * One timer that gives every connection its heartbeat. Each tick serves a part of them, so that a
 * hundred thousand pings are not sent in one turn of the loop.
 */
import { HEARTBEAT_SECONDS } from '../../protocol.ts';

const PARTS = 100;

export interface Beating {
  /** The part that it belongs to. Set by the heartbeat. */
  beatPart: number;
  beat(): void;
}

export class Heartbeat<Member extends Beating> {
  readonly #parts: readonly Set<Member>[] = Array.from({ length: PARTS }, () => new Set<Member>());
  readonly #timer: NodeJS.Timeout;
  #joined = 0;
  #next = 0;

  /** `periodMs`: time between two beats of one member, in ms. */
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
