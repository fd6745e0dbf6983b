/** Resolves names of channels by the definitions in force, without the gateway. */
import { ChannelNames } from '../../channels/served/names.ts';
import type { ServedDefinitions } from '../../channels/served/served.ts';

export class KnownNames {
  readonly #definitions: () => ServedDefinitions | undefined;
  #loaded: ServedDefinitions | undefined;
  #names = new ChannelNames();

  /** `definitions`: undefined while none are known. */
  constructor(definitions: () => ServedDefinitions | undefined) {
    this.#definitions = definitions;
  }

  /** Undefined: no definitions are known yet. */
  get names(): ChannelNames | undefined {
    const definitions = this.#definitions();
    if (definitions === undefined) return undefined;
    if (definitions !== this.#loaded) {
      this.#loaded = definitions;
      this.#names = new ChannelNames();
      this.#names.load(definitions);
    }
    return this.#names;
  }
}
