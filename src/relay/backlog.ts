/**
 * The backlog of a follower that joins later: everything since the journal's oldest entry, as
 * steps.
 */
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { MemoryJournal } from '../journal/memory.ts';
import type { ResetReason } from '../protocol.ts';
import type { Beginning } from './follower.ts';
import { type SourceHead, StepWriter } from './step-writer.ts';

/** The definitions in force. */
export interface DefinitionsInForce {
  readonly served: ServedDefinitions;
  /** Resolves once the definitions are certain to hold. Undefined: they already are. */
  readonly known: Promise<void> | undefined;
}

export interface BacklogSource {
  readonly journal: MemoryJournal;
  readonly head: SourceHead;
  readonly definitions: DefinitionsInForce;
}

/** Approximate bytes of steps that are read from the journal at a time. */
const STEPS_BYTES = 1024 ** 2;

/** Returns the steps after which a follower can continue from here. */
export function* backlogOf(source: BacklogSource): Iterable<Buffer> {
  const { journal, head } = source;
  if (head.epoch === '') return;
  const writer = new StepWriter(head);
  writer.begin(beginningOf(source, 'epoch_changed'));
  for (const batch of journal.batches()) {
    // The delivery delay of these commits has been measured already.
    writer.append({ ...batch, committedAt: 0 });
    if (writer.length >= STEPS_BYTES) yield writer.take();
  }
  if (writer.length > 0) yield writer.take();
}

/** Returns how a follower begins with what is in force now. */
export function beginningOf(source: Omit<BacklogSource, 'head'>, reason: ResetReason): Beginning {
  const { journal, definitions } = source;
  return {
    reason,
    definitions: definitions.served,
    isKnown: definitions.known === undefined,
    oldest: journal.oldest,
    evicted: journal.evictedCommits,
  };
}
