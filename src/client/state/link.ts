/** The transitions of the connection: token, socket, hello, and what to do when it ends. */
import { CLOSE, type ErrorFrame } from '../../protocol.ts';
import { type Failure, failure } from '../error.ts';
import { ABNORMAL_CLOSURE } from '../platform/socket.ts';
import { finish } from './endings.ts';
import type { Happening, Link, TokenSource } from './machine.ts';
import { interrupt, join, reauthorize } from './subscription.ts';
import type { Turn } from './turn.ts';

/** How long the token callback, the opening of the socket, and the welcome may each take, in ms. */
const STEP_TIMEOUT_MS = 20_000;
/** Silence after which the connection counts as dead, in heartbeat intervals. */
const SILENCE_HEARTBEATS = 2.5;
const PATIENCE_MAX = 16;
/** How long a server may take to answer the ping that checks the connection, in ms. */
const PROBE_MS = 5_000;
const NORMAL_CLOSURE = 1000;

export function newLink(tokenSource: TokenSource): Link {
  return {
    phase: 'idle',
    tokenSource,
    attempt: 0,
    heartbeatMs: 0,
    patience: 1,
    token: undefined,
    tokenAttempt: 0,
    asking: false,
    probing: false,
    failure: undefined,
  };
}

export function authorize(turn: Turn): void {
  turn.link = { ...turn.link, phase: 'authorizing' };
  turn.emit({ type: 'askToken' });
  watch(turn);
}

/** The token callback has answered. */
export function takeToken(turn: Turn, token: string | undefined, refreshMs: number | undefined): void {
  const { link } = turn;
  const isRenewal = link.asking && turn.isGreeted();
  if (!isRenewal && link.phase !== 'authorizing') return;
  if (refreshMs !== undefined) turn.emit({ type: 'schedule', timer: 'refresh', ms: refreshMs });
  if (isRenewal) takeRenewal(turn, token);
  else {
    turn.link = { ...link, phase: 'opening', token, tokenAttempt: 0 };
    turn.emit({ type: 'open' });
    watch(turn);
  }
}

function takeRenewal(turn: Turn, token: string | undefined): void {
  const { link } = turn;
  const isNew = token !== undefined && token !== link.token;
  turn.link = { ...link, asking: false, ...(isNew && { token, tokenAttempt: 0 }) };
  if (isNew) turn.send({ type: 'token', token });
  turn.each((known) => reauthorize(turn, known, isNew));
}

/** The token callback failed. `isFinal`: the app says that there will be no token. */
export function missToken(turn: Turn, message: string, isFinal: boolean): void {
  const { link } = turn;
  const why = failure(link.tokenSource === 'fixed' ? 'token_invalid' : 'token_callback_failed', message);
  if (isFinal) stop(turn, why);
  else if (link.phase === 'authorizing') lose(turn, why, false);
  else if (link.asking) {
    turn.link = { ...link, asking: false };
    turn.emit({ type: 'error', failure: why, channel: undefined });
    renewToken(turn);
  }
}

/** Asks for a new token on an open connection: the first time at once, then after growing waits. */
export function renewToken(turn: Turn): void {
  const { tokenAttempt: attempt, tokenSource, asking } = turn.link;
  if (attempt === 0) askInBand(turn);
  else if (tokenSource === 'callback' && !asking) turn.emit({ type: 'retry', timer: 'refresh', attempt, slow: false });
}

export function askInBand(turn: Turn): void {
  const { link } = turn;
  if (link.tokenSource !== 'callback' || link.asking || !turn.isGreeted()) return;
  turn.link = { ...link, asking: true, tokenAttempt: link.tokenAttempt + 1 };
  turn.emit({ type: 'askToken' });
}

/** The socket is open: sends hello and all subscribes without waiting for the welcome. */
export function greet(turn: Turn): void {
  const { token } = turn.link;
  turn.link = { ...turn.link, phase: 'greeting', failure: undefined };
  turn.send({ type: 'hello', ...(token === undefined ? {} : { token }) });
  turn.each((known) => (known.phase === 'waiting' ? join(turn, known) : known));
  watch(turn);
}

export function welcome(turn: Turn, heartbeatSeconds: number): void {
  turn.link = { ...turn.link, phase: 'open', heartbeatMs: heartbeatSeconds * 1_000 };
}

/** The connection received a heartbeat, so it works: backoffs start small again. */
export function prove(turn: Turn): void {
  turn.link = { ...turn.link, attempt: 0, patience: 1 };
}

/** Notes an error without a channel: it may explain the close that follows. */
export function complain(turn: Turn, { code, message }: ErrorFrame): void {
  turn.link = { ...turn.link, failure: { code, message } };
  turn.emit({ type: 'error', failure: { code, message }, channel: undefined });
  if (code === 'token_expired') renewToken(turn);
}

type Lost = Extract<Happening, { readonly type: 'lost' }>;
type Policy = 'retry' | 'slow' | 'token' | 'stop';

/** What to do after a close code; any other is retried. */
const POLICIES: Readonly<Record<number, Policy>> = {
  [CLOSE.draining]: 'retry',
  [CLOSE.overloaded]: 'slow',
  [CLOSE.malformed]: 'stop',
  [CLOSE.tokenRefused]: 'token',
  [CLOSE.noHello]: 'retry',
  [CLOSE.frameTooLarge]: 'stop',
  [CLOSE.tooManyRequests]: 'slow',
};

const REFUSED = failure('token_refused', 'The server refused the token.');

/** The socket closed. */
export function lost(turn: Turn, { code, reason, hint, isTooLarge }: Lost): void {
  const { phase } = turn.link;
  // Before hello is sent, the failure is that of an earlier attempt.
  const complaint = turn.isGreeted() ? turn.link.failure : undefined;
  const policy = isTooLarge ? 'slow' : (POLICIES[code] ?? 'retry');
  const ended =
    phase === 'opening' && code === ABNORMAL_CLOSURE
      ? failure('connect_failed', hint)
      : failure('connection_lost', `The connection ended with code ${code}${reason && ` (${reason})`}. ${hint}`.trim());
  if (policy === 'token') refused(turn, complaint ?? REFUSED);
  else if (policy === 'stop') stop(turn, complaint ?? ended);
  else lose(turn, complaint ?? ended, policy === 'slow');
}

function refused(turn: Turn, why: Failure): void {
  const { link } = turn;
  // The server could not check the token: that says nothing about it.
  const isUnverifiable = why.code === 'token_unverifiable';
  // A callback may have a better token later: its endpoint may be down, or a clock wrong.
  if (isUnverifiable || link.tokenSource === 'callback') lose(turn, why, isUnverifiable);
  else stop(turn, why);
}

/** Drops the connection, and reconnects later. */
export function lose(turn: Turn, why: Failure, slow: boolean): void {
  const { attempt } = turn.link;
  disconnect(turn, why);
  turn.link = { ...turn.link, phase: 'waiting', attempt: attempt + 1 };
  turn.each((known) => interrupt(turn, known));
  turn.emit({ type: 'retry', timer: 'reconnect', attempt, slow });
}

/** Ends the client, for good. */
export function stop(turn: Turn, why: Failure): void {
  disconnect(turn, why);
  turn.link = { ...turn.link, phase: 'closed' };
  turn.each((known) => finish(turn, known, why));
}

function disconnect(turn: Turn, why: Failure): void {
  turn.link = { ...turn.link, asking: false, probing: false, failure: why };
  for (const timer of ['watchdog', 'refresh', 'reconnect'] as const) turn.emit({ type: 'cancel', timer });
  turn.emit({ type: 'drop', code: NORMAL_CLOSURE });
}

/** Nothing was received for too long. */
export function expire(turn: Turn): void {
  const { phase, patience, probing } = turn.link;
  if (!probing || phase !== 'open') turn.link = { ...turn.link, patience: Math.min(patience * 2, PATIENCE_MAX) };
  lose(turn, failure('connection_silent', `The server sent nothing in time (${phase}).`), false);
}

export function reconnect(turn: Turn): void {
  if (turn.link.phase === 'waiting') authorize(turn);
}

/**
 * The network may have changed, or the page or the machine slept. So a wait ends at once, and an
 * open connection must answer a ping within PROBE_MS. A socket that is being opened has the same
 * time. Timers stop during a sleep, so a token that is due is renewed here.
 */
export function wake(turn: Turn, isTokenDue: boolean): void {
  const { phase, probing, patience } = turn.link;
  if (phase === 'waiting') {
    turn.emit({ type: 'cancel', timer: 'reconnect' });
    reconnect(turn);
    return;
  }
  if (isTokenDue && phase === 'opening') {
    // Hello would send the old token.
    turn.emit({ type: 'drop', code: NORMAL_CLOSURE });
    authorize(turn);
    return;
  }
  if (!probing && (phase === 'open' || phase === 'opening' || phase === 'greeting')) {
    turn.link = { ...turn.link, probing: true };
    if (phase === 'open') turn.send({ type: 'ping' });
    turn.emit({ type: 'schedule', timer: 'watchdog', ms: PROBE_MS * patience });
  }
  if (isTokenDue) askInBand(turn);
}

/** Restarts the watchdog: a frame arrived, or the client waits for something new. */
export function watch(turn: Turn): void {
  if (turn.link.probing) turn.link = { ...turn.link, probing: false };
  const { phase, heartbeatMs, patience } = turn.link;
  const ms = phase === 'open' ? heartbeatMs * SILENCE_HEARTBEATS : STEP_TIMEOUT_MS;
  // A server without heartbeats may be silent for any time.
  if (ms === 0) turn.emit({ type: 'cancel', timer: 'watchdog' });
  else turn.emit({ type: 'schedule', timer: 'watchdog', ms: ms * patience });
}
