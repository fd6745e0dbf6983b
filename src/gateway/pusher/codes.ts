/**
 * The codes of Pusher's protocol 7, as close codes and in `pusher:error`. Clients act by the range:
 * at 4000 to 4099 they do not reconnect, at 4100 to 4199 they reconnect after a second, and at 4200
 * to 4299 at once.
 */
import type { ErrorCode } from '../../errors.ts';

export const CODE = {
  appUnknown: 4001,
  versionInvalid: 4006,
  versionUnsupported: 4007,
  versionMissing: 4008,
  unauthorized: 4009,
  /** The server is full, starts, or cannot serve the client now. */
  overCapacity: 4100,
  /** The client sends too much. */
  tooManyFrames: 4101,
  draining: 4110,
  /** An error that a new connection may not have. */
  reconnect: 4200,
  tokenExpired: 4210,
  invalidEvent: 4301,
  malformed: 4400,
  frameTooLarge: 4413,
} as const;
export type PusherCode = (typeof CODE)[keyof typeof CODE];

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  token_invalid: 401,
  token_expired: 401,
  access_denied: 403,
  access_undeclared: 403,
  presence_denied: 403,
  presence_undeclared: 403,
  channel_unknown: 404,
  too_many_subscriptions: 429,
  channel_unavailable: 503,
  token_unverifiable: 503,
  try_again: 503,
  signature_invalid: 401,
};

/** The HTTP status of a refused subscription or request. */
export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? 400;
}

/** The data of `pusher:subscription_error`. */
export function subscriptionError(code: ErrorCode, error: string): object {
  return { type: 'AuthError', error, status: statusOf(code), code };
}
