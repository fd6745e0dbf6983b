/** Validates frames from clients. */
import { SnoError } from '../../errors.ts';
import type { ClientFrame } from '../../protocol.ts';

type Member = 'string' | 'boolean';

/**
 * The members of each type of frame; `?` marks optional members. Members not listed here are
 * ignored, so that a later client can talk to this server.
 */
const MEMBERS: Readonly<Record<ClientFrame['type'], Readonly<Record<string, Member | `${Member}?`>>>> = {
  hello: { token: 'string?' },
  subscribe: { channel: 'string', snapshot: 'boolean?', since: 'string?' },
  unsubscribe: { channel: 'string' },
  token: { token: 'string' },
  ping: { reached: 'string?' },
};

/**
 * Reads a text frame's payload. Returns a SnoError (`malformed_frame`) that says what is wrong with
 * an invalid one.
 */
export function readClientFrame(payload: Buffer): ClientFrame | SnoError {
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
    if (value === undefined ? !kind.endsWith('?') : typeof value !== kind.replace('?', '')) {
      return malformed(`${type}: ${name} must be a ${kind.replace('?', '')}`);
    }
  }
  return frame as ClientFrame;
}

function malformed(message: string): SnoError {
  return new SnoError('malformed_frame', message);
}
