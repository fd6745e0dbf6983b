/**
 * The ways in which a channel stops receiving: for good, until the client retries by itself, or
 * until there is a new token.
 */
import type { Failure } from '../error.ts';
import type { ClientResetReason, Ending, Subscription } from './machine.ts';
import type { Turn } from './turn.ts';

/** The initial values of everything that is held between frames. */
export const EMPTY_HANDED = {
  snapshot: [],
  snapshotWhole: false,
  early: [],
  parts: [],
  between: [],
} as const satisfies Partial<Subscription>;

/** Codes of temporary errors, which do not depend on the channel. */
const PASSING: ReadonlySet<string> = new Set(['try_again', 'overloaded', 'token_unverifiable']);

const TOKEN_EXPIRED: Failure = {
  code: 'token_expired',
  message: 'The token has expired, and the client has no way to get a new one.',
};

export const ENDINGS = {
  access_revoked: 'The access view no longer has a row for this channel and this token.',
  access_undeclared: 'The access view was dropped. The client joins the channel again once an access view allows it.',
  channel_dropped: 'The channel view was dropped. The client joins the channel again once the view exists.',
} as const;

/** The handles' state is void. Reports it to handles that hold state. */
export function voided(turn: Turn, known: Subscription, reason: ClientResetReason): Subscription {
  const { channel, held, position } = known;
  if (held === 'current' || position !== undefined) turn.deliver(channel, { kind: 'reset', reason });
  return { ...known, position: undefined, rows: false, held: held === 'nothing' ? 'nothing' : 'void' };
}

/** Subscribes again after a wait that grows. */
export function delay(turn: Turn, known: Subscription, slow = false): Subscription {
  const { channel, attempt } = known;
  turn.emit({ type: 'retry', timer: `channel:${channel}`, attempt, slow });
  return { ...known, ...EMPTY_HANDED, phase: 'delayed', attempt: attempt + 1 };
}

/**
 * The connection has as many subscriptions as the server allows. The client reports it, so that the
 * app may close others.
 */
function crowd(turn: Turn, known: Subscription, why: Failure): Subscription {
  if (known.attempt === 0) turn.emit({ type: 'error', failure: why, channel: known.channel });
  return { ...delay(turn, known, true), crowded: true };
}

/** The client ends, and every channel with it. */
export function finish(turn: Turn, known: Subscription, why: Failure): Subscription {
  cancelTimer(turn, known);
  return known.phase === 'ended' && known.ending?.isRetried !== true ? known : end(turn, known, 'closed', why);
}

/** Ends the channel without retries, until a new handle is opened. */
export function end(turn: Turn, known: Subscription, status: Ending['status'], why: Failure): Subscription {
  if (known.phase === 'live') turn.hasRoom = true;
  const ending = { status, failure: why, isRetried: false, rejects: true };
  return { ...known, ...EMPTY_HANDED, phase: 'ended', ending };
}

/**
 * Like `end`, but the client retries with growing waits: a migration may be in progress. `rejects`:
 * `ready` rejects meanwhile.
 */
export function suspend(
  turn: Turn,
  known: Subscription,
  status: Ending['status'],
  why: Failure,
  rejects = false,
): Subscription {
  const { channel, attempt } = known;
  turn.emit({ type: 'retry', timer: `channel:${channel}`, attempt, slow: true });
  const ending = { status, failure: why, isRetried: true, rejects };
  return { ...end(turn, known, status, why), attempt: attempt + 1, ending };
}

const NO_ACCESS: ReadonlySet<string> = new Set(['access_denied', 'access_revoked']);
/** A server's answers during a migration: the view is missing, or cannot be served. */
export const GONE: ReadonlySet<string> = new Set([
  'channel_unknown',
  'snapshot_unavailable',
  'channel_unavailable',
  'access_undeclared',
]);

/**
 * The server refused the subscribe. It is retried if the view is missing or refused, which a
 * migration may change, or if a handle waits for access.
 */
export function refuse(turn: Turn, known: Subscription, why: Failure): Subscription {
  const { ending, held, waitsForAccess } = known;
  if (PASSING.has(why.code)) return delay(turn, known);
  if (why.code === 'token_expired') return expire(turn, known);
  if (why.code === 'too_many_subscriptions') return crowd(turn, known, why);
  const isGone = GONE.has(why.code);
  if (isGone && held !== 'nothing') {
    const code = why.code === 'access_undeclared' ? why.code : 'channel_dropped';
    const gone = { code, message: `${ENDINGS[code]} The server says: ${why.message}` };
    return suspend(turn, voided(turn, known, 'channel_changed'), 'closed', gone);
  }
  if (!isGone && !(NO_ACCESS.has(why.code) && waitsForAccess)) return end(turn, known, 'error', why);
  // A name that no view matches may be mistyped, so `ready` rejects.
  const isAwaited = waitsForAccess || why.code === 'channel_unavailable' || ending?.rejects === false;
  return suspend(turn, known, 'error', why, !isAwaited);
}

/** The token has expired. */
export function expire(turn: Turn, known: Subscription): Subscription {
  if (turn.link.tokenSource !== 'callback') return end(turn, known, 'closed', TOKEN_EXPIRED);
  turn.wantsToken = true;
  return { ...known, ...EMPTY_HANDED, phase: 'unauthorized' };
}

/** Cancels the timer of a channel that waits for its next attempt. */
export function cancelTimer(turn: Turn, { channel, phase, ending }: Subscription): void {
  if (phase === 'delayed' || (phase === 'ended' && ending?.isRetried === true))
    turn.emit({ type: 'cancel', timer: `channel:${channel}` });
}
