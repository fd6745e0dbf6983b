/** Resolves channel names by the definitions in force. */
import { SnoError } from '../../errors.ts';
import { NameIndex } from '../catalog/name-index.ts';
import { nearPattern } from '../catalog/near-name.ts';
import type { RefusedChannel, ResolvedChannel, ServedChannel, ServedDefinitions } from './served.ts';

const NAME_LENGTH_MAX = 1_024;
/**
 * Literals and values with exactly the required bytes escaped: the same test as in sno.publish().
 */
const NAME = /^(?:[A-Za-z0-9_.:/~-]|%(?!2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{2})+$/;

export class ChannelNames {
  #served = new NameIndex<ServedChannel>([]);
  #refused = new NameIndex<RefusedChannel>([]);
  #gone = new NameIndex<Pick<RefusedChannel, 'pattern'>>([]);
  #patterns: readonly string[] = [];
  #version = 0;

  /** Changes with the definitions. While it is the same, each name resolves to the same channel. */
  get version(): number {
    return this.#version;
  }

  /** Replaces the definitions. */
  load({ served, refused, gone }: ServedDefinitions): void {
    this.#version++;
    this.#served = new NameIndex(served);
    this.#refused = new NameIndex(refused);
    this.#gone = new NameIndex(gone.map((pattern) => ({ pattern })));
    this.#patterns = [...served, ...refused].map(({ pattern }) => pattern.text);
  }

  /**
   * Resolves a channel name. Returns an error for the client, which contains no SQL, if the channel
   * is not served.
   */
  resolve(name: string): ResolvedChannel | SnoError {
    if (name.length > NAME_LENGTH_MAX || !NAME.test(name))
      return new SnoError('channel_invalid', 'this is not a canonical channel name');
    const found = this.#served.find(name);
    if (found !== undefined) return resolved(found.item, name, found.values, this.#version);
    const refused = this.#refused.find(name)?.item;
    if (refused !== undefined)
      return refused.isAwaited
        ? new SnoError('try_again', `the channel ${name} is about to be served`)
        : new SnoError('channel_unavailable', `the channel ${name} is declared, but its view is refused`);
    if (this.#gone.find(name) !== undefined)
      return new SnoError('channel_unknown', `the channel ${name} does not exist now: its view was dropped`);
    return new SnoError('channel_unknown', `the channel ${name} does not exist`);
  }

  /**
   * The name that the client probably meant by one that matches no pattern. For the log only: it
   * reveals which channels exist.
   */
  meant(name: string): string | undefined {
    return nearPattern(name, this.#patterns);
  }

  /** The pattern of a channel name that is served or refused. */
  declaredPatternOf(name: string): string | undefined {
    if (name.length > NAME_LENGTH_MAX || !NAME.test(name)) return undefined;
    return (this.#served.find(name) ?? this.#refused.find(name))?.item.pattern.text;
  }

  /** The pattern of this channel name; undefined if no served pattern matches it. */
  patternOf(name: string): string | undefined {
    return this.#served.find(name)?.item.pattern.text;
  }
}

function resolved(
  { pattern, valueTypes, view, access, presence, send, isViewGone }: ServedChannel,
  name: string,
  values: readonly string[],
  version: number,
): ResolvedChannel {
  // A literal, since a spread would cost more than the rest of `resolve`.
  return { pattern, valueTypes, view, access, presence, send, isViewGone, name, values, version };
}
