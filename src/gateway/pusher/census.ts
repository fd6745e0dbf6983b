/**
 * Presence channels and their members, for the app's server. Presence is true over workers and
 * machines. Snö answers for no other channels: a process does not know those of all others.
 */
import { SnoError } from '../../errors.ts';
import type { Presence } from '../../presence/presence.ts';
import { nameOf, type PusherName, parseName } from './names.ts';

export type CensusPresence = Pick<Presence, 'channels' | 'members' | 'memberCount'>;

const PREFIX = 'presence-';

/** The answer to `GET /apps/{id}/channels`. `query`: filter_by_prefix and info. */
export function occupiedChannels(presence: CensusPresence, query: URLSearchParams): object | SnoError {
  const filter = query.get('filter_by_prefix') ?? '';
  if (!filter.startsWith(PREFIX)) return presenceOnly();
  const names = [...presence.channels()].map((channel) => [nameOf(PREFIX, channel, false), channel] as const);
  const wanted = names.filter(([name]) => name.startsWith(filter));
  return { channels: Object.fromEntries(wanted.map(([name, channel]) => [name, countOf(presence, channel, query)])) };
}

/** The answer to `GET /apps/{id}/channels/{name}`. */
export function channelState(presence: CensusPresence, name: string, query: URLSearchParams): object | SnoError {
  const channel = presenceName(name)?.channel;
  if (channel === undefined) return presenceOnly();
  return { occupied: presence.memberCount(channel) > 0, ...countOf(presence, channel, query) };
}

/** The answer to `GET /apps/{id}/channels/{name}/users`. */
export function channelUsers(presence: CensusPresence, name: string): object | SnoError {
  const channel = presenceName(name)?.channel;
  if (channel === undefined) return presenceOnly();
  return { users: [...presence.members(channel)].map(({ id }) => ({ id })) };
}

function presenceName(text: string): PusherName | undefined {
  const name = parseName(text);
  return name?.isPresence === true ? name : undefined;
}

function countOf(presence: CensusPresence, channel: string, query: URLSearchParams): object {
  const isAsked = (query.get('info') ?? '').split(',').includes('user_count');
  return isAsked ? { user_count: presence.memberCount(channel) } : {};
}

function presenceOnly(): SnoError {
  const message = 'Snö counts the members of presence channels only: name one, or filter_by_prefix=presence-';
  return new SnoError('parameters_invalid', message);
}
