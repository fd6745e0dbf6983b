/**
 * Ends the connections of a user in all processes that serve clients. A process that is cut off at
 * this moment misses it.
 */
import type { Peers } from './peers.ts';

const KIND = 'sign-out';

export class SignOuts {
  readonly #peers: Peers;
  #endHere: (user: string) => void = () => {};

  constructor(peers: Peers) {
    this.#peers = peers;
    peers.on(KIND, ({ head: { user } }) => {
      if (typeof user === 'string') this.#endHere(user);
    });
  }

  /** `endHere`: ends the user's connections of this process. */
  use(endHere: (user: string) => void): void {
    this.#endHere = endHere;
  }

  end(user: string): void {
    this.#endHere(user);
    this.#peers.send(KIND, { user });
  }
}
