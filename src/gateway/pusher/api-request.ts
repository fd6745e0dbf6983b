/** Requests of Pusher's server libraries: their signature, and what they publish. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isSocketId } from '../../channels/published.ts';
import { SnoError } from '../../errors.ts';
import type { Publication } from '../../postgres/publisher.ts';
import type { PusherApp } from './app.ts';
import { isReserved } from './encoding.ts';
import { parseName } from './names.ts';

/** How far a request's time may be from the server's, in seconds. */
const CLOCK_SECONDS = 600;
/** Maximum messages of one request. */
const MESSAGES_MAX = 1_000;
const EVENT_BYTES_MAX = 255;
/** A body without this text asks for no counts, and need not be parsed again. */
const INFO = '"info"';
// biome-ignore lint/suspicious/noControlCharactersInRegex: sno.publish refuses them
const CONTROL = /[\u0000-\u001f\u007f]/;

export interface SignedRequest {
  readonly method: string;
  readonly url: string;
}

/**
 * Checks everything that is signed except the body, so that bodies of other senders are not read.
 * Undefined: the app's server has sent the request, and its body must have the hash `body_md5`.
 */
export function signatureProblem({ method, url }: SignedRequest, app: PusherApp, now: number): SnoError | undefined {
  const [path = '', query = ''] = url.split('?', 2);
  const pairs = query.split('&').filter((pair) => pair !== '');
  const signed = pairs.filter((pair) => !pair.startsWith('auth_signature='));
  const parameters = parametersOf(url);
  if (parameters.size !== pairs.length) return invalid('a parameter is in the URL twice');
  if (parameters.get('auth_key') !== app.key) return invalid('auth_key is not SNO_PUSHER_KEY');
  if (parameters.get('auth_version') !== '1.0') return invalid('auth_version is not 1.0');
  const signature = parameters.get('auth_signature') ?? '';
  // Some libraries sign the values as they send them, others before they encode them.
  const texts = [signed, signed.map(decoded)].map((list) => `${method}\n${path}\n${[...list].sort(byKey).join('&')}`);
  if (!texts.some((text) => app.hasSigned(text, signature))) return invalid('the signature is wrong');
  const time = Number(parameters.get('auth_timestamp'));
  if (!(Math.abs(now / 1_000 - time) <= CLOCK_SECONDS))
    return invalid(`auth_timestamp is more than ${CLOCK_SECONDS} seconds from the server's time`);
  return undefined;
}

/** Whether the body is the one that was signed. */
export function isSignedBody(url: string, body: Buffer): boolean {
  const given = Buffer.from(parametersOf(url).get('body_md5') ?? '', 'hex');
  const made = createHash('md5').update(body).digest();
  return given.length === made.length && timingSafeEqual(given, made);
}

/** What a request to `/events` publishes. */
export function publicationsOf(body: Buffer): readonly Publication[] | SnoError {
  const event = objectIn(body);
  if (event === undefined) return malformed('the body is not a JSON object');
  const { channel, channels = channel === undefined ? [] : [channel] } = event;
  if (!Array.isArray(channels) || channels.length === 0) return malformed('channels must be a list of names');
  const made = publications(channels.map((each: unknown) => ({ ...event, channel: each })));
  if (made instanceof SnoError) return made;
  // A channel that is named with several prefixes receives the event once.
  return [...new Map(made.map((publication) => [publication.channel, publication])).values()];
}

/** What a request to `/batch_events` publishes. */
export function batchOf(body: Buffer): readonly Publication[] | SnoError {
  const batch = objectIn(body)?.['batch'];
  if (!Array.isArray(batch) || batch.length === 0) return malformed('batch must be a list of events');
  return publications(batch as unknown[]);
}

/** A channel about which a request to publish asks for counts. */
export interface Asked {
  readonly channel: string;
  /** Names with commas between them. */
  readonly info: string;
}

/** The channels that a valid request to `/events` asks about; undefined if it asks for nothing. */
export function askedOf(body: Buffer): readonly Asked[] | undefined {
  if (!body.includes(INFO)) return undefined;
  const { info, channel, channels = [channel] } = objectIn(body) ?? {};
  return typeof info === 'string' ? (channels as string[]).map((each) => ({ channel: each, info })) : undefined;
}

/** The same for `/batch_events`: one for each of its events. */
export function askedOfBatch(body: Buffer): readonly Asked[] | undefined {
  if (!body.includes(INFO)) return undefined;
  const batch = objectIn(body)?.['batch'] as { readonly channel: string; readonly info?: unknown }[];
  if (!batch.some(({ info }) => typeof info === 'string')) return undefined;
  return batch.map(({ channel, info }) => ({ channel, info: typeof info === 'string' ? info : '' }));
}

function publications(events: readonly unknown[]): readonly Publication[] | SnoError {
  if (events.length > MESSAGES_MAX) return malformed(`a request may publish at most ${MESSAGES_MAX} events`);
  const made: Publication[] = [];
  for (const event of events) {
    const publication = publicationOf(event);
    if (publication instanceof SnoError) return publication;
    made.push(publication);
  }
  return made;
}

function publicationOf(value: unknown): Publication | SnoError {
  const { channel, name: event, data, socket_id: socketId } = (value ?? {}) as Record<string, unknown>;
  const name = typeof channel === 'string' ? parseName(channel) : undefined;
  if (name === undefined) return malformed('channel must be the name of a channel that is not encrypted');
  if (typeof event !== 'string' || event === '' || Buffer.byteLength(event) > EVENT_BYTES_MAX || CONTROL.test(event))
    return malformed(`name must be text of 1 to ${EVENT_BYTES_MAX} bytes without control characters`);
  if (isReserved(event)) return malformed('name must not begin with pusher: or pusher_internal:');
  // Libraries send null, or an empty text, if the app gives them no id.
  const except = socketId === null || socketId === '' ? undefined : socketId;
  if (except !== undefined && !(typeof except === 'string' && isSocketId(except)))
    return malformed('socket_id must be the id of a connection');
  return { channel: name.channel, event, data: jsonOf(data), except };
}

/** The data as JSON text. Libraries send text, which need not be JSON. */
function jsonOf(data: unknown): string {
  if (typeof data !== 'string') return JSON.stringify(data ?? null);
  try {
    JSON.parse(data);
    return data;
  } catch {
    return JSON.stringify(data);
  }
}

function parametersOf(url: string): Map<string, string> {
  const pairs = (url.split('?', 2)[1] ?? '').split('&').map((pair) => {
    const at = pair.indexOf('=');
    return [decoded(pair.slice(0, Math.max(0, at))), decoded(pair.slice(at + 1))] as const;
  });
  return new Map(pairs);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function byKey(one: string, other: string): number {
  const [a, b] = [one, other].map((pair) => pair.slice(0, pair.indexOf('=')).toLowerCase()) as [string, string];
  return a < b ? -1 : a > b ? 1 : 0;
}

function objectIn(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function malformed(message: string): SnoError {
  return new SnoError('pusher_request_invalid', message);
}

function invalid(message: string): SnoError {
  return new SnoError('signature_invalid', message);
}
