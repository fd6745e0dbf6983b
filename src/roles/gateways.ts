/** The half of the service that faces clients, as the process that reads the WAL sees it. */
import type { Metrics } from '../metrics/metrics.ts';
import type { StreamFollower } from '../relay/follower.ts';
import type { AskGateways } from './inspect/questions.ts';
import type { WorkerView } from './inspect/view.ts';

export interface Gateways extends StreamFollower {
  /** Whether the channel is subscribed or in a journal. */
  knows(channel: string): boolean;
  /**
   * Listens for clients. Until `open`, they are told that the service is starting. Resolves with
   * the port. Throws the error that prevents it.
   */
  listen(): Promise<number>;
  /** Lets clients in. */
  open(): Promise<void>;
  /** Disconnects the clients over SNO_DRAIN_SECONDS or less. Each client is served until then. */
  drain(): Promise<void>;
  /** Call after `drain`. */
  stop(): Promise<void>;
  /**
   * The stream is cut off: clients are closed with 1013 and refused, until `resume`. Access may be
   * revoked meanwhile, and this process would not know.
   */
  suspend(): void;
  resume(): void;
  /** Why no client is served although `open` was called. Undefined: clients are served. */
  readonly unready: string | undefined;
  /** The metrics of this process, and of all processes that face clients. */
  readonly metrics: Pick<Metrics, 'text' | 'contentType' | 'values'>;
  /** Asks each of these processes about its clients, for the admin API. */
  readonly ask: AskGateways;
  /** Empty: this process faces the clients itself. */
  readonly workers: readonly WorkerView[];
}
