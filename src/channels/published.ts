/**
 * Parses published messages. In the WAL (prefix `sno.publish`, written by the SQL function
 * sno.publish), a message is `channel LF event LF data`. The data is JSON text and is not parsed.
 * If one client must not receive it, `TAB socket` follows the channel. With pg_notify, a message is
 * a JSON object.
 */
import { isJson, memberText } from '../json.ts';

export interface Published {
  readonly channel: string;
  readonly event: string;
  /** The socket id of the Pusher client that does not receive it. Undefined: all clients do. */
  readonly except: string | undefined;
  /** The data's start in the buffer; it ends at the message's end. */
  readonly start: number;
}

const LF = 0x0a;
const TAB = '\t';
const EVENT_BYTES_MAX = 255;
const CHANNEL_BYTES_MAX = 1_024;
const SOCKET_ID_BYTES_MAX = 41;
/** Maximum bytes before the event: the channel, and the socket id behind a TAB. */
const HEAD_BYTES_MAX = CHANNEL_BYTES_MAX + 1 + SOCKET_ID_BYTES_MAX;
/** As in sno.publish. */
const SOCKET_ID = /^\d{1,20}\.\d{1,20}$/;
const CHANNEL = /^[A-Za-z0-9_.:/~%-]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\u0000-\u001f\u007f]/;

/** Whether a text can be the name of a message's event. */
export function isEventName(event: string): boolean {
  return event !== '' && !CONTROL.test(event) && Buffer.byteLength(event) <= EVENT_BYTES_MAX;
}

/** Whether a text can be a Pusher client's socket id. */
export function isSocketId(text: string): boolean {
  return SOCKET_ID.test(text);
}

/** Parses `buffer[start, end)`; undefined if malformed. */
export function parsePublished(buffer: Buffer, start: number, end: number): Published | undefined {
  const channelEnd = buffer.indexOf(LF, start);
  if (channelEnd === -1 || channelEnd >= end || channelEnd - start > HEAD_BYTES_MAX) return undefined;
  const eventEnd = buffer.indexOf(LF, channelEnd + 1);
  if (eventEnd === -1 || eventEnd >= end || eventEnd - channelEnd - 1 > EVENT_BYTES_MAX) return undefined;
  const head = buffer.toString('latin1', start, channelEnd);
  const tab = head.indexOf(TAB);
  const channel = tab === -1 ? head : head.slice(0, tab);
  const except = tab === -1 ? undefined : head.slice(tab + 1);
  const event = buffer.toString('utf8', channelEnd + 1, eventEnd);
  if (channel.length > CHANNEL_BYTES_MAX || !CHANNEL.test(channel)) return undefined;
  if (except !== undefined && !isSocketId(except)) return undefined;
  if (event === '' || CONTROL.test(event) || !isJson(buffer, eventEnd + 1, end)) return undefined;
  return { channel, event, except, start: eventEnd + 1 };
}

const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/;
const TRACEPARENT_BYTES = 55;

/**
 * Parses a `sno.trace` message, which the SQL function sno.trace writes. Any role may write such a
 * message without the function, so it is checked again. Undefined if it is not a traceparent.
 */
export function parseTrace(buffer: Buffer, start: number, end: number): string | undefined {
  if (end - start !== TRACEPARENT_BYTES) return undefined;
  const text = buffer.toString('latin1', start, end);
  return TRACEPARENT.test(text) ? text : undefined;
}

export interface Notification {
  readonly channel: string;
  readonly event: string;
  /** JSON text. */
  readonly data: string;
}

/**
 * Parses a pg_notify payload, `{"channel":"room:7","event":"wave","data":{...}}`; undefined if
 * malformed.
 */
export function parseNotification(payload: string): Notification | undefined {
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { channel, event = 'message', data, ...rest } = value as Record<string, unknown>;
  if (Object.keys(rest).length > 0 || typeof channel !== 'string' || typeof event !== 'string') return undefined;
  if (channel.length > CHANNEL_BYTES_MAX || !CHANNEL.test(channel)) return undefined;
  if (!isEventName(event)) return undefined;
  // with the digits of the app: JavaScript would round some numbers
  const text = data === undefined ? 'null' : memberText(Buffer.from(payload), 'data')?.toString('utf8');
  return text === undefined ? undefined : { channel, event, data: text };
}
