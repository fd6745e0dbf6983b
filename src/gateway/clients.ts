/** The clients of this process, in whichever protocol: their heartbeat, their number, the drain. */
import type { Clock } from '../clock.ts';
import type { SnoError } from '../errors.ts';
import type { Feed } from '../fanout/fanout.ts';
import type { AdmissionDesk } from './accept/admission.ts';
import { type Beating, Heartbeat } from './heartbeat.ts';
import type { SessionState } from './session.ts';

/** How long clients may take to close after the last one was told that the server drains, in ms. */
const DRAIN_GRACE_MS = 2_000;

/** What an operator sees of a client. */
export interface ClientState extends SessionState {
  readonly protocol: 'ws' | 'sse' | 'pusher';
  /** Bytes written to its socket. */
  readonly sentBytes: number;
}

export interface Client extends Beating {
  readonly id: string;
  readonly user: string | undefined;
  readonly feed: Pick<Feed, 'behind' | 'pendingBytes' | 'isComplete' | 'states' | 'subscriptionCount'>;
  readonly state: ClientState;
  /** The client's address as limits count it. */
  readonly address: string;
  /** Whether it receives compressed frames. */
  readonly deflates: boolean;
  /** Tells the client to reconnect to another server, and closes. */
  drain(): void;
  /** Tells the client to come back later, and closes. */
  suspend(): void;
  /** Closes at once. */
  terminate(): void;
}

/** A client that has been upgraded to a websocket. */
export interface WebSocketClient extends Client {
  /** The client has been admitted. */
  begin(): void;
  /** Tells the client that a limit is exceeded, and to come back later, then closes. */
  turnAway(error: SnoError): void;
}

export class Clients {
  readonly #clock: Clock;
  readonly #admission: AdmissionDesk;
  readonly #heartbeat: Heartbeat<Client>;
  readonly #all = new Set<Client>();
  #isDraining = false;
  #onEmpty: () => void = () => {};

  /** `admission` has counted each client before `add`. */
  constructor(clock: Clock, admission: AdmissionDesk, heartbeatMs: number | undefined) {
    this.#clock = clock;
    this.#admission = admission;
    this.#heartbeat = new Heartbeat(heartbeatMs);
  }

  get count(): number {
    return this.#all.size;
  }

  get compressingCount(): number {
    return [...this.#all].filter(({ deflates }) => deflates).length;
  }

  /** All clients, oldest first. */
  get all(): Iterable<Client> {
    return this.#all;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  add(client: Client): void {
    this.#heartbeat.join(client);
    this.#all.add(client);
  }

  /** The client's connection is closed. A client that was not added is ignored. */
  forget(client: Client): void {
    if (!this.#all.delete(client)) return;
    this.#heartbeat.leave(client);
    this.#admission.leave(client.address);
    if (this.#all.size === 0) this.#onEmpty();
  }

  /**
   * Disconnects the clients at random moments within `seconds`, so that they do not all move to
   * another server at once. Resolves once all are closed, or some did not close in time.
   */
  async drain(seconds: number): Promise<void> {
    this.#isDraining = true;
    for (const client of this.#all) this.#clock.after(seconds * 1_000 * this.#clock.random(), () => client.drain());
    if (this.#all.size === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(seconds * 1_000 + DRAIN_GRACE_MS, resolve);
      this.#onEmpty = () => {
        cancel();
        resolve();
      };
    });
  }

  /**
   * Tells a client to connect again, and closes its connection. Returns false if the id is unknown.
   */
  disconnect(id: string): boolean {
    for (const client of this.#all) {
      if (client.id !== id) continue;
      client.drain();
      // A client that does not read receives no close frame.
      this.#clock.after(DRAIN_GRACE_MS, () => client.terminate());
      return true;
    }
    return false;
  }

  /** Tells all to come back later. New ones may be added. */
  suspend(): void {
    for (const client of this.#all) client.suspend();
  }

  /** Closes all at once. */
  terminate(): void {
    this.#isDraining = true;
    this.#heartbeat.stop();
    for (const client of this.#all) client.terminate();
  }
}
