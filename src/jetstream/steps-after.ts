/**
 * Passes on the steps that follow a place.
 *
 * Sequences grow along a history, across all processes that publish it. If the stream was lost, a
 * process could not know the last sequence, and may continue with smaller ones. Then nothing is
 * passed on: the gateway would take new entries for old ones.
 */
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch } from '../commit/entry.ts';
import { memoryOf } from '../memory/payload.ts';
import type { ResetReason } from '../protocol.ts';
import type { Beginning } from '../relay/follower.ts';
import type { HeadState } from '../relay/replica.ts';
import type { StepReceiver } from '../relay/step-reader.ts';
import type { Arrivals } from './arrivals.ts';
import { comparePlaces, type Place, placeOfBatch } from './envelope.ts';

export class StepsAfter implements StepReceiver {
  readonly #next: StepReceiver;
  readonly #arrivals: Arrivals;
  /** Undefined: everything is passed on. */
  readonly #after: Place | undefined;
  readonly #reason: ResetReason | undefined;
  /** The last sequence that was passed on. */
  sequence: number;
  /** Whether the sequences went back. */
  wentBack = false;

  /** `reason`: why subscribers are reset, instead of the one that the steps name. */
  constructor(
    next: StepReceiver,
    arrivals: Arrivals,
    after: Place | undefined,
    sequence: number,
    reason?: ResetReason,
  ) {
    this.#next = next;
    this.#arrivals = arrivals;
    this.#after = after;
    this.sequence = sequence;
    this.#reason = reason;
  }

  moveTo(head: HeadState): void {
    const { frontier, openParts: parts, sequence } = head;
    if (this.#after !== undefined && comparePlaces({ ...frontier, parts }, this.#after) < 0) return;
    this.wentBack ||= this.#after !== undefined && sequence < this.sequence;
    if (this.wentBack) return;
    this.sequence = sequence;
    this.#next.moveTo(head);
  }

  begin(beginning: Beginning): void {
    if (this.wentBack) return;
    this.#next.begin(this.#reason === undefined ? beginning : { ...beginning, reason: this.#reason });
  }

  append(batch: Batch): void {
    if (this.wentBack) return;
    if (this.#after !== undefined && comparePlaces(placeOfBatch(batch), this.#after) <= 0) return;
    this.#next.append(batch);
    // A large message is flushed in pieces, so that sockets do not get all of it at once.
    let bytes = 0;
    for (const { payload, old } of batch.entries) bytes += memoryOf(payload).length + (old?.length ?? 0);
    this.#arrivals.add(bytes);
  }

  marker(id: string): void {
    if (!this.wentBack) this.#next.marker(id);
  }

  define(definitions: ServedDefinitions): void {
    if (!this.wentBack) this.#next.define(definitions);
  }

  setKnown(isKnown: boolean): void {
    if (!this.wentBack) this.#next.setKnown(isKnown);
  }
}
