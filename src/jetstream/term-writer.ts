/**
 * Turns the steps of one term into messages of the stream. Steps that have waited together become
 * one message, or several pieces if they are too large. Now and then a state follows, at which new
 * followers join.
 */
import { randomBytes } from 'node:crypto';
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch } from '../commit/entry.ts';
import { type EvictedCommit, EvictedCommits } from '../journal/evicted-commits.ts';
import type { Lsn } from '../lsn.ts';
import type { ResetReason } from '../protocol.ts';
import type { Beginning } from '../relay/follower.ts';
import { HEADER_BYTES } from '../relay/format.ts';
import type { Ownership } from '../relay/installation.ts';
import { type SourceHead, StepWriter } from '../relay/step-writer.ts';
import { type Envelope, HEAD_BYTES, type Kind, type Place, sealed } from './envelope.ts';

/** Maximum bytes of a message. More steps are cut into pieces. */
export const MESSAGE_BYTES_MAX = 256 * 1024;

export interface TermMessage {
  readonly sequence: number;
  readonly bytes: Buffer;
  /** The LSN to acknowledge to Postgres once the message is confirmed. Undefined: none. */
  readonly head: Lsn | undefined;
}

export interface TermWriterOptions {
  readonly ownership: Ownership;
  /** The rule by which large commits are cut into parts; see `cutOf`. */
  readonly cut: number;
  /** The head of ingest, which is current at each step. */
  readonly head: SourceHead;
  /** Returns the definitions that a follower needs to join now. */
  readonly state: () => Omit<Beginning, 'reason' | 'oldest' | 'evicted'>;
  /** Commits that a snapshot of a new follower may not see yet. */
  readonly recent: readonly EvictedCommit[];
  /** The sequence of the newest state of earlier terms. 0: none leads here. */
  readonly joinableAt: number;
  /** How often a state is published: at most this much of the stream lies between two. */
  readonly stateEveryBytes: number;
  readonly stateEveryMs: number;
  readonly now: () => number;
}

export class TermWriter {
  readonly term = randomBytes(8).toString('hex');
  readonly #options: TermWriterOptions;
  readonly #steps: StepWriter;
  readonly #recent = new EvictedCommits(Date.now);
  readonly #bytesMax: () => number;
  readonly #push: (message: TermMessage) => void;
  /** The sequence of the next message. */
  #next: number;
  #number = 0;
  /** Sequence of the newest state, of this term or an earlier one. 0: none. */
  #state: number;
  #stateAt = 0;
  #bytesSinceState = 0;
  #isStateDue = true;
  /** Where the written history ends. */
  #place: Place;
  #headText = '';

  /**
   * `after`: the sequence of the newest message before this term. `bytesMax`: maximum bytes that
   * the servers take now. `push` receives each message.
   */
  constructor(options: TermWriterOptions, after: number, bytesMax: () => number, push: (message: TermMessage) => void) {
    this.#options = options;
    this.#steps = new StepWriter(options.head);
    this.#recent.replace(options.recent);
    this.#state = options.joinableAt;
    this.#next = after + 1;
    this.#bytesMax = bytesMax;
    this.#push = push;
    this.#place = placeOf(options.head);
  }

  /** Bytes of the steps that are not in a message yet. */
  get waitingBytes(): number {
    return this.#steps.length;
  }

  /** The head as the newest message tells it. */
  get headText(): string {
    return this.#headText;
  }

  // Steps of the stream:

  begin(reason: ResetReason): void {
    // Waiting steps belong to the earlier history, which is void.
    this.#steps.take();
    this.#recent.replace([]);
    this.#writeState(reason);
  }

  append(batch: Batch): void {
    this.#steps.append(batch);
    this.#recent.add(batch.xid);
  }

  marker(id: string): void {
    this.#steps.marker(id);
  }

  define(definitions: ServedDefinitions): void {
    this.#steps.define(definitions);
    this.#isStateDue = true;
  }

  setKnown(isKnown: boolean): void {
    this.#steps.setKnown(isKnown);
    this.#isStateDue = true;
  }

  /** The next messages include a state. */
  requestState(): void {
    this.#isStateDue = true;
  }

  /** Turns the steps so far, and the head, into messages. A state follows if it is due. */
  write(): void {
    const { head, now, stateEveryBytes, stateEveryMs } = this.#options;
    this.#steps.head();
    this.#writeMessages('steps');
    // A follower that joins within a commit in parts would not know which channels are open.
    const isDue = this.#isStateDue || this.#bytesSinceState > stateEveryBytes || now() - this.#stateAt > stateEveryMs;
    if (isDue && head.openXid === 0 && head.epoch !== '') this.#writeState('epoch_changed');
  }

  #writeState(reason: ResetReason): void {
    const { head, state, now } = this.#options;
    this.#steps.begin({ ...state(), reason, oldest: head.head, evicted: this.#recent.list });
    this.#state = this.#next;
    this.#stateAt = now();
    this.#bytesSinceState = 0;
    this.#isStateDue = false;
    this.#writeMessages('state');
  }

  #writeMessages(kind: Kind): void {
    const steps = this.#steps.take().subarray(HEADER_BYTES);
    const { head, ownership, cut } = this.#options;
    const { epoch } = head;
    const from = kind === 'steps' ? this.#place : placeOf(head);
    const to = placeOf(head);
    this.#place = to;
    this.#headText = head.headText;
    const bytesMax = Math.min(MESSAGE_BYTES_MAX, this.#bytesMax()) - HEAD_BYTES - epoch.length;
    let piece = 0;
    for (let start = 0; start < steps.length || piece === 0; start += bytesMax, piece++) {
      const end = Math.min(start + bytesMax, steps.length);
      const isLast = end === steps.length;
      const state = kind === 'steps' ? this.#state : this.#next - piece;
      const number = ++this.#number;
      const { term } = this;
      const envelope: Envelope = { kind, isLast, piece, term, number, state, epoch, from, to, ...ownership, cut };
      const bytes = sealed(envelope, steps.subarray(start, end));
      this.#bytesSinceState += bytes.length;
      this.#push({ sequence: this.#next++, bytes, head: isLast ? head.head.lsn : undefined });
    }
  }
}

/** Returns the place of the head, including parts of an open commit. */
function placeOf({ frontier, openParts }: Pick<SourceHead, 'frontier' | 'openParts'>): Place {
  return { ...frontier, parts: openParts };
}
