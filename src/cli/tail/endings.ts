/**
 * Describes how a subscription or a connection ended: an error of the command line, and whether
 * another attempt may succeed.
 */
import type { Failure } from '../../client/error.ts';
import { checkOf, plainDetail } from '../../client/platform/platform-errors.ts';
import { GONE } from '../../client/state/endings.ts';
import { ERRORS, type ErrorCode, SnoError } from '../../errors.ts';
import type { ServerFrame } from '../../protocol.ts';

export interface Ending {
  readonly error: SnoError;
  /** Whether another subscription may succeed. */
  readonly again: boolean;
  /** Whether earlier positions are void: if the view is created again, it may have other rows. */
  readonly isVoid: boolean;
}

const UNSUBSCRIBED = {
  access_revoked: 'access_denied',
  token_expired: 'token_expired',
  channel_dropped: 'channel_unknown',
  client: 'not_subscribed',
} as const;

/** Returns how the frame ends its subscription. Undefined: the subscription continues. */
export function endingOf(frame: ServerFrame, wasJoined: boolean): Ending | undefined {
  if (frame.type === 'unsubscribed') {
    const { code, undeclared = false } = frame;
    const isVoid = code === 'channel_dropped' || undeclared;
    // An expired token may be followed by a fresh one, if it is signed here.
    const again = isVoid || code === 'token_expired';
    return { again, isVoid, error: new SnoError(UNSUBSCRIBED[code], `unsubscribed: ${code}`) };
  }
  if (frame.type !== 'error' || frame.channel === undefined) return undefined;
  return { error: serverError(frame), again: mayPass(frame.code, wasJoined), isVoid: false };
}

/** Temporary: errors of the server, and the ways in which the client loses a connection. */
const RETRIED: ReadonlySet<string> = new Set([
  'try_again',
  'overloaded',
  'too_many_requests',
  'channel_unavailable',
  'connection_lost',
  'connection_silent',
  'protocol_violation',
]);

/**
 * Whether another attempt may succeed. A server that was reached before may be restarting, and a
 * channel that was joined before may be in the middle of a migration.
 */
export function mayPass(code: string, wasJoined: boolean): boolean {
  return RETRIED.has(code) || (wasJoined && (code === 'connect_failed' || GONE.has(code)));
}

/** Converts an error of the client. `why`: the websocket's own error. */
export function errorOf({ code, message }: Failure, why: SnoError | undefined): SnoError {
  if (Object.hasOwn(ERRORS, code)) return serverError({ code, message });
  // Before the token is sent, the client checks its form.
  if (code === 'token_callback_failed') return new SnoError('token_invalid', message.replace(/^.*?Error: /, ''));
  return why ?? new SnoError('server_unreachable', message.replace(/\.$/, ''));
}

/** Converts an error of the server, whose message ends with the hint, which is shown apart. */
function serverError({ code, message }: Failure): SnoError {
  if (!Object.hasOwn(ERRORS, code)) return new SnoError('server_unreachable', `${code}: ${message}`);
  const known = code as ErrorCode;
  const told = message.replace(`. ${ERRORS[known].hint}`, '');
  // The command tries again, so the hint would not be shown.
  return new SnoError(
    known,
    known === 'channel_unavailable' && !told.includes('dropped') ? `${told}: \`sno check\` shows why` : told,
  );
}

export function unreachable(url: string, error: NodeJS.ErrnoException): SnoError {
  const detail = error.message || String(error.code);
  const { hint } = ERRORS.server_unreachable;
  const check = checkOf(detail);
  return new SnoError('server_unreachable', `cannot connect to ${url}: ${plainDetail(detail)}`, {
    hint: check === undefined ? hint : `${check} ${hint}`,
    cause: error,
  });
}
