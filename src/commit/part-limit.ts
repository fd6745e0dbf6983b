/** Where a commit is cut into parts. The same events are cut at the same places each time. */

/**
 * Maximum channels in a part of a commit. The limit in bytes does not count what each channel
 * needs.
 */
export const PART_CHANNELS_MAX = 8_192;

/**
 * Whether a part ends after an event. `bytes`: of its events and messages, with the commas, and of
 * the records of old values. `channels`: the number of its channels.
 */
export function isPartFull(bytes: number, channels: number, bytesMax: number): boolean {
  return bytes > bytesMax || channels >= PART_CHANNELS_MAX;
}
