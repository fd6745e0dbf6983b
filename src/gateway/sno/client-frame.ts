/** Validates frames from clients. */
import { SnoError } from '../../errors.ts';
import { memberText } from '../../json.ts';
import type { ClientFrame } from '../../protocol.ts';

type Member = 'string' | 'boolean' | 'presence';

/** A client's frame. The data of a send is its JSON text. */
export type ReceivedFrame = Exclude<ClientFrame, { type: 'send' }> | SendFrame;
export type SendFrame = Omit<Extract<ClientFrame, { type: 'send' }>, 'data'> & { readonly data: Buffer };

const NO_DATA = Buffer.from('null');

const IS: Readonly<Record<Member, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  presence: (value) => typeof value === 'boolean' || value === 'watch',
};
const WORDS: Readonly<Record<Member, string>> = {
  string: 'a string',
  boolean: 'a boolean',
  presence: 'true, false or "watch"',
};

/**
 * The members of each type of frame; `?` marks optional members. Members not listed here are
 * ignored, so that a later client can talk to this server.
 */
const MEMBERS: Readonly<Record<ClientFrame['type'], Readonly<Record<string, Member | `${Member}?`>>>> = {
  hello: { token: 'string?' },
  subscribe: { channel: 'string', snapshot: 'boolean?', since: 'string?', presence: 'presence?', old: 'boolean?' },
  unsubscribe: { channel: 'string' },
  token: { token: 'string' },
  send: { channel: 'string', event: 'string' },
  ping: { reached: 'string?' },
};

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
  if (typeof type !== 'string' || !Object.hasOwn(MEMBERS, type)) {
    return malformed(`the frame's type is unknown; the types are ${Object.keys(MEMBERS).join(', ')}`);
  }
  for (const [name, kind] of Object.entries(MEMBERS[type as ClientFrame['type']])) {
    const value = (frame as Record<string, unknown>)[name];
    const member = kind.replace('?', '') as Member;
    if (value === undefined ? !kind.endsWith('?') : !IS[member](value))
      return malformed(`${type}: ${name} must be ${WORDS[member]}`);
  }
  if (type !== 'send') return frame as ReceivedFrame;
  const hasData = Object.hasOwn(frame, 'data');
  const data = hasData ? memberText(payload, 'data') : NO_DATA;
  return data === undefined ? malformed('send: data is nested too deeply') : { ...(frame as SendFrame), data };
}

function malformed(message: string): SnoError {
  return new SnoError('malformed_frame', message);
}
