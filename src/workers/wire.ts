/**
 * The messages between main and its workers, over the channel of `node:cluster` (structured
 * clones). All workers receive the same steps, so these are encoded once.
 */
import type { Settings } from '../config/settings.ts';
import type { ErrorCode } from '../errors.ts';
import type { Excess } from '../gateway/accept/admission.ts';
import type { MetricValues } from '../metrics/metrics.ts';
import type { GatewayAnswers, GatewayQuestion } from '../roles/inspect/questions.ts';

export type ToWorker =
  | {
      readonly kind: 'start';
      /** The worker's number from 1, for its log. */
      readonly number: number;
      readonly settings: Settings;
      /** This worker's part of SNO_MAX_CONNECTIONS, which main counts. 0: no limit. */
      readonly clientsMax: number;
      readonly ticketKeys: Uint8Array | undefined;
      /** The worker's id among the processes that serve clients. */
      readonly peerId: string;
    }
  /**
   * A message of the relay. `retainsReceived`: how many `retain` and `release` messages main had
   * received by then.
   */
  | { readonly kind: 'relay'; readonly message: Uint8Array; readonly retainsReceived: number }
  /** `socket` carries a connection, unless the client has closed it meanwhile. */
  | { readonly kind: 'listen' | 'socket' | 'open' | 'suspend' | 'resume' }
  | { readonly kind: 'drain'; readonly seconds: number }
  | { readonly kind: 'admitted'; readonly id: number; readonly excess: Excess | undefined }
  | { readonly kind: 'ticket-keys'; readonly keys: Uint8Array }
  | { readonly kind: 'measure'; readonly id: number }
  /** A message from another process that serves clients. */
  | { readonly kind: 'peers'; readonly message: Uint8Array }
  /** A question of the admin API. */
  | { readonly kind: 'ask'; readonly id: number; readonly question: GatewayQuestion };

export type FromWorker =
  /** The worker receives messages from now on. Earlier messages are lost. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  /** `taken`: the worker is ready for the next connection. */
  | { readonly kind: 'listening' | 'taken' | 'opened' }
  | { readonly kind: 'enter'; readonly id: number; readonly address: string }
  | { readonly kind: 'leave'; readonly address: string }
  /** The channel's first subscription began, or (`release`) its last one ended. */
  | { readonly kind: 'retain' | 'release'; readonly channel: string }
  /** A message for the other processes that serve clients. */
  | { readonly kind: 'peers'; readonly message: Uint8Array }
  | { readonly kind: 'measured'; readonly id: number; readonly values: MetricValues }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: GatewayAnswers[GatewayQuestion['kind']] };
