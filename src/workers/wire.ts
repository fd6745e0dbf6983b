/**
 * The messages between main and its workers, over the channel of `node:cluster` (structured
 * clones). All workers receive the same stream, so each turn is encoded once.
 */
import type { Catalog } from '../channels/catalog/catalog.ts';
import type { Batch, Mark } from '../commit/entry.ts';
import type { Settings } from '../config/config.ts';
import type { ErrorCode } from '../errors.ts';
import type { Excess } from '../gateway/accept/admission.ts';
import type { EvictedCommit } from '../journal/memory.ts';
import type { MetricValues } from '../metrics.ts';
import type { Position } from '../position.ts';
import type { ResetReason } from '../protocol.ts';

export type ToWorker =
  | {
      readonly kind: 'start';
      /** The worker's number from 1, for its log. */
      readonly number: number;
      readonly settings: Settings;
      /** This worker's part of SNO_MAX_CONNECTIONS, which main counts. 0: no limit. */
      readonly clientsMax: number;
      readonly ticketKeys: Uint8Array | undefined;
    }
  /**
   * A piece of a turn: steps as `TurnWriter` encoded them. `holdsHeard`: how many `hold` and
   * `unhold` messages main had received by then.
   */
  | { readonly kind: 'turn'; readonly bytes: Uint8Array; readonly isLast: boolean; readonly holdsHeard: number }
  /** `socket` comes with a connection, or without one if the client has closed it. */
  | { readonly kind: 'listen' | 'socket' | 'open' }
  | { readonly kind: 'drain'; readonly seconds: number }
  | { readonly kind: 'admitted'; readonly id: number; readonly excess: Excess | undefined }
  | { readonly kind: 'ticket-keys'; readonly keys: Uint8Array }
  | { readonly kind: 'measure'; readonly id: number };

export type FromWorker =
  /** The worker receives messages from now on. Earlier messages are lost. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  /** `taken`: the worker is ready for the next connection. */
  | { readonly kind: 'listening' | 'taken' | 'opened' }
  | { readonly kind: 'enter'; readonly id: number; readonly address: string }
  | { readonly kind: 'leave'; readonly address: string }
  /** The channel's first subscription began, or (`unhold`) its last one ended. */
  | { readonly kind: 'hold' | 'unhold'; readonly channel: string }
  | { readonly kind: 'measured'; readonly id: number; readonly values: MetricValues };

/** Where the stream is after a step; see `Head` of the hub. */
export interface HeadState {
  readonly epoch: string;
  readonly head: Position;
  readonly frontier: Position;
  readonly wholeSequence: number;
  readonly openXid: number;
  /** Patterns whose channels of the open commit are no longer tracked. */
  readonly forgotten: readonly string[];
}

/** One step of the stream. */
export type Step =
  /**
   * A history begins. `reason` is for current subscribers. A new worker begins with the journal's
   * content.
   */
  | {
      readonly kind: 'begin';
      readonly reason: ResetReason;
      readonly catalog: Catalog;
      /** Whether the catalog is certain to hold at this point of the WAL. */
      readonly isKnown: boolean;
      readonly oldest: Position;
      readonly evicted: readonly EvictedCommit[];
      readonly head: HeadState;
    }
  | { readonly kind: 'batch'; readonly batch: Batch; readonly head: HeadState }
  | { readonly kind: 'marker'; readonly id: string; readonly head: HeadState }
  | { readonly kind: 'defined'; readonly catalog: Catalog }
  | { readonly kind: 'known'; readonly isKnown: boolean }
  /** The head moved without another step. */
  | { readonly kind: 'head'; readonly head: HeadState };

/** A step's index in this list encodes its kind in a turn. */
export const STEP_CODES: readonly Step['kind'][] = ['begin', 'batch', 'marker', 'defined', 'known', 'head'];
export const MARK_KINDS: readonly Mark['kind'][] = ['truncate', 'changed', 'dropped', 'recheck'];
