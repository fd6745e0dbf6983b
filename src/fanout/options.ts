import type { SnoError } from '../errors.ts';
import type { Patterns } from '../metrics/patterns.ts';
import type { ResetReason } from '../protocol.ts';
import type { OlderHistory } from './history/older-history.ts';
import type { HistoryEvents } from './history/reads.ts';
import type { SnapshotSource } from './snapshots/snapshots.ts';

export interface HubEvents {
  /** Frames were written to sockets. */
  delivered(count: number): void;
  reset(reason: ResetReason, channel: string): void;
  /**
   * A commit made at `committedAt` (ms since 1970) has been written to the sockets that were live.
   */
  sent(committedAt: number): void;
  failed(error: SnoError, channel: string): void;
  /** A subscription has ended with this error, which is sent to the client. */
  refused?(error: SnoError): void;
  /**
   * A connection holds the maximum of bytes. It falls behind; if the bytes are answers that it does
   * not read, it is closed.
   */
  outboundFull(): void;
  readonly history?: HistoryEvents;
}

export interface HubOptions {
  readonly outboundBytesMax: number;
  /** Maximum bytes of all sockets together that currently accept no more. Undefined: no maximum. */
  readonly outboundTotalBytesMax?: number;
  /** Maximum commits that one connection may wait for at a time. */
  readonly waitingCommitsMax: number;
  readonly snapshots: SnapshotSource;
  /** Older history, for clients that resume from before the journal. Undefined: none. */
  readonly history?: OlderHistory;
  /** Maximum channels that wait for older history. Undefined: no maximum. */
  readonly waitingHistoryMax?: number;
  /**
   * Resolves when queries see the transaction: the WAL delivers it earlier. Also resolves when it
   * is no longer wanted.
   */
  readonly visible: (xid: number, isWanted?: () => boolean) => Promise<void>;
  /**
   * Resolves when queries see the transaction, and by the catalog that it has left. Undefined: as
   * `visible`.
   */
  readonly ended?: (xid: number) => Promise<void>;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
  readonly now: () => number;
  /**
   * Calls back at the end of the turn: small frames of one turn are then written together.
   * Undefined: each is written at once.
   */
  readonly atTurnEnd?: (call: () => void) => void;
  /**
   * Called before anything is delivered: ends subscriptions and connections that must not receive
   * it.
   */
  readonly beforeDelivery?: () => void;
  readonly events: HubEvents;
  readonly patterns: Patterns;
}
