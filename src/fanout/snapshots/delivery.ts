/**
 * A snapshot on its way to one connection. The snapshot may see a commit that the stream has not
 * delivered yet, for example one that revokes access. So access is checked again once the snapshot
 * is taken, and no row is written before the answer.
 *
 * A piece is written only if the socket is below its limit. So the snapshots of a connection
 * together exceed the limit by one piece at most, however many channels it joins.
 */

import type { Visibility } from '../../markers/visibility.ts';
import type { Encoding } from '../encoding.ts';
import type { Outbox } from '../outbox.ts';
import type { SnapshotSink } from './recipient.ts';

/** The subscription that receives it. An interface, since closures would cost memory for each. */
export interface SnapshotReceiver {
  readonly outbox: Outbox;
  readonly encoding: Encoding;
  /** Whether a snapshot with this visibility can be used. */
  isUseful(visibility: Visibility): boolean;
  /** Whether the snapshot that began can't be used any more. */
  readonly isOutdated: boolean;
  /** Asks whether the subscription is allowed, and ends it if not. Never rejects. */
  checkAccess(): Promise<unknown>;
  /** Resolves when all pending access checks are answered. Undefined: none is pending. */
  readonly pendingChecks: Promise<void> | undefined;
  readonly isEnded: boolean;
}

export class SnapshotDelivery implements SnapshotSink {
  readonly #receiver: SnapshotReceiver;
  readonly encoding: Encoding;
  readonly #outbox: Outbox;
  #check: Promise<unknown> | undefined;
  #waitsForAccess = false;
  /** Whether the checks that were pending for the next piece are answered. */
  #isChecked = false;

  constructor(receiver: SnapshotReceiver) {
    this.#receiver = receiver;
    this.encoding = receiver.encoding;
    this.#outbox = receiver.outbox;
  }

  get pendingBytes(): number {
    return this.#outbox.pendingBytes;
  }

  get isFull(): boolean {
    return this.#outbox.full && !this.#receiver.isEnded;
  }

  get waitsForAccess(): boolean {
    return this.#waitsForAccess;
  }

  get isOutdated(): boolean {
    return this.#receiver.isOutdated && !this.#receiver.isEnded;
  }

  begin(visibility: Visibility): boolean {
    const receiver = this.#receiver;
    if (!receiver.isUseful(visibility)) return false;
    const check = receiver.checkAccess().then(() => {
      if (this.#check === check) this.#check = undefined;
    });
    this.#check = check;
    return true;
  }

  ready(): Promise<void> | undefined {
    // Checks that begin while it waits for others concern later commits.
    const check = this.#isChecked ? undefined : (this.#check ?? this.#receiver.pendingChecks);
    if (check !== undefined) {
      this.#waitsForAccess = true;
      return check.then(() => {
        this.#waitsForAccess = false;
        this.#isChecked = true;
      });
    }
    if (!this.isFull) return undefined;
    this.#isChecked = false;
    return this.#outbox.writable();
  }

  write(bytes: Buffer): void {
    this.#isChecked = false;
    if (!this.#receiver.isEnded) this.#outbox.writeWithTurn(bytes);
  }
}
