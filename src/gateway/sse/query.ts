/** The parameters of a request for an event stream. */
import type { IncomingMessage } from 'node:http';
import type { IdPlace } from './encoding.ts';

export interface StreamQuery {
  /** At least one, each once. */
  readonly channels: readonly string[];
  /** Whether each channel starts with a snapshot, unless it resumes. */
  readonly snapshot: boolean;
  /** Whether updates and deletes carry the old row, where the server has it. */
  readonly old: boolean;
  /** Whether the members are watched. */
  readonly presence: boolean;
  /** Where the ids of events stand. */
  readonly ids: IdPlace;
  /** Where to resume, as the client sent it: not validated. */
  readonly since: string | undefined;
}

/** Returns undefined if there is no channel, or if another parameter has an unknown value. */
export function readQuery({ url = '', headers }: Pick<IncomingMessage, 'url' | 'headers'>): StreamQuery | undefined {
  const parameters = new URLSearchParams(url.split('?').slice(1).join('?'));
  const channels = [...new Set(parameters.getAll('channel'))].filter((channel) => channel !== '');
  const [snapshot, old] = ['snapshot', 'old'].map((name) => parameters.get(name) ?? 'false') as [string, string];
  const presence = parameters.get('presence');
  if (channels.length === 0 || ![snapshot, old].every((value) => /^(true|false)$/.test(value))) return undefined;
  if (presence !== null && presence !== 'watch') return undefined;
  const ids = parameters.get('ids') ?? 'with';
  if (ids !== 'with' && ids !== 'after') return undefined;
  // A client that reconnects sends the URL with the `since` of its start, and a newer id.
  const since = String(headers['last-event-id'] ?? '') || parameters.get('since') || undefined;
  return { channels, snapshot: snapshot === 'true', old: old === 'true', presence: presence === 'watch', ids, since };
}
