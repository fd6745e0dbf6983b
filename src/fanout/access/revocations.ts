/**
 * Commits that may revoke access, from when the WAL delivers them until queries see them. An access
 * check in between is answered as if they had not happened.
 */
import type { ResolvedChannel } from '../../channels/channel.ts';
import type { Mark } from '../../commit/entry.ts';
import type { Attendance } from '../fanout.ts';

interface Revocation {
  readonly marks: readonly Mark[];
  /** Resolves when queries see the commit. */
  readonly seen: Promise<void>;
}

export class Revocations {
  readonly #visible: (xid: number) => Promise<void>;
  readonly #unseen = new Set<Revocation>();
  readonly #attending = new Set<Attending>();

  constructor(visible: (xid: number) => Promise<void>) {
    this.#visible = visible;
  }

  /** A commit with these marks, or a part of one, has arrived. Resolves when queries see it. */
  came(marks: readonly Mark[], xid: number): Promise<void> {
    const seen = this.#visible(xid);
    const revocation = { marks, seen };
    this.#unseen.add(revocation);
    void seen.then(() => this.#unseen.delete(revocation));
    for (const attending of this.#attending) if (concerns(marks, attending.channel)) attending.meets(seen);
    return seen;
  }

  attend(channel: ResolvedChannel): Attendance {
    const earlier = [...this.#unseen].flatMap(({ marks, seen }) => (concerns(marks, channel) ? seen : []));
    const attending = new Attending(channel, earlier, () => this.#attending.delete(attending));
    this.#attending.add(attending);
    return attending;
  }
}

class Attending implements Attendance {
  readonly channel: ResolvedChannel;
  readonly settled: Promise<unknown> | undefined;
  readonly end: () => void;
  #met: Promise<void>[] = [];

  constructor(channel: ResolvedChannel, earlier: readonly Promise<void>[], end: () => void) {
    this.channel = channel;
    this.settled = earlier.length === 0 ? undefined : Promise.all(earlier);
    this.end = end;
  }

  meets(seen: Promise<void>): void {
    this.#met.push(seen);
  }

  get disturbed(): Promise<unknown> | undefined {
    return this.#met.length === 0 ? undefined : Promise.all(this.#met);
  }
}

function concerns(marks: readonly Mark[], { name, pattern }: ResolvedChannel): boolean {
  return marks.some((mark) => mark.pattern === pattern.text && (mark.channel === undefined || mark.channel === name));
}
