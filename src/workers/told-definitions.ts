/** The definitions in force at a worker's place in the stream, as main reports them. */
import type { Catalog } from '../channels/catalog/catalog.ts';
import type { ResolvedChannel } from '../channels/channel.ts';
import { Certainty } from '../channels/definitions/gate.ts';
import { ChannelRegistry } from '../channels/definitions/registry.ts';
import type { SnoError } from '../errors.ts';
import type { ChannelResolver } from '../gateway/subscriptions.ts';

export class ToldDefinitions implements ChannelResolver {
  readonly #registry: ChannelRegistry;
  readonly #certainty = new Certainty();

  constructor(publication: string) {
    this.#registry = new ChannelRegistry(publication);
  }

  resolve(name: string): ResolvedChannel | SnoError {
    return this.#registry.resolve(name);
  }

  meant(name: string): string | undefined {
    return this.#registry.meant(name);
  }

  get known(): Promise<void> | undefined {
    return this.#certainty.known;
  }

  load(catalog: Catalog): void {
    this.#registry.load(catalog);
  }

  setKnown(isKnown: boolean): void {
    this.#certainty.set(isKnown);
  }
}
