/**
 * A snapshot on its way to one connection. The snapshot may see a commit that the stream has not
 * delivered yet, for example one that revokes access. So access is checked again once the snapshot
 * is taken, and no row is written before the answer.
 */

import type { Visibility } from '../../markers/visibility.ts';
import type { Outbox } from '../outbox.ts';
import type { SnapshotSink } from './shared-snapshot.ts';

export interface ArrivalOptions {
  readonly outbox: Outbox;
  /** Whether the client accepts compressed frames. */
  readonly deflates: boolean;
  /** Whether a snapshot with this visibility can be used. */
  readonly isUseful: (visibility: Visibility) => boolean;
  /** Asks whether the subscription is allowed, and ends it if not. Never rejects. */
  readonly ask: () => Promise<unknown>;
  /** Resolves when all pending access checks are answered. Undefined: none is pending. */
  readonly unanswered: () => Promise<void> | undefined;
  readonly isEnded: () => boolean;
}

export class Arrival implements SnapshotSink {
  readonly #options: ArrivalOptions;
  #asked: Promise<unknown> | undefined;
  #written: Promise<void> | undefined;
  #isUnanswered = false;

  constructor(options: ArrivalOptions) {
    this.#options = options;
  }

  /** Resolves when all received frames have been written to the socket. Undefined: they have. */
  get written(): Promise<void> | undefined {
    return this.#written;
  }

  get deflates(): boolean {
    return this.#options.deflates;
  }

  get pendingBytes(): number {
    return this.#options.outbox.pendingBytes;
  }

  get isUnanswered(): boolean {
    return this.#isUnanswered;
  }

  taken(visibility: Visibility): boolean {
    const { isUseful, ask } = this.#options;
    if (!isUseful(visibility)) return false;
    const asked = ask().then(() => {
      if (this.#asked === asked) this.#asked = undefined;
    });
    this.#asked = asked;
    return true;
  }

  frame(frame: Buffer): Promise<void> | undefined {
    const before = this.#asked ?? this.#options.unanswered();
    if (before === undefined) return this.#write(frame);
    let taken: Promise<void> | undefined;
    this.#isUnanswered = true;
    this.#written = before.then(() => {
      this.#isUnanswered = false;
      taken = this.#write(frame);
    });
    return this.#written.then(() => taken);
  }

  #write(frame: Buffer): Promise<void> | undefined {
    const { outbox, isEnded } = this.#options;
    if (isEnded()) return undefined;
    outbox.write(frame);
    return outbox.full ? outbox.writable() : undefined;
  }
}
