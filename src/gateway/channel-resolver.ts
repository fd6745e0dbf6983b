import type { ResolvedChannel } from '../channels/served/served.ts';
import type { SnoError } from '../errors.ts';

/** Resolves channel names by the definitions at this point of the stream. */
export interface ChannelResolver {
  /** Changes with the definitions. While it is the same, names resolve to the same channels. */
  readonly version: number;
  resolve(name: string): ResolvedChannel | SnoError;
  /** The pattern of a channel that is served or refused. Undefined: the channel is unknown. */
  patternOf(name: string): string | undefined;
  /** The pattern that a mistyped name probably meant. Undefined: none is similar. */
  meant(name: string): string | undefined;
  /** Resolves when the definitions at this point of the stream are certain. Undefined: they are. */
  readonly known: Promise<void> | undefined;
}
