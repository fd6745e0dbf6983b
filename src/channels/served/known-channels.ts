/**
 * The channels by the definitions in force at one point of the stream, and whether those are known.
 */
import type { SnoError } from '../../errors.ts';
import { DefinitionsGate } from './gate.ts';
import { ChannelNames } from './names.ts';
import type { ResolvedChannel, ServedDefinitions } from './served.ts';

export class KnownChannels {
  readonly #names = new ChannelNames();
  readonly #gate = new DefinitionsGate();

  get version(): number {
    return this.#names.version;
  }

  resolve(name: string): ResolvedChannel | SnoError {
    return this.#names.resolve(name);
  }

  patternOf(name: string): string | undefined {
    return this.#names.declaredPatternOf(name);
  }

  meant(name: string): string | undefined {
    return this.#names.meant(name);
  }

  /** Resolves when the definitions at this place are known; undefined if they already are. */
  get known(): Promise<void> | undefined {
    return this.#gate.known;
  }

  load(definitions: ServedDefinitions): void {
    this.#names.load(definitions);
  }

  setKnown(isKnown: boolean): void {
    this.#gate.set(isKnown);
  }
}
