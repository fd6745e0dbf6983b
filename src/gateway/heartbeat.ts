/**
 * One timer for the heartbeats of all connections. Each tick serves a part of them, so that a
 * hundred thousand pings are not sent in one turn of the event loop.
 */
import { HEARTBEAT_SECONDS } from '../protocol.ts';

const PARTS = 100;

export interface Beating {
  /** The part that it belongs to. Set by the heartbeat. */
  beatPart: number;
  beat(): void;
}

export class Heartbeat<Client extends Beating> {
  readonly #parts: readonly Set<Client>[] = Array.from({ length: PARTS }, () => new Set<Client>());
  readonly #timer: NodeJS.Timeout;
  #count = 0;
  #next = 0;

  /** `periodMs`: time between two beats of one client, in ms. */
  constructor(periodMs = HEARTBEAT_SECONDS * 1_000) {
    this.#timer = setInterval(() => this.#tick(), periodMs / PARTS);
    this.#timer.unref();
  }

  join(client: Client): void {
    client.beatPart = this.#count++ % PARTS;
    this.#parts[client.beatPart]?.add(client);
  }

  leave(client: Client): void {
    this.#parts[client.beatPart]?.delete(client);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const part = this.#parts[this.#next++ % PARTS] as Set<Client>;
    for (const client of part) client.beat();
  }
}
