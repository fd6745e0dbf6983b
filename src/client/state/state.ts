/**
 * The client as a pure state machine: no socket, no clock, no randomness. `step` takes a happening,
 * and returns the next state and the effects to run, in order. Its table and invariants:
 * docs/client-states.md.
 */
import type { ServerFrame } from '../../protocol.ts';
import { failure } from '../error.ts';
import {
  askInBand,
  authorize,
  complain,
  expire,
  greet,
  lose,
  lost,
  missToken,
  newLink,
  prove,
  reconnect,
  renewToken,
  stop,
  takeToken,
  wake,
  watch,
  welcome,
} from './link.ts';
import type { Effect, Happening, State, Timer, TokenSource } from './machine.ts';
import { acquire, admit, advance, type ChannelFrame, join, reach, receive, rejoin, release } from './subscription.ts';
import { Turn } from './turn.ts';

export function initialState(tokenSource: TokenSource): State {
  return { link: newLink(tokenSource), subscriptions: new Map() };
}

export function step(state: State, happening: Happening): readonly [State, readonly Effect[]] {
  // A closed client handles only the release of its handles.
  if (state.link.phase === 'closed' && happening.type !== 'release') return [state, []];
  const turn = new Turn(state);
  HANDLERS[happening.type](turn, happening as never);
  if (turn.broken !== undefined) lose(turn, failure('protocol_violation', turn.broken), false);
  if (turn.wantsToken) renewToken(turn);
  if (turn.hasRoom) admit(turn);
  return [turn.end(), turn.effects];
}

const HANDLERS: {
  readonly [Type in Happening['type']]: (turn: Turn, happening: Extract<Happening, { readonly type: Type }>) => void;
} = {
  start: authorize,
  token: (turn, { token, refreshMs }) => takeToken(turn, token, refreshMs),
  tokenFailed: (turn, { message, isFinal }) => missToken(turn, message, isFinal),
  opened: greet,
  frame: (turn, { frame }) => hear(turn, frame),
  unopenable: (turn, { message }) => stop(turn, failure('websocket_refused', message)),
  garbled(turn, { message }) {
    turn.broken = message;
  },
  lost,
  timer: (turn, { timer }) => ring(turn, timer),
  wake: (turn, { isTokenDue = false }) => wake(turn, isTokenDue),
  acquire(turn, { channel, want, since, waitsForAccess = false, old = false }) {
    turn.put(channel, acquire(turn, channel, turn.get(channel), { want, since, waitsForAccess, old }));
  },
  release(turn, { channel, want }) {
    const known = turn.get(channel);
    if (known !== undefined) turn.put(channel, release(turn, known, want));
  },
  rejoin(turn, { channel }) {
    const known = turn.get(channel);
    if (known !== undefined) turn.put(channel, rejoin(turn, known));
  },
  close: (turn) => stop(turn, failure('closed', 'The client was closed.')),
};

function hear(turn: Turn, frame: ServerFrame): void {
  const isComplaint = frame.type === 'error' && frame.channel === undefined;
  if (!isComplaint) turn.excuse();
  if (frame.type === 'welcome') welcome(turn, frame.heartbeat_s);
  else if (frame.type === 'heartbeat') {
    prove(turn);
    turn.each((known) => advance(turn, known, frame.position));
    const { reached } = frame;
    if (reached !== undefined) turn.each((known) => reach(turn, known, reached));
  } else if (isComplaint) complain(turn, frame);
  else if (frame.channel !== undefined) {
    turn.put(frame.channel, receive(turn, turn.get(frame.channel), frame as ChannelFrame));
  }
  watch(turn);
}

const CHANNEL_TIMER = 'channel:';

function ring(turn: Turn, timer: Timer): void {
  if (timer === 'watchdog') expire(turn);
  else if (timer === 'reconnect') reconnect(turn);
  else if (timer === 'refresh') askInBand(turn);
  else {
    const known = turn.get(timer.slice(CHANNEL_TIMER.length));
    if (known?.phase === 'delayed' || known?.phase === 'ended') turn.put(known.channel, join(turn, known));
  }
}
