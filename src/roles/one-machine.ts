/**
 * One machine: this process reads the WAL, and serves clients itself or in SNO_WORKERS processes.
 *
 *     ingest -> gateways
 */
import type { Certificate } from '../http/tls.ts';
import { WorkerPool } from '../workers/pool.ts';
import type { Composition } from './composition.ts';
import { GatewayRole } from './gateway.ts';
import type { Gateways } from './gateways.ts';
import { type IngestOptions, IngestRole } from './ingest.ts';

export interface OneMachineOptions extends Omit<IngestOptions, 'relayed'> {
  readonly certificate: Certificate | undefined;
  /** Number of files that the process may open beside those for clients. */
  readonly otherFilesMax: number;
}

export class OneMachine implements Composition {
  readonly #ingest: IngestRole;
  readonly #gateways: Gateways;

  constructor(options: OneMachineOptions) {
    const { settings, onBug } = options;
    const ingest = new IngestRole(options);
    const { journal, head } = ingest;
    this.#ingest = ingest;
    this.#gateways =
      settings.SNO_WORKERS === 0
        ? new GatewayRole({ ...options, journal, head, clientsMax: settings.SNO_MAX_CONNECTIONS })
        : new WorkerPool({
            ...options,
            source: ingest,
            hold: () => ingest.hold('workers'),
            release: () => ingest.release('workers'),
            onBug,
          });
    ingest.tell(this.#gateways);
  }

  listen(): Promise<number> {
    return this.#gateways.listen();
  }

  prepare(): Promise<void> {
    return this.#ingest.prepare();
  }

  start(): Promise<void> {
    return this.#ingest.start();
  }

  open(): Promise<void> {
    return this.#gateways.open();
  }

  drain(): Promise<void> {
    return this.#gateways.drain();
  }

  async stop(): Promise<void> {
    await this.#ingest.stop();
    await this.#gateways.stop();
  }

  get unready(): string | undefined {
    return this.#ingest.unready ?? this.#gateways.unready;
  }

  get channelCount(): number {
    return this.#ingest.channelCount;
  }

  get metrics(): Gateways['metrics'] {
    return this.#gateways.metrics;
  }
}
