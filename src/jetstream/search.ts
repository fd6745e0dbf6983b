/** Finds places of a history in the stream, by binary search. */

import { isSameTenure } from '../relay/installation.ts';
import type { Relay } from './connection.ts';
import { comparePlaces, type Envelope, envelopeOf, type Place } from './envelope.ts';
import type { StreamBounds } from './stored-stream.ts';

export type SearchedRelay = Pick<Relay, 'bounds' | 'message'>;

/** Maximum messages that are passed over while the newest one is looked for. */
const SKIPPED_MAX = 1_000;

interface Found {
  readonly sequence: number;
  readonly envelope: Envelope;
}

/**
 * Returns the sequence of the first message of `epoch` whose steps end at the place or after it. A
 * process at that place can read on from there. Undefined: the stream no longer has everything
 * after the place, or ends before it. Throws SnoError if the stream cannot be read.
 */
export async function findPlace(relay: SearchedRelay, epoch: string, place: Place): Promise<number | undefined> {
  const bounds = await relay.bounds();
  if (bounds === undefined || bounds.count === 0) return undefined;
  // The history in force ends the stream. Messages of earlier histories, and of other
  // installations, come before it.
  let low = bounds.first;
  const newest = await newestOf(relay, bounds);
  if (newest === undefined || newest.envelope.epoch !== epoch || comparePlaces(newest.envelope.to, place) < 0)
    return undefined;
  let high = newest.sequence;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const found = await messageAt(relay, middle, bounds);
    if (found === undefined) return undefined;
    const { envelope } = found;
    const isInForce = envelope.epoch === epoch && isSameTenure(envelope, newest.envelope);
    if (isInForce && comparePlaces(envelope.to, place) >= 0) high = middle;
    else low = middle + 1;
  }
  const found = await messageAt(relay, low, bounds);
  if (found === undefined || found.envelope.epoch !== epoch) return undefined;
  const { envelope, sequence } = found;
  const isWhole = comparePlaces(envelope.from, place) <= 0;
  // All pieces of the same steps end at the same place, so the first piece was found, unless the
  // stream has dropped it.
  return isWhole && envelope.piece === 0 ? sequence : undefined;
}

/** Whether the stream still has the state with this sequence, at which a process can join. */
export async function isJoinable(relay: Pick<Relay, 'message'>, state: number): Promise<boolean> {
  const first = state === 0 ? undefined : await relay.message(state);
  return first !== undefined && envelopeOf(first.bytes).kind === 'state';
}

/** The newest message of Snö. Later ones were deleted, or another program wrote them. */
async function newestOf(relay: SearchedRelay, { first, last }: StreamBounds): Promise<Found | undefined> {
  for (let at = last; at >= Math.max(first, last - SKIPPED_MAX); at--) {
    const message = await relay.message(at);
    if (message !== undefined) return { sequence: at, envelope: envelopeOf(message.bytes) };
  }
  return undefined;
}

/** The message with this sequence, or the next one if it was deleted. */
async function messageAt(relay: SearchedRelay, sequence: number, { last }: StreamBounds): Promise<Found | undefined> {
  for (let at = sequence; at <= last; at++) {
    const message = await relay.message(at);
    if (message !== undefined) return { sequence: at, envelope: envelopeOf(message.bytes) };
  }
  return undefined;
}
