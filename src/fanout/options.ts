import type { SnoError } from '../errors.ts';
import type { ResetReason } from '../protocol.ts';
import type { Deflater } from './deflater.ts';
import type { SnapshotSource } from './snapshots.ts';

export interface HubEvents {
  /** Frames were written to sockets. */
  delivered(count: number): void;
  reset(reason: ResetReason): void;
  /** A commit that was made at `committedAt` (ms since 1970) has been written to the sockets that were live. */
  sent(committedAt: number): void;
  failed(error: SnoError, channel: string): void;
  /** A connection holds as many bytes as it may: it is behind, or, where they are answers that it does not read, cut. */
  outboundFull(): void;
}

export interface HubOptions {
  readonly outboundBytesMax: number;
  /** Of all sockets together that take no more just now. Undefined: no bound. */
  readonly outboundTotalBytesMax?: number;
  /** Commits that one connection may wait for at a time. */
  readonly waitingCommitsMax: number;
  readonly snapshots: SnapshotSource;
  readonly deflater: Deflater;
  /** Resolves when queries see the transaction: the WAL comes earlier than that. Or when it is not wanted any more. */
  readonly visible: (xid: number, isWanted?: () => boolean) => Promise<void>;
  /** Resolves when it is time for another try. */
  readonly pause: (attempt: number) => Promise<void>;
  readonly now: () => number;
  /** Called before anything is delivered: ends what must not get it any more. */
  readonly beforeDelivery?: () => void;
  readonly events: HubEvents;
}
