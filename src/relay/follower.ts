/**
 * The steps that ingest, the half that reads the WAL, passes to gateways, the half that serves
 * clients.
 *
 * Steps come one by one, in the order of the stream. They are direct calls within one process. For
 * other processes, `StepWriter` turns them into bytes and `readSteps` turns the bytes into the same
 * calls. When a step is called, the stream's head (`Head`) already stands after that step.
 */
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch } from '../commit/entry.ts';
import type { EvictedCommit } from '../journal/evicted-commits.ts';
import type { Position } from '../position.ts';
import type { ResetReason } from '../protocol.ts';

/** How a history begins. A gateway that joins later begins with the journal's content. */
export interface Beginning {
  /** The reason for which current subscribers are reset. */
  readonly reason: ResetReason;
  readonly definitions: ServedDefinitions;
  /** Whether the definitions are certain to hold at this point of the WAL. */
  readonly isKnown: boolean;
  /** Everything after this position will follow. */
  readonly oldest: Position;
  /** Commits that the journal has dropped. */
  readonly evicted: readonly EvictedCommit[];
}

export interface StreamFollower {
  /** A history begins, and the journal is empty. Every subscription is reset. */
  begin(beginning: Beginning): void;
  /** A commit, or a part of one. The follower appends it to its journal. */
  append(batch: Batch): void;
  /** A marker arrived in the stream. */
  marker(id: string): void;
  /** These definitions apply from here on. The commit that changes them follows. */
  define(definitions: ServedDefinitions): void;
  /** Whether the definitions are certain from here on. */
  setKnown(isKnown: boolean): void;
  /** All steps that arrived together have been passed on: send them now. */
  flush(): void;
}
