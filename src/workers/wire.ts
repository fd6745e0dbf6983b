/**
 * What main and its workers say to each other, over the channel of `node:cluster` (structured clones). The stream goes to all workers
 * alike: its turns are made into bytes once.
 */
import type { Catalog } from '../channels/catalog.ts';
import type { Settings } from '../config.ts';
import type { ErrorCode } from '../errors.ts';
import type { Excess } from '../gateway/admission.ts';
import type { Batch, Mark } from '../journal/journal.ts';
import type { EvictedCommit } from '../journal/memory.ts';
import type { MetricValues } from '../metrics.ts';
import type { Position } from '../position.ts';
import type { ResetReason } from '../protocol.ts';

export type ToWorker =
  | {
      readonly kind: 'start';
      /** From 1, for its log. */
      readonly number: number;
      readonly settings: Settings;
      /** Its part of SNO_MAX_CONNECTIONS, which main counts; 0 = no limit. */
      readonly clientsMax: number;
      readonly ticketKeys: Uint8Array | undefined;
    }
  /** Steps of the stream, as `TurnWriter` made them, in pieces. `holdsHeard`: how many of `hold` and `unhold` main had heard of then. */
  | { readonly kind: 'turn'; readonly bytes: Uint8Array; readonly isLast: boolean; readonly holdsHeard: number }
  /** `socket` comes with a connection, which is missing where the client has closed it. */
  | { readonly kind: 'listen' | 'socket' | 'open' }
  | { readonly kind: 'drain'; readonly seconds: number }
  | { readonly kind: 'admitted'; readonly id: number; readonly excess: Excess | undefined }
  | { readonly kind: 'ticket-keys'; readonly keys: Uint8Array }
  | { readonly kind: 'measure'; readonly id: number };

export type FromWorker =
  /** It hears from here on: what was sent before is lost. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  /** `taken`: it takes the next connection. */
  | { readonly kind: 'listening' | 'taken' | 'opened' }
  | { readonly kind: 'enter'; readonly id: number; readonly address: string }
  | { readonly kind: 'leave'; readonly address: string }
  /** Somebody is subscribed to the channel, or nobody is any more. */
  | { readonly kind: 'hold' | 'unhold'; readonly channel: string }
  | { readonly kind: 'measured'; readonly id: number; readonly values: MetricValues };

/** Where the stream is after a step; see `Head` of the hub. */
export interface HeadState {
  readonly epoch: string;
  readonly head: Position;
  readonly frontier: Position;
  readonly wholeSequence: number;
  readonly openXid: number;
  /** Patterns of which channels of the open commit are not kept track of any more. */
  readonly forgotten: readonly string[];
}

/** One step of the stream. */
export type Step =
  /** A history begins; `reason` is for those who were subscribed. A worker that is new begins with what the journal has. */
  | {
      readonly kind: 'begin';
      readonly reason: ResetReason;
      readonly catalog: Catalog;
      /** Whether the catalog is what holds at this point of the WAL. */
      readonly isKnown: boolean;
      readonly oldest: Position;
      readonly evicted: readonly EvictedCommit[];
      readonly head: HeadState;
    }
  | { readonly kind: 'batch'; readonly batch: Batch; readonly head: HeadState }
  | { readonly kind: 'marker'; readonly id: string; readonly head: HeadState }
  | { readonly kind: 'defined'; readonly catalog: Catalog }
  | { readonly kind: 'known'; readonly isKnown: boolean }
  /** The head has moved on without anything else. */
  | { readonly kind: 'head'; readonly head: HeadState };

/** Each is the number that stands for it in the bytes of a turn. */
export const STEP_CODES: readonly Step['kind'][] = ['begin', 'batch', 'marker', 'defined', 'known', 'head'];
export const MARK_KINDS: readonly Mark['kind'][] = ['truncate', 'changed', 'dropped', 'recheck'];
