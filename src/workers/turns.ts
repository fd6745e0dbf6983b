/**
 * The stream as workers get it: what came together is a turn, made into bytes once for all. A worker that begins later gets turns of
 * what the journal has.
 */
import type { Catalog } from '../channels/catalog.ts';
import type { Definitions } from '../channels/definitions.ts';
import { assert } from '../errors.ts';
import type { CommitBuilder } from '../journal/commit-builder.ts';
import type { Batch } from '../journal/journal.ts';
import type { MemoryJournal } from '../journal/memory.ts';
import type { ResetReason } from '../protocol.ts';
import { type HeadState, packBatch, packTurn, type Step } from './wire.ts';

export interface TurnsOptions {
  readonly journal: MemoryJournal;
  readonly head: CommitBuilder;
  /** Those in force. */
  readonly definitions: Pick<Definitions, 'catalog' | 'known'>;
}

/** A turn that is read from the journal has about so much. */
const TURN_STEPS = 1_000;
const TURN_BYTES = 1024 ** 2;

export class Turns {
  readonly #options: TurnsOptions;
  /** Of the turn that is being gathered. */
  #steps: Step[] = [];
  #takenHead = '';

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  begin(reason: ResetReason): void {
    this.#steps.push(this.#beginning(reason));
  }

  batch(batch: Batch): void {
    this.#steps.push({ kind: 'batch', batch: packBatch(batch), head: this.#head() });
  }

  marker(id: string): void {
    this.#steps.push({ kind: 'marker', id, head: this.#head() });
  }

  defined(catalog: Catalog): void {
    this.#steps.push({ kind: 'defined', catalog });
  }

  known(isKnown: boolean): void {
    this.#steps.push({ kind: 'known', isKnown });
  }

  /** What has come since the last turn was taken; undefined where nothing has, and the head stands where it stood. */
  take(): Uint8Array | undefined {
    const { headText } = this.#options.head;
    if (this.#steps.length === 0 && headText === this.#takenHead) return undefined;
    this.#takenHead = headText;
    const bytes = packTurn([...this.#steps, { kind: 'head', head: this.#head() }]);
    this.#steps = [];
    return bytes;
  }

  /** All that a worker needs to go on from here. To be asked for when a turn has just been taken. */
  *sinceBeginning(): Iterable<Uint8Array> {
    const { head, journal } = this.#options;
    assert(this.#steps.length === 0, 'what is gathered would come twice');
    if (head.epoch === '') return;
    const now = this.#head();
    let steps: Step[] = [this.#beginning('epoch_changed')];
    let bytes = 0;
    for (const each of journal.batches()) {
      // what it tells of the time from the commit is known already
      const batch = packBatch({ ...each, committedAt: 0 });
      steps.push({ kind: 'batch', batch, head: now });
      bytes += batch.frames.length;
      if (steps.length < TURN_STEPS && bytes < TURN_BYTES) continue;
      yield packTurn(steps);
      steps = [];
      bytes = 0;
    }
    yield packTurn(steps);
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
    const { epoch, frontier, headText, wholeSequence, openXid, forgotten } = this.#options.head;
    return { epoch, frontier, headText, wholeSequence, openXid, forgotten: [...forgotten] };
  }
}
