/**
 * One machine: this process reads the WAL, and serves clients itself or in SNO_WORKERS processes.
 *
 *     ingest -> gateways
 */
import { PeerSwitch } from '../peers/peer-switch.ts';
import type { Composition, CompositionOptions } from './composition.ts';
import type { Gateways } from './gateways.ts';
import { IngestRole } from './ingest.ts';
import { localGateways } from './local-gateways.ts';

export class OneMachine implements Composition {
  readonly #ingest: IngestRole;
  readonly #gateways: Gateways;

  constructor(options: CompositionOptions) {
    const ingest = new IngestRole(options);
    this.#ingest = ingest;
    this.#gateways = localGateways(options, {
      source: ingest,
      peers: new PeerSwitch(),
      hold: () => ingest.hold('workers'),
      release: () => ingest.release('workers'),
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
