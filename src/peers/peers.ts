/** The other processes that serve clients, seen from one of them. */
import { randomUUID } from 'node:crypto';
import { type PeerMessage, readMessage, writeMessage } from './message.ts';
import type { PeerPort, PeerSwitch } from './peer-switch.ts';

/** The kind of messages that say whether the network of machines is down: `isDown`. */
export const NETWORK = 'network';

type Listener = (message: PeerMessage) => void;

export class Peers {
  /** The id of this process among its peers. */
  readonly id: string;
  readonly #switch: PeerSwitch;
  readonly #port: PeerPort;
  readonly #listeners = new Map<string, Listener>();

  constructor(peerSwitch: PeerSwitch, id: string = randomUUID()) {
    this.id = id;
    this.#switch = peerSwitch;
    this.#port = peerSwitch.attach((bytes) => this.#hear(bytes));
  }

  /** Whether this process has no peers now. */
  get isAlone(): boolean {
    return this.#switch.isIdle;
  }

  /** Sends a message to all peers. A peer that is unreachable at this moment misses it. */
  send(kind: string, head: PeerMessage['head'], body?: Buffer): void {
    this.#port.send(writeMessage({ from: this.id, kind, head, ...(body === undefined ? {} : { body }) }));
  }

  /** Calls back for each message of a kind. */
  on(kind: string, listener: Listener): void {
    this.#listeners.set(kind, listener);
  }

  #hear(bytes: Buffer): void {
    const message = readMessage(bytes);
    if (message !== undefined) this.#listeners.get(message.kind)?.(message);
  }
}
