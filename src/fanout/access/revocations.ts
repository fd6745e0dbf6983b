/**
 * Commits that may revoke access, from when the WAL delivers them until queries see them. An access
 * check in between is answered as if they had not happened.
 */
import type { ResolvedChannel } from '../../channels/served/served.ts';
import type { Mark } from '../../commit/entry.ts';
import type { AccessCheckWindow } from '../fanout.ts';

interface Revocation {
  readonly marks: readonly Mark[];
  /** Resolves when queries see the commit. */
  readonly seen: Promise<void>;
}

export class Revocations {
  readonly #visible: (xid: number) => Promise<void>;
  readonly #unseen = new Set<Revocation>();
  readonly #openWindows = new Set<OpenWindow>();

  constructor(visible: (xid: number) => Promise<void>) {
    this.#visible = visible;
  }

  /** Adds a commit with these marks, or a part of one. Resolves when queries see it. */
  add(marks: readonly Mark[], xid: number): Promise<void> {
    const seen = this.#visible(xid);
    const revocation = { marks, seen };
    this.#unseen.add(revocation);
    void seen.then(() => this.#unseen.delete(revocation));
    for (const window of this.#openWindows) if (concerns(marks, window.channel)) window.addRevocation(seen);
    return seen;
  }

  openWindow(channel: ResolvedChannel): AccessCheckWindow {
    const earlier = [...this.#unseen].flatMap(({ marks, seen }) => (concerns(marks, channel) ? seen : []));
    const window = new OpenWindow(channel, earlier, () => this.#openWindows.delete(window));
    this.#openWindows.add(window);
    return window;
  }
}

class OpenWindow implements AccessCheckWindow {
  readonly channel: ResolvedChannel;
  readonly earlierRevocations: Promise<unknown> | undefined;
  readonly close: () => void;
  #newRevocations: Promise<void>[] = [];

  constructor(channel: ResolvedChannel, earlier: readonly Promise<void>[], close: () => void) {
    this.channel = channel;
    this.earlierRevocations = earlier.length === 0 ? undefined : Promise.all(earlier);
    this.close = close;
  }

  addRevocation(seen: Promise<void>): void {
    this.#newRevocations.push(seen);
  }

  get newRevocations(): Promise<unknown> | undefined {
    return this.#newRevocations.length === 0 ? undefined : Promise.all(this.#newRevocations);
  }
}

function concerns(marks: readonly Mark[], { name, pattern }: ResolvedChannel): boolean {
  return marks.some((mark) => mark.pattern === pattern.text && (mark.channel === undefined || mark.channel === name));
}
