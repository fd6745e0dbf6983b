/**
 * The stream as workers receive it. Steps that arrive together form a turn, which is encoded once
 * for all workers. A worker that starts later receives turns made from the journal.
 */
import type { Catalog } from '../channels/catalog/catalog.ts';
import type { Definitions } from '../channels/definitions/definitions.ts';
import type { CommitBuilder } from '../commit/builder.ts';
import type { Batch } from '../commit/entry.ts';
import { assert } from '../errors.ts';
import type { MemoryJournal } from '../journal/memory.ts';
import type { ResetReason } from '../protocol.ts';
import { TurnWriter } from './turn-writer.ts';
import type { HeadState, Step } from './wire.ts';

export interface TurnsOptions {
  readonly journal: MemoryJournal;
  readonly head: CommitBuilder;
  /** The definitions in force. */
  readonly definitions: Pick<Definitions, 'catalog' | 'known'>;
}

/** Approximate bytes of a turn that is read from the journal. */
const TURN_BYTES = 1024 ** 2;
const NO_PATTERNS: readonly string[] = [];

export class Turns {
  readonly #options: TurnsOptions;
  /** The current turn. */
  readonly #writer = new TurnWriter();
  #takenHead = '';

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  begin(reason: ResetReason): void {
    this.#writer.step(this.#beginning(reason));
  }

  batch(batch: Batch): void {
    this.#writer.step({ kind: 'batch', batch, head: this.#head() });
  }

  marker(id: string): void {
    this.#writer.step({ kind: 'marker', id, head: this.#head() });
  }

  defined(catalog: Catalog): void {
    this.#writer.step({ kind: 'defined', catalog });
  }

  known(isKnown: boolean): void {
    this.#writer.step({ kind: 'known', isKnown });
  }

  /**
   * Returns the steps since the last call as one turn. Undefined if there are none and the head has
   * not moved.
   */
  take(): Uint8Array | undefined {
    const { headText } = this.#options.head;
    if (this.#writer.length === 0 && headText === this.#takenHead) return undefined;
    this.#takenHead = headText;
    this.#writer.step({ kind: 'head', head: this.#head() });
    return this.#writer.take();
  }

  /**
   * Returns everything that a new worker needs to continue from here. Call it right after `take`.
   */
  *sinceBeginning(): Iterable<Uint8Array> {
    const { head, journal } = this.#options;
    assert(this.#writer.length === 0, 'what is gathered would come twice');
    if (head.epoch === '') return;
    const now = this.#head();
    const writer = new TurnWriter();
    writer.step(this.#beginning('epoch_changed'));
    for (const batch of journal.batches()) {
      // The delivery delay of these commits has been measured already.
      writer.step({ kind: 'batch', batch: { ...batch, committedAt: 0 }, head: now });
      if (writer.length >= TURN_BYTES) yield writer.take();
    }
    if (writer.length > 0) yield writer.take();
  }

  #beginning(reason: ResetReason): Step {
    const { journal, definitions } = this.#options;
    const { catalog, known } = definitions;
    assert(catalog !== undefined, 'a history begins with its definitions');
    const isKnown = known === undefined;
    const { oldest, evictedCommits: evicted } = journal;
    return { kind: 'begin', reason, catalog, isKnown, oldest, evicted, head: this.#head() };
  }

  #head(): HeadState {
    const { epoch, head, frontier, wholeSequence, openXid, forgotten } = this.#options.head;
    return {
      epoch,
      head,
      frontier,
      wholeSequence,
      openXid,
      forgotten: forgotten.size === 0 ? NO_PATTERNS : [...forgotten],
    };
  }
}
