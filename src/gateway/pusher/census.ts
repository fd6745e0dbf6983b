/**
 * Answers the app server's questions about channels: which are occupied, by how many subscriptions,
 * and the members of presence channels. Counts all processes that serve clients together.
 *
 * A channel is occupied if a client is subscribed to it under this name. Snö's own clients and
 * event streams know a channel by its name without a prefix. A presence channel is occupied by its
 * members, also by members from Snö's own clients. Both spellings of a name count as one.
 */
import { SnoError } from '../../errors.ts';
import type { SubscriptionCounts } from '../../peers/subscription-counts.ts';
import type { Presence } from '../../presence/presence.ts';
import { nameOf, type PusherName, parseName, spellingsOf } from './names.ts';

export interface CensusServices {
  readonly presence: Pick<Presence, 'channels' | 'members' | 'memberCount'>;
  readonly subscriptions: Pick<SubscriptionCounts, 'ask'>;
}

/** An occupied channel. */
interface Occupied {
  /** As clients know it. */
  name: string;
  /** The name of Snö's channel. */
  readonly channel: string;
  subscriptions: number;
}

const PRESENCE = 'presence-';
const USERS = 'user_count';
const SUBSCRIPTIONS = 'subscription_count';

/** The answer to `GET /apps/{id}/channels`. `query`: filter_by_prefix and info. */
export async function occupiedChannels(services: CensusServices, query: URLSearchParams): Promise<object | SnoError> {
  const filter = query.get('filter_by_prefix') ?? '';
  const info = infoIn(query.get('info'));
  const areMembersEnough = filter.startsWith(PRESENCE) && !info.has(SUBSCRIPTIONS);
  if (info.has(USERS) && !filter.startsWith(PRESENCE)) return presenceOnly();
  const found = new Map<string, Occupied>();
  // A client of a presence channel is a member, and each process knows the members of all.
  const counts = areMembersEnough ? new Map() : await services.subscriptions.ask({ prefixes: spellingsOf(filter) });
  if (counts instanceof SnoError) return counts;
  for (const [name, count] of counts) add(found, name, count);
  for (const channel of services.presence.channels()) {
    const name = nameOf(PRESENCE, channel, false);
    if (!found.has(name) && spellingsOf(filter).some((prefix) => name.startsWith(prefix))) add(found, name, 0);
  }
  const told = [...found.values()].map((each) => [each.name, countsOf(services, each, info)] as const);
  return { channels: Object.fromEntries(told) };
}

/** The answer to `GET /apps/{id}/channels/{name}`. */
export async function channelState(
  services: CensusServices,
  text: string,
  query: URLSearchParams,
): Promise<object | SnoError> {
  const name = parseName(text);
  if (name === undefined)
    return new SnoError('pusher_request_invalid', 'the channel is encrypted, or its name is empty');
  const { channel, isPresence } = name;
  const info = infoIn(query.get('info'));
  if (info.has(USERS) && !isPresence) return presenceOnly();
  const subscriptions = isPresence && !info.has(SUBSCRIPTIONS) ? 0 : await subscriptionsTo(services, name);
  if (subscriptions instanceof SnoError) return subscriptions;
  const occupied = subscriptions > 0 || (isPresence && services.presence.memberCount(channel) > 0);
  return { occupied, ...countsOf(services, { channel, subscriptions }, info) };
}

/**
 * The counts that a request to publish asks for (`info`). The message has been published already,
 * so counts that fail are left out.
 */
export async function countsBeside(services: CensusServices, text: string, asked: string): Promise<object> {
  const name = parseName(text);
  if (name === undefined) return {};
  const { channel, isPresence } = name;
  const info = new Set(infoIn(asked));
  if (!isPresence) info.delete(USERS);
  const subscriptions = info.has(SUBSCRIPTIONS) ? await subscriptionsTo(services, name) : 0;
  if (subscriptions instanceof SnoError) info.delete(SUBSCRIPTIONS);
  return countsOf(services, { channel, subscriptions: Number(subscriptions) }, info);
}

/** The answer to `GET /apps/{id}/channels/{name}/users`. */
export function channelUsers({ presence }: CensusServices, text: string): object | SnoError {
  const name: PusherName | undefined = parseName(text);
  if (name?.isPresence !== true) return presenceOnly();
  return { users: [...presence.members(name.channel)].map(({ id }) => ({ id })) };
}

/** Counts the subscriptions under a name, in both spellings. */
async function subscriptionsTo(
  { subscriptions }: CensusServices,
  { name, channel }: PusherName,
): Promise<number | SnoError> {
  const counts = await subscriptions.ask({ channel, prefixes: spellingsOf(name) });
  if (counts instanceof SnoError) return counts;
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

/** A channel that clients know by both spellings is listed under its plain name. */
function add(found: Map<string, Occupied>, name: string, count: number): void {
  const parsed = parseName(name);
  const { channel, isSpelled } = parsed ?? { channel: name, isSpelled: false };
  const plain = parsed === undefined ? name : nameOf(parsed.prefix, channel, false);
  const known = found.get(plain);
  if (known === undefined) {
    found.set(plain, { name, channel, subscriptions: count });
    return;
  }
  known.subscriptions += count;
  if (!isSpelled) known.name = name;
}

function countsOf(
  { presence }: CensusServices,
  { channel, subscriptions }: Pick<Occupied, 'channel' | 'subscriptions'>,
  info: ReadonlySet<string>,
): object {
  return {
    ...(info.has(USERS) ? { [USERS]: presence.memberCount(channel) } : {}),
    ...(info.has(SUBSCRIPTIONS) ? { [SUBSCRIPTIONS]: subscriptions } : {}),
  };
}

function infoIn(text: string | null): ReadonlySet<string> {
  return new Set((text ?? '').split(','));
}

function presenceOnly(): SnoError {
  return new SnoError(
    'pusher_request_invalid',
    'only presence channels have users: name one, or pass filter_by_prefix=presence-',
  );
}
