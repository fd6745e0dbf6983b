/**
 * Tracks commits that may revoke access, from when the WAL delivers them until queries see them. An
 * access check in between is answered as if they had not happened.
 */
import type { AccessSchema } from '../../channels/catalog/catalog.ts';
import type { ResolvedChannel } from '../../channels/served/served.ts';
import { type Mark, RECHECKS } from '../../commit/entry.ts';
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
    for (const window of this.#openWindows) if (window.isConcerned(marks)) window.addRevocation(seen);
    return seen;
  }

  /** Opens a window around a check of the views of these schemas. */
  openWindow(channel: ResolvedChannel, schemas: readonly AccessSchema[]): AccessCheckWindow {
    const earlier: Promise<void>[] = [];
    for (const { marks, seen } of this.#unseen) if (concerns(marks, channel, schemas)) earlier.push(seen);
    const window = new OpenWindow(channel, schemas, earlier, this.#openWindows);
    this.#openWindows.add(window);
    return window;
  }
}

const NO_REVOCATIONS: Promise<void>[] = [];

class OpenWindow implements AccessCheckWindow {
  readonly #channel: ResolvedChannel;
  readonly #schemas: readonly AccessSchema[];
  readonly #among: Set<OpenWindow>;
  readonly earlierRevocations: Promise<unknown> | undefined;
  #newRevocations = NO_REVOCATIONS;

  constructor(
    channel: ResolvedChannel,
    schemas: readonly AccessSchema[],
    earlier: readonly Promise<void>[],
    among: Set<OpenWindow>,
  ) {
    this.#channel = channel;
    this.#schemas = schemas;
    this.#among = among;
    this.earlierRevocations = earlier.length === 0 ? undefined : Promise.all(earlier);
  }

  close(): void {
    this.#among.delete(this);
  }

  isConcerned(marks: readonly Mark[]): boolean {
    return concerns(marks, this.#channel, this.#schemas);
  }

  addRevocation(seen: Promise<void>): void {
    if (this.#newRevocations === NO_REVOCATIONS) this.#newRevocations = [];
    this.#newRevocations.push(seen);
  }

  get newRevocations(): Promise<unknown> | undefined {
    return this.#newRevocations.length === 0 ? undefined : Promise.all(this.#newRevocations);
  }
}

function concerns(
  marks: readonly Mark[],
  { name, pattern }: ResolvedChannel,
  schemas: readonly AccessSchema[],
): boolean {
  return marks.some(
    (mark) =>
      mark.pattern === pattern.text &&
      (mark.channel === undefined || mark.channel === name) &&
      schemas.some((schema) => RECHECKS[schema] === mark.kind),
  );
}
