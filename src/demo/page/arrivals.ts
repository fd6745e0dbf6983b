/**
 * Matches runs with commits by their transaction. A commit may arrive before the answer to its run.
 */

export interface Arrival {
  readonly channel: string;
  readonly xid: number;
  /** Number of events that the channel received. */
  readonly events: number;
  readonly latencyMs: number;
  /** On the clock of performance.now(). */
  readonly at: number;
}

const REMEMBERED_MAX = 300;

export class Arrivals {
  readonly #recent: Arrival[] = [];
  readonly #expected = new Map<number, (arrival: Arrival) => void>();
  readonly #claim: (xid: number) => void;

  /** `claim` receives the transactions of this window's runs. */
  constructor(claim: (xid: number) => void) {
    this.#claim = claim;
  }

  /** Calls back with each commit of the transaction that has arrived or arrives, on any channel. */
  expect(xid: number, callback: (arrival: Arrival) => void): void {
    remember(this.#expected, xid, callback);
    this.#claim(xid);
    for (const arrival of this.#recent) if (arrival.xid === xid) callback(arrival);
  }

  /** Records a commit. Returns true if it is known to be this window's. */
  add(arrival: Arrival): boolean {
    this.#recent.push(arrival);
    if (this.#recent.length > REMEMBERED_MAX) this.#recent.shift();
    const callback = this.#expected.get(arrival.xid);
    callback?.(arrival);
    return callback !== undefined;
  }
}

function remember<Key, Value>(map: Map<Key, Value>, key: Key, value: Value): void {
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= REMEMBERED_MAX) break;
    map.delete(oldest);
  }
}
