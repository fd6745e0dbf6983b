/** The channels of the current commit, by name. In large commits, only channels that are needed. */
import type { ByteWriter } from '../memory/byte-writer.ts';
import { Share } from './channel-events.ts';

export class Shares {
  readonly #byName = new Map<string, Share>();
  readonly #added: (share: Share) => void;
  readonly #min: number;
  /** The channel of the last event: the next one is often of the same. */
  #last: Share | undefined;
  /** Number of channels beyond which unknown channels are dropped. */
  #max: number;
  /** Patterns whose channels were dropped before the commit's end. */
  readonly #forgotten = new Set<string>();

  /** `max`: number of channels beyond which unknown ones are dropped. `added`: a channel is new. */
  constructor(max: number, added: (share: Share) => void) {
    this.#min = max;
    this.#max = max;
    this.#added = added;
  }

  get areTooMany(): boolean {
    return this.#byName.size > this.#max;
  }

  get forgotten(): ReadonlySet<string> {
    return this.#forgotten;
  }

  [Symbol.iterator](): Iterator<Share> {
    return this.#byName.values();
  }

  get(channel: string): Share | undefined {
    return this.#byName.get(channel);
  }

  /** Returns the channel's share, creating it if needed. */
  named(pattern: string, channel: ByteWriter): Share {
    const { buffer, length } = channel;
    const last = this.#last;
    if (last !== undefined && last.pattern === pattern && sameName(last.channel, buffer, length)) return last;
    return this.of(pattern, buffer.toString('latin1', 0, length));
  }

  of(pattern: string, channel: string): Share {
    let share = this.#byName.get(channel);
    if (share === undefined) {
      share = new Share(channel, pattern);
      this.#byName.set(channel, share);
      this.#added(share);
    }
    this.#last = share;
    return share;
  }

  /**
   * Drops channels that are neither subscribed nor in the journal, so that a commit of any size
   * keeps only known channels until its end. If a dropped channel has events again, its parts are
   * counted anew, which no client can notice. Returns the patterns of dropped channels that clients
   * of other processes may follow or resume. `isNeeded`: the channel waits for the commit's end.
   */
  forget(isKnown: (channel: string) => boolean | undefined, isNeeded: (share: Share) => boolean): Iterable<string> {
    const cut = new Set<string>();
    for (const share of this.#byName.values()) {
      if (isNeeded(share)) continue;
      const known = isKnown(share.channel);
      if (known === true) continue;
      if (known === undefined) cut.add(share.pattern);
      this.#byName.delete(share.channel);
      this.#forgotten.add(share.pattern);
    }
    this.#last = undefined;
    this.#max = Math.max(this.#min, 2 * this.#byName.size);
    return cut;
  }

  clear(): void {
    this.#byName.clear();
    this.#last = undefined;
    this.#max = this.#min;
    if (this.#forgotten.size > 0) this.#forgotten.clear();
  }
}

function sameName(name: string, buffer: Buffer, length: number): boolean {
  if (name.length !== length) return false;
  for (let index = 0; index < length; index++) if (name.charCodeAt(index) !== buffer[index]) return false;
  return true;
}
