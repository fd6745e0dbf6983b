/**
 * The questions of the admin API to each process that serves clients. Questions and answers are
 * plain data: they also pass between main and its workers. The size of every answer is limited.
 */
import type { ActiveChannel, ConnectionInfo, Subscriber } from '../../admin/api/types.ts';
import type { Incident } from '../../metrics/incidents.ts';
import type { PatternChannels } from './pattern-channels.ts';

export type GatewayQuestion =
  | {
      readonly kind: 'connections';
      /** Maximum connections of the answer. */
      readonly top: number;
      readonly search: string;
      readonly channel: string | undefined;
    }
  | { readonly kind: 'disconnect'; readonly connection: string }
  | { readonly kind: 'subscribers'; readonly channel: string; readonly top: number }
  | {
      readonly kind: 'channels';
      readonly patterns: readonly string[];
      /** Whether other processes are asked too, so that their channels can be compared. */
      readonly isCompared: boolean;
    }
  | { readonly kind: 'active'; readonly pattern: string }
  | { readonly kind: 'incidents' }
  | { readonly kind: 'process' };

/** Answers lack the worker's number, which a gateway does not know. */
export interface GatewayAnswers {
  readonly connections: {
    /** Slow ones first. */
    readonly connections: readonly Omit<ConnectionInfo, 'worker'>[];
    readonly matching: number;
    readonly open: number;
    readonly slow: number;
  };
  readonly disconnect: boolean;
  readonly subscribers: {
    readonly subscribers: readonly Omit<Subscriber, 'worker'>[];
    readonly count: number;
    /** Members of the channel in all processes. */
    readonly members: { readonly count: number; readonly ids: readonly string[] };
  };
  /** The patterns that have a channel with a subscriber here. */
  readonly channels: readonly PatternChannels[];
  /** The channels of a pattern with a subscriber here. */
  readonly active: { readonly channels: readonly ActiveChannel[]; readonly isComplete: boolean };
  readonly incidents: readonly Incident[];
  readonly process: ProcessFacts;
}

export type AnswerTo<Question extends GatewayQuestion> = GatewayAnswers[Question['kind']];

export interface ProcessFacts {
  readonly pid: number;
  readonly startedAt: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
  /** Average cores used since the last question. */
  readonly cpuCores: number;
  readonly cpuSeconds: number;
  readonly connections: number;
  readonly subscriptions: number;
  /** Number of connections whose sockets accept no more bytes now. */
  readonly backedUp: number;
}

/** One process's answer. */
export interface GatewayAnswer<Answer> {
  /** Number of the worker. Null: this process. */
  readonly worker: number | null;
  /** Undefined: it did not answer in time. */
  readonly answer: Answer | undefined;
}

/** Asks all processes of this machine that serve clients. */
export type AskGateways = <Question extends GatewayQuestion>(
  question: Question,
) => Promise<readonly GatewayAnswer<AnswerTo<Question>>[]>;
