/**
 * A snapshot on its way to one connection. The snapshot may see a commit that the stream has not
 * delivered yet, for example one that revokes access. So access is checked again once the snapshot
 * is taken, and no row is written before the answer.
 */

import type { Visibility } from '../../markers/visibility.ts';
import type { Encoding } from '../encoding.ts';
import type { Outbox } from '../outbox.ts';
import type { SnapshotSink } from './recipient.ts';

export interface SnapshotDeliveryOptions {
  readonly outbox: Outbox;
  readonly encoding: Encoding;
  /** Whether a snapshot with this visibility can be used. */
  readonly isUseful: (visibility: Visibility) => boolean;
  /** Asks whether the subscription is allowed, and ends it if not. Never rejects. */
  readonly checkAccess: () => Promise<unknown>;
  /** Resolves when all pending access checks are answered. Undefined: none is pending. */
  readonly pendingChecks: () => Promise<void> | undefined;
  readonly isEnded: () => boolean;
}

export class SnapshotDelivery implements SnapshotSink {
  readonly #options: SnapshotDeliveryOptions;
  #check: Promise<unknown> | undefined;
  #written: Promise<void> | undefined;
  #waitsForAccess = false;

  constructor(options: SnapshotDeliveryOptions) {
    this.#options = options;
  }

  /** Resolves when all received pieces have been written to the socket. Undefined: they have. */
  get written(): Promise<void> | undefined {
    return this.#written;
  }

  get encoding(): Encoding {
    return this.#options.encoding;
  }

  get pendingBytes(): number {
    return this.#options.outbox.pendingBytes;
  }

  get waitsForAccess(): boolean {
    return this.#waitsForAccess;
  }

  begin(visibility: Visibility): boolean {
    const { isUseful, checkAccess } = this.#options;
    if (!isUseful(visibility)) return false;
    const check = checkAccess().then(() => {
      if (this.#check === check) this.#check = undefined;
    });
    this.#check = check;
    return true;
  }

  write(bytes: Buffer): Promise<void> | undefined {
    const before = this.#check ?? this.#options.pendingChecks();
    if (before === undefined) return this.#write(bytes);
    let accepted: Promise<void> | undefined;
    this.#waitsForAccess = true;
    this.#written = before.then(() => {
      this.#waitsForAccess = false;
      accepted = this.#write(bytes);
    });
    return this.#written.then(() => accepted);
  }

  #write(bytes: Buffer): Promise<void> | undefined {
    const { outbox, isEnded } = this.#options;
    if (isEnded()) return undefined;
    outbox.writeWithTurn(bytes);
    return outbox.full ? outbox.writable() : undefined;
  }
}
