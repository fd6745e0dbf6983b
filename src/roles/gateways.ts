/** The half of the service that serves clients, seen from the process that reads the WAL. */
import type { Metrics } from '../metrics/metrics.ts';
import type { StreamFollower } from '../relay/follower.ts';
import type { Unready } from '../unready.ts';
import type { AskGateways } from './inspect/questions.ts';
import type { WorkerView } from './inspect/view.ts';

export interface Gateways extends StreamFollower {
  /** How many bytes of events that arrive together should be flushed at once, at most. */
  readonly burstBytes: number;
  /** Whether the channel is subscribed or in a journal. */
  knows(channel: string): boolean;
  /**
   * Listens for clients. Until `open`, they receive the error `starting`. Resolves with the port.
   * Throws the error that prevents it.
   */
  listen(): Promise<number>;
  /** Lets clients in. */
  open(): Promise<void>;
  /** Disconnects the clients within SNO_DRAIN_SECONDS. Each client is served until its turn. */
  drain(): Promise<void>;
  /** Call after `drain`. */
  stop(): Promise<void>;
  /**
   * Call when the stream is cut off. Closes all clients with 1013, and refuses new ones until
   * `resume`: access may be revoked meanwhile, and this process would not know.
   */
  suspend(): void;
  resume(): void;
  /** Why no client is served although `open` was called. Undefined: clients are served. */
  readonly unready: Unready | undefined;
  /** The metrics of this process, and of all processes that serve clients. */
  readonly metrics: Pick<Metrics, 'text' | 'contentType' | 'values'>;
  /** Asks each of these processes about its clients, for the admin API. */
  readonly ask: AskGateways;
  /** Empty: this process serves the clients itself. */
  readonly workers: readonly WorkerView[];
}
