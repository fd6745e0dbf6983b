/**
 * The transitions of one channel: each takes what is known and returns what is known next, or nothing where the channel
 * is to be forgotten. What a channel receives is delivered only at points where it is whole: at `subscribed`, then commit
 * by commit, message by message.
 */
import type {
  ChangesFrame,
  ErrorFrame,
  MessageFrame,
  ResetFrame,
  SnapshotFrame,
  SubscribedFrame,
  UnsubscribedFrame,
} from '../protocol.ts';
import type { Failure } from './error.ts';
import { toCommit, toMessage } from './event.ts';
import type { ClientResetReason, Item, Subscription, Want } from './machine.ts';
import type { Turn } from './turn.ts';

/** What is held in memory between frames, when nothing is. */
const EMPTY_HANDED = {
  snapshot: [],
  snapshotWhole: false,
  early: [],
  parts: [],
  between: [],
} as const satisfies Partial<Subscription>;

const FRESH: Omit<Subscription, 'channel'> = {
  phase: 'waiting',
  wants: { events: 0, snapshot: 0, rows: 0 },
  position: undefined,
  rows: false,
  held: 'nothing',
  attempt: 0,
  suspect: false,
  asked: 'now',
  ending: undefined,
  awaited: [],
  ...EMPTY_HANDED,
};

/** Codes of `error` that say nothing about the channel itself. */
const PASSING: ReadonlySet<string> = new Set(['try_again', 'overloaded', 'token_unverifiable']);

const handlesOf = ({ wants }: Subscription): number => wants.events + wants.snapshot + wants.rows;
const isReceiving = ({ phase }: Subscription): boolean => phase === 'joining' || phase === 'live';

type Next = Subscription | undefined;

/** A handle was opened. `since` is heeded for the first one of a channel only. */
export function acquire(turn: Turn, channel: string, known: Next, want: Want, since: string | undefined): Next {
  const base = known === undefined || handlesOf(known) === 0 ? { ...FRESH, ...known, channel, position: since } : known;
  const next = { ...base, wants: { ...base.wants, [want]: base.wants[want] + 1 } };
  if (known === undefined || known.phase === 'ended') return join(turn, { ...next, ending: undefined, attempt: 0 });
  const needsSnapshot = want === 'snapshot' || (want === 'rows' && !known.rows);
  const getsSnapshot = known.phase === 'joining' && known.asked === 'snapshot';
  if (!needsSnapshot || getsSnapshot) return next;
  // The snapshot may lie after commits that the other handles have not seen: what they hold is void.
  const restarted = voided(turn, next, 'snapshot_requested');
  return isReceiving(known) ? leave(turn, restarted) : restarted;
}

/** A handle was closed. */
export function release(turn: Turn, known: Subscription, want: Want): Next {
  const wants = { ...known.wants, [want]: known.wants[want] - 1 };
  const next = { ...known, wants, rows: known.rows && wants.rows > 0 };
  if (handlesOf(next) > 0) return next;
  const gone = { ...FRESH, channel: known.channel };
  if (isReceiving(known)) return leave(turn, gone);
  if (known.phase === 'leaving') return { ...gone, phase: 'leaving' };
  cancelDelay(turn, known);
  return undefined;
}

/** Subscribes, or waits until that can be said. */
export function join(turn: Turn, known: Subscription): Subscription {
  const { channel, wants, rows, position: since } = known;
  if (!turn.isGreeted()) return { ...known, ...EMPTY_HANDED, phase: 'waiting' };
  const wantsSnapshot = (wants.rows > 0 && !rows) || (wants.snapshot > 0 && since === undefined);
  const asked = wantsSnapshot ? 'snapshot' : since === undefined ? 'now' : 'since';
  const from = wantsSnapshot ? { snapshot: true } : since === undefined ? {} : { since };
  turn.send({ type: 'subscribe', channel, ...from });
  return { ...known, ...EMPTY_HANDED, phase: 'joining', asked };
}

/** The connection is gone. */
export function interrupt(turn: Turn, known: Subscription): Next {
  if (known.phase === 'ended') return known;
  if (handlesOf(known) === 0) return undefined;
  cancelDelay(turn, known);
  return { ...known, ...EMPTY_HANDED, phase: 'waiting' };
}

/** It will not be tried again, unless a new handle is opened. */
export function end(turn: Turn, known: Subscription, status: 'error' | 'closed', why: Failure): Subscription {
  cancelDelay(turn, known);
  return { ...known, ...EMPTY_HANDED, awaited: [], phase: 'ended', ending: { status, failure: why } };
}

/** Every live channel is complete up to `position`; one in the middle of a commit is not. */
export function advance(known: Subscription, position: string): Subscription {
  return known.phase === 'live' && known.parts.length === 0 ? { ...known, position, attempt: 0 } : known;
}

/** A handle waits for a commit. The server is asked where the channel is live, and each time that it becomes live. */
export function awaitCommit(turn: Turn, known: Subscription, commit: string): Subscription {
  if (known.phase === 'ended') return known;
  if (known.phase === 'live') turn.send({ type: 'ping', reached: commit });
  return { ...known, awaited: [...known.awaited, commit] };
}

/** One wait less. */
export function forgetCommit(known: Subscription, commit: string): Subscription {
  const index = known.awaited.indexOf(commit);
  return index < 0 ? known : { ...known, awaited: known.awaited.filter((_, at) => at !== index) };
}

/** Every live channel includes the commit. */
export function reach(turn: Turn, known: Subscription, commit: string): Subscription {
  if (known.phase !== 'live' || !known.awaited.includes(commit)) return known;
  turn.deliver(known.channel, { kind: 'reached', commit });
  return { ...known, awaited: known.awaited.filter((other) => other !== commit) };
}

export type ChannelFrame =
  | SnapshotFrame
  | SubscribedFrame
  | ChangesFrame
  | MessageFrame
  | ResetFrame
  | UnsubscribedFrame
  | (ErrorFrame & { readonly channel: string });

/** A frame that names a channel. */
export function receive(turn: Turn, known: Next, frame: ChannelFrame): Next {
  const receiver = RECEIVERS[frame.type] as Receiver<ChannelFrame> | undefined;
  // A type that is not known here comes from a newer server.
  if (known !== undefined) return receiver === undefined ? known : receiver(turn, known, frame);
  // The server believes that this channel is wanted; nobody here does.
  return frame.type === 'subscribed' ? leave(turn, { ...FRESH, channel: frame.channel }) : undefined;
}

type Receiver<Frame> = (turn: Turn, known: Subscription, frame: Frame) => Next;

const RECEIVERS: {
  readonly [Type in ChannelFrame['type']]: Receiver<Extract<ChannelFrame, { readonly type: Type }>>;
} = {
  snapshot(turn, known, { rows, part, last }) {
    if (known.phase !== 'joining') return known;
    if (known.asked !== 'snapshot' || known.snapshotWhole || part !== known.snapshot.length + 1) {
      turn.broken = `part ${part} of the snapshot of ${known.channel} is out of order`;
    }
    return { ...known, snapshot: [...known.snapshot, rows], snapshotWhole: last };
  },

  subscribed(turn, known, { position, recovered = false }) {
    if (known.phase !== 'joining') return known;
    const { channel, parts, snapshot, early } = known;
    const isSnapshot = known.asked === 'snapshot';
    if (parts.length > 0 || isSnapshot !== known.snapshotWhole) {
      turn.broken = `${channel} was subscribed before its snapshot or a commit was whole`;
      return known;
    }
    const rows = isSnapshot ? snapshot.flat() : undefined;
    turn.deliver(channel, { kind: 'joined', rows, items: early, position, recovered });
    for (const reached of new Set(known.awaited)) turn.send({ type: 'ping', reached });
    return {
      ...known,
      phase: 'live',
      suspect: false,
      held: 'current',
      position,
      rows: known.rows || (isSnapshot && known.wants.rows > 0),
      snapshot: [],
      early: [],
    };
  },

  changes(turn, known, frame) {
    if (!isReceiving(known)) return known;
    if ((frame.part ?? 1) !== known.parts.length + 1) {
      turn.broken = `part ${frame.part} of a commit on ${known.channel} is out of order`;
      return known;
    }
    const parts = [...known.parts, frame] as const;
    if (frame.last === false) return { ...known, parts };
    const items = [...known.between, { kind: 'commit', commit: toCommit(parts) } as const];
    return accept(turn, { ...known, parts: [], between: [] }, items, frame.position);
  },

  message(turn, known, frame) {
    if (!isReceiving(known)) return known;
    const item = { kind: 'message', message: toMessage(frame) } as const;
    // Between the parts of a commit its position is none to resume from, so that it would come twice.
    if (known.parts.length > 0) return { ...known, between: [...known.between, item] };
    return accept(turn, known, [item], frame.position);
  },

  reset(turn, known, { reason }) {
    return isReceiving(known) ? delay(turn, voided(turn, known, reason)) : known;
  },

  unsubscribed(turn, known, { code }) {
    if (known.phase === 'leaving') return left(turn, known);
    if (!isReceiving(known)) return known;
    if (code === 'token_expired') return expire(turn, known);
    if (code === 'client') return delay(turn, known);
    return end(turn, known, 'closed', { code, message: ENDINGS[code] });
  },

  error(turn, known, { code, message }) {
    if (code === 'not_subscribed') return known.phase === 'leaving' ? left(turn, known) : known;
    if (known.phase !== 'joining') {
      turn.emit({ type: 'error', failure: { code, message }, channel: known.channel });
      return known;
    }
    if (PASSING.has(code)) return delay(turn, known);
    if (code === 'token_expired') return expire(turn, known);
    if (code === 'already_subscribed') return leave(turn, known);
    // A position that was good once: the server has become another.
    const isOutdated = code === 'position_invalid' && known.held === 'current';
    if (isOutdated) return delay(turn, voided(turn, known, 'position_too_old'));
    return end(turn, known, 'error', { code, message });
  },
};

const TOKEN_EXPIRED: Failure = {
  code: 'token_expired',
  message: 'The token has expired, and no new one is to be had.',
};

const ENDINGS = {
  access_revoked: 'The access view has no row for this channel and this token any more.',
  channel_dropped: 'The channel view was dropped.',
} as const;

/** Takes in whole items: at once when live, at `subscribed` otherwise. */
function accept(turn: Turn, known: Subscription, items: readonly Item[], position: string): Subscription {
  if (known.phase === 'joining') return { ...known, early: [...known.early, ...items] };
  for (const item of items) turn.deliver(known.channel, item);
  return { ...known, position };
}

/** What the handles hold is void; they are told where they hold anything. */
function voided(turn: Turn, known: Subscription, reason: ClientResetReason): Subscription {
  const { channel, held, position } = known;
  if (held === 'current' || position !== undefined) turn.deliver(channel, { kind: 'reset', reason });
  return { ...known, position: undefined, rows: false, held: held === 'nothing' ? 'nothing' : 'void' };
}

function leave(turn: Turn, known: Subscription): Subscription {
  turn.send({ type: 'unsubscribe', channel: known.channel });
  return { ...known, ...EMPTY_HANDED, phase: 'leaving' };
}

/** The server has answered the unsubscribe: what comes from here on belongs to a new subscription. */
function left(turn: Turn, known: Subscription): Next {
  return handlesOf(known) > 0 ? join(turn, known) : undefined;
}

function delay(turn: Turn, known: Subscription): Subscription {
  const { channel, attempt } = known;
  turn.emit({ type: 'retry', timer: `channel:${channel}`, attempt, slow: false });
  return { ...known, ...EMPTY_HANDED, phase: 'delayed', attempt: attempt + 1 };
}

function cancelDelay(turn: Turn, { channel, phase }: Subscription): void {
  if (phase === 'delayed') turn.emit({ type: 'cancel', timer: `channel:${channel}` });
}

function expire(turn: Turn, known: Subscription): Subscription {
  if (turn.link.tokenSource !== 'callback') return end(turn, known, 'closed', TOKEN_EXPIRED);
  turn.wantsToken = true;
  return { ...known, ...EMPTY_HANDED, phase: 'unauthorized' };
}

/** The callback has answered: with a new token, or with the one that the server has. */
export function reauthorize(turn: Turn, known: Subscription, isNew: boolean): Subscription {
  if (known.phase !== 'unauthorized') return known;
  if (known.suspect && !isNew) return end(turn, known, 'closed', TOKEN_EXPIRED);
  return join(turn, { ...known, suspect: !isNew });
}
