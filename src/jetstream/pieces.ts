/** Joins the pieces of steps that did not fit into one message. */
import { type Envelope, envelopeOf, isStray, stepsOf } from './envelope.ts';
import type { StreamMessage } from './stream-message.ts';

export interface WholeSteps {
  readonly envelope: Envelope;
  /** The stream's sequence of their first piece, and of their last. */
  readonly first: number;
  readonly last: number;
  readonly steps: Buffer;
}

export class Pieces {
  #pieces: Buffer[] = [];
  #first = 0;

  /**
   * Takes the next message. Returns the steps when their last piece has arrived. Throws
   * `relay_version`. Unfinished pieces are dropped when other steps begin. Steps whose first piece
   * did not arrive are skipped, and messages of other programs.
   */
  take({ sequence, bytes }: StreamMessage): WholeSteps | undefined {
    if (isStray(bytes)) return undefined;
    const envelope = envelopeOf(bytes);
    if (envelope.piece === 0) {
      this.#pieces = [];
      this.#first = sequence;
    } else if (envelope.piece !== this.#pieces.length || sequence !== this.#first + envelope.piece) {
      this.#pieces = [];
      return undefined;
    }
    this.#pieces.push(stepsOf(bytes));
    if (!envelope.isLast) return undefined;
    const pieces = this.#pieces;
    this.#pieces = [];
    const steps = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
    return { envelope, first: this.#first, last: sequence, steps };
  }
}
