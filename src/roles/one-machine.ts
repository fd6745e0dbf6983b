/**
 * One machine: this process reads the WAL, and serves clients itself or in SNO_WORKERS processes.
 *
 *     ingest -> gateways
 */

import { PeerSwitch } from '../peers/peer-switch.ts';
import { otherReaders, SHARE_HINT } from '../setup/other-readers.ts';
import type { Unready } from '../unready.ts';
import type { Composition, CompositionOptions } from './composition.ts';
import type { Gateways } from './gateways.ts';
import { IngestRole } from './ingest.ts';
import { localGateways } from './local-gateways.ts';

export class OneMachine implements Composition {
  readonly #options: CompositionOptions;
  readonly #ingest: IngestRole;
  readonly #gateways: Gateways;

  constructor(options: CompositionOptions) {
    this.#options = options;
    const ingest = new IngestRole(options);
    this.#ingest = ingest;
    this.#gateways = localGateways(options, {
      source: ingest,
      peers: new PeerSwitch(),
      hold: () => ingest.hold('workers'),
      release: () => ingest.release('workers'),
    });
    ingest.setFollowers(this.#gateways);
  }

  listen(): Promise<number> {
    return this.#gateways.listen();
  }

  prepare(): Promise<void> {
    return this.#ingest.prepare();
  }

  async start(): Promise<void> {
    await this.#ingest.start();
    const { pool, settings, logger } = this.#options;
    // This is only advice: a query that fails must not stop the start.
    const slots = await otherReaders(pool, settings.SNO_SLOT).catch(() => []);
    if (slots.length > 0)
      logger.warn(
        { slots, hint: SHARE_HINT },
        'other Snö read this database without NATS: members of channels and sends are not shared with them',
      );
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

  get unready(): Unready | undefined {
    return this.#ingest.unready ?? this.#gateways.unready;
  }

  get channelCount(): number {
    return this.#ingest.channelCount;
  }

  get metrics(): Gateways['metrics'] {
    return this.#gateways.metrics;
  }
}
