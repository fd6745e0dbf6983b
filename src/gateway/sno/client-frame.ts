/** Validates frames from clients. */
import { SnoError } from '../../errors.ts';
import { memberText } from '../../json.ts';
import type { ClientFrame } from '../../protocol.ts';

type Kind = 'string' | 'boolean' | 'presence';

/** A client's frame. The data of a send is its JSON text. */
export type ReceivedFrame = Exclude<ClientFrame, { type: 'send' }> | SendFrame;
export type SendFrame = Omit<Extract<ClientFrame, { type: 'send' }>, 'data'> & { readonly data: Buffer };

const NO_DATA = Buffer.from('null');

const IS: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  presence: (value) => typeof value === 'boolean' || value === 'watch',
};
const WORDS: Readonly<Record<Kind, string>> = {
  string: 'a string',
  boolean: 'a boolean',
  presence: 'true, false or "watch"',
};

/**
 * The members of each type of frame; `?` marks optional members. Members not listed here are
 * ignored, so that a later client can talk to this server.
 */
const MEMBERS: Readonly<Record<ClientFrame['type'], Readonly<Record<string, Kind | `${Kind}?`>>>> = {
  hello: { token: 'string?' },
  subscribe: { channel: 'string', snapshot: 'boolean?', since: 'string?', presence: 'presence?', old: 'boolean?' },
  unsubscribe: { channel: 'string' },
  token: { token: 'string' },
  send: { channel: 'string', event: 'string' },
  ping: { reached: 'string?' },
};

/** A member of a type of frames. */
interface Member {
  readonly name: string;
  readonly isOptional: boolean;
  readonly is: (value: unknown) => boolean;
  readonly words: string;
}

const MEMBERS_OF: ReadonlyMap<string, readonly Member[]> = new Map(
  Object.entries(MEMBERS).map(([type, members]) => [
    type,
    Object.entries(members).map(([name, written]) => {
      const kind = written.replace('?', '') as Kind;
      return { name, isOptional: kind !== written, is: IS[kind], words: WORDS[kind] };
    }),
  ]),
);

/**
 * Reads a text frame's payload. Returns a SnoError (`malformed_frame`) that says what is wrong with
 * an invalid one.
 */
export function readClientFrame(payload: Buffer): ReceivedFrame | SnoError {
  let frame: unknown;
  try {
    frame = JSON.parse(payload.toString('utf8'));
  } catch {
    return malformed('the frame is not JSON');
  }
  if (typeof frame !== 'object' || frame === null || Array.isArray(frame))
    return malformed('the frame is not a JSON object');
  const { type } = frame as { type?: unknown };
  const members = typeof type === 'string' ? MEMBERS_OF.get(type) : undefined;
  if (members === undefined)
    return malformed(`the frame's type is unknown; the types are ${Object.keys(MEMBERS).join(', ')}`);
  for (const { name, isOptional, is, words } of members) {
    const value = (frame as Record<string, unknown>)[name];
    if (value === undefined ? !isOptional : !is(value)) return malformed(`${type}: ${name} must be ${words}`);
  }
  if (type !== 'send') return frame as ReceivedFrame;
  const hasData = Object.hasOwn(frame, 'data');
  const data = hasData ? memberText(payload, 'data') : NO_DATA;
  return data === undefined ? malformed('send: data is nested too deeply') : { ...(frame as SendFrame), data };
}

function malformed(message: string): SnoError {
  return new SnoError('malformed_frame', message);
}
