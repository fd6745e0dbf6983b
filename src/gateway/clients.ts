/** The clients of this process, of all protocols: their heartbeat, their number, the drain. */
import type { Clock } from '../clock.ts';
import type { SnoError } from '../errors.ts';
import type { Feed } from '../fanout/fanout.ts';
import type { AdmissionDesk } from './accept/admission.ts';
import { type Beating, Heartbeat } from './heartbeat.ts';
import type { SessionState } from './session.ts';

/** How long clients may take to close after the last close frame of a drain was sent, in ms. */
const DRAIN_GRACE_MS = 2_000;

/** The state of a client that the admin API shows. */
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
  /** Closes with the code that makes the client reconnect, perhaps to another server. */
  drain(): void;
  /** Closes with the code that makes the client reconnect later. */
  suspend(): void;
  /** Closes at once. */
  terminate(): void;
}

/** A client that has been upgraded to a websocket. */
export interface WebSocketClient extends Client {
  /** Call when the client has been admitted. */
  begin(): void;
  /** Sends the error that a limit is exceeded, and closes so that the client reconnects later. */
  turnAway(error: SnoError): void;
}

export class Clients {
  readonly #clock: Clock;
  readonly #admission: AdmissionDesk;
  readonly #heartbeat: Heartbeat<Client>;
  readonly #all = new Set<Client>();
  #isDraining = false;
  #onEmpty: () => void = () => {};

  /** `admission`: it has counted each client before `add`. */
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

  /** Removes a client whose connection is closed. A client that was not added is ignored. */
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

  /** Closes a client's connection so that it reconnects. Returns false if the id is unknown. */
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

  /** Closes all clients so that they reconnect later. New ones may be added. */
  suspend(): void {
    for (const client of this.#all) client.suspend();
  }

  /** Closes all connections at once. */
  terminate(): void {
    this.#isDraining = true;
    this.#heartbeat.stop();
    for (const client of this.#all) client.terminate();
  }
}
