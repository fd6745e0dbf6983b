/** Reads the frames of Pusher clients. */
import { isJson, memberText } from '../../json.ts';

export type PusherClientFrame =
  | { readonly kind: 'ping' | 'pong' }
  | {
      readonly kind: 'subscribe';
      readonly channel: string;
      readonly auth: string | undefined;
      readonly channelData: string | undefined;
    }
  | { readonly kind: 'unsubscribe'; readonly channel: string }
  | { readonly kind: 'signin'; readonly auth: string; readonly userData: string }
  | {
      readonly kind: 'client event';
      readonly event: string;
      readonly channel: string;
      /** JSON text. */
      readonly data: Buffer;
    };

type Members = Readonly<Record<string, unknown>>;

const NO_DATA = Buffer.from('null');
const QUOTE = 0x22;

/** Returns what is wrong with an invalid frame. */
export function readPusherFrame(payload: Buffer): PusherClientFrame | string {
  const text = payload.toString('utf8');
  const frame = objectIn(text);
  if (frame === undefined) return 'the frame is not a JSON object';
  const { event } = frame;
  if (typeof event !== 'string') return 'event must be a string';
  if (event.startsWith('client-')) {
    const { channel } = frame;
    if (typeof channel !== 'string') return `${event}: channel must be a string`;
    const data = Object.hasOwn(frame, 'data') ? dataIn(text) : NO_DATA;
    return data === undefined ? `${event}: data is nested too deeply` : { kind: 'client event', event, channel, data };
  }
  // Some clients send the data as JSON text.
  const data = typeof frame['data'] === 'string' ? objectIn(frame['data']) : frame['data'];
  const members: Members = typeof data === 'object' && data !== null ? (data as Members) : {};
  switch (event) {
    case 'pusher:ping':
      return { kind: 'ping' };
    case 'pusher:pong':
      return { kind: 'pong' };
    case 'pusher:subscribe': {
      const { channel, auth, channel_data: channelData } = members;
      if (typeof channel !== 'string') return 'pusher:subscribe: channel must be a string';
      if (!isOptionalText(auth) || !isOptionalText(channelData))
        return 'pusher:subscribe: auth and channel_data must be strings';
      return { kind: 'subscribe', channel, auth: auth ?? undefined, channelData: channelData ?? undefined };
    }
    case 'pusher:unsubscribe': {
      const { channel } = members;
      return typeof channel === 'string'
        ? { kind: 'unsubscribe', channel }
        : 'pusher:unsubscribe: channel must be a string';
    }
    case 'pusher:signin': {
      const { auth, user_data: userData } = members;
      if (typeof auth !== 'string' || typeof userData !== 'string')
        return 'pusher:signin: auth and user_data must be strings';
      return { kind: 'signin', auth, userData };
    }
    default:
      return 'the event is unknown';
  }
}

/**
 * The data of a client event as JSON text, with the digits that the client has sent. Some clients
 * send it as text that is JSON, as the server libraries do: it counts as that JSON.
 */
function dataIn(frame: string): Buffer | undefined {
  // A binary frame may hold invalid UTF-8. Its text does not.
  const data = memberText(Buffer.from(frame), 'data');
  if (data?.[0] !== QUOTE) return data;
  const text = Buffer.from(JSON.parse(data.toString('utf8')) as string);
  return isJson(text, 0, text.length) ? text : data;
}

function isOptionalText(value: unknown): value is string | null | undefined {
  return value === undefined || value === null || typeof value === 'string';
}

function objectIn(text: string): Members | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members) : undefined;
  } catch {
    return undefined;
  }
}
