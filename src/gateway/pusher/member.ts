/** Reads the member that a client appears as from the data that the app has signed. */
import type { Member } from '../../access/access.ts';
import { SnoError } from '../../errors.ts';
import { nestsTooDeeply, SHOWN_DEPTH_MAX } from '../../json.ts';

/** Maximum bytes of the data: every other client of the channel receives it. */
const DATA_BYTES_MAX = 4_096;

/** `{"user_id": ..., "user_info": {...}}`. */
export function memberIn(channelData: string | undefined): Member | SnoError {
  if (channelData === undefined) return invalid('a presence channel needs channel_data');
  if (Buffer.byteLength(channelData) > DATA_BYTES_MAX)
    return invalid(`channel_data is larger than ${DATA_BYTES_MAX} bytes`);
  let data: unknown;
  try {
    data = JSON.parse(channelData);
  } catch {
    return invalid('channel_data is not JSON');
  }
  const { user_id: id, user_info: info = {} } = (data ?? {}) as Record<string, unknown>;
  if ((typeof id !== 'string' || id === '') && typeof id !== 'number') return invalid('channel_data has no user_id');
  if (typeof info !== 'object' || info === null || Array.isArray(info)) return invalid('user_info is not an object');
  const text = JSON.stringify(info);
  if (nestsTooDeeply(Buffer.from(text))) return invalid(`user_info nests more than ${SHOWN_DEPTH_MAX} levels deep`);
  return { id: String(id), info: text };
}

/** Returns the text that a server library signs for a member. */
export function channelDataOf({ id, info }: Member): string {
  return `{"user_id":${JSON.stringify(id)},"user_info":${info}}`;
}

function invalid(message: string): SnoError {
  return new SnoError('pusher_request_invalid', message);
}
