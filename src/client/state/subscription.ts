/**
 * The transitions of one channel. Each takes the channel's state and returns its next state, or
 * undefined to forget the channel. Events are delivered only at consistent points: at `subscribed`,
 * then commit by commit, message by message.
 */
import type {
  ChangesFrame,
  ErrorFrame,
  MessageFrame,
  ResetFrame,
  SnapshotFrame,
  SubscribedFrame,
  UnsubscribedFrame,
} from '../../protocol.ts';
import type { Failure } from '../error.ts';
import { toCommit, toMessage } from '../event.ts';
import { cancelTimer, delay, EMPTY_HANDED, ENDINGS, end, expire, refuse, suspend, voided } from './endings.ts';
import type { Item, Subscription, Want } from './machine.ts';
import type { Turn } from './turn.ts';

const FRESH: Omit<Subscription, 'channel'> = {
  phase: 'waiting',
  wants: { events: 0, snapshot: 0, rows: 0 },
  position: undefined,
  rows: false,
  held: 'nothing',
  attempt: 0,
  suspect: false,
  asked: 'now',
  waitsForAccess: false,
  old: false,
  crowded: false,
  ending: undefined,
  ...EMPTY_HANDED,
};

const handlesOf = ({ wants }: Subscription): number => wants.events + wants.snapshot + wants.rows;
const isReceiving = ({ phase }: Subscription): boolean => phase === 'joining' || phase === 'live';

type Next = Subscription | undefined;

interface Wish {
  readonly want: Want;
  /** Used only for the first handle of a channel. */
  readonly since: string | undefined;
  readonly waitsForAccess: boolean;
  readonly old: boolean;
}

/** A handle was opened. */
export function acquire(turn: Turn, channel: string, known: Next, wish: Wish): Next {
  const { want, since, waitsForAccess, old } = wish;
  const base = known === undefined || handlesOf(known) === 0 ? { ...FRESH, ...known, channel, position: since } : known;
  const next = {
    ...base,
    wants: { ...base.wants, [want]: base.wants[want] + 1 },
    waitsForAccess: base.waitsForAccess || waitsForAccess,
    old: base.old || old,
    ending: undefined,
  };
  if (known?.phase === 'ended') cancelTimer(turn, known);
  if (known === undefined || known.phase === 'ended') return join(turn, { ...next, attempt: 0 });
  const needsSnapshot = want === 'snapshot' || (want === 'rows' && !known.rows);
  const getsSnapshot = known.phase === 'joining' && known.asked === 'snapshot';
  if (!needsSnapshot || getsSnapshot) return old && !known.old ? rejoin(turn, next) : next;
  // The snapshot may lie after commits that the other handles have not seen: what they hold is
  // void.
  return rejoin(turn, voided(turn, next, 'snapshot_requested'));
}

/** Subscribes again, from the position if there is one. */
export function rejoin(turn: Turn, known: Subscription): Subscription {
  return isReceiving(known) ? leave(turn, known) : known;
}

/** A handle was closed. */
export function release(turn: Turn, known: Subscription, want: Want): Next {
  const wants = { ...known.wants, [want]: known.wants[want] - 1 };
  const next = { ...known, wants, rows: known.rows && wants.rows > 0 };
  if (handlesOf(next) > 0) return next;
  const gone = { ...FRESH, channel: known.channel };
  if (isReceiving(known)) return leave(turn, gone);
  if (known.phase === 'leaving') return { ...gone, phase: 'leaving' };
  cancelTimer(turn, known);
  return undefined;
}

/** Subscribes, or waits until the connection can send it. */
export function join(turn: Turn, known: Subscription): Subscription {
  const { channel, wants, rows, position: since, old } = known;
  if (!turn.isGreeted()) return { ...known, ...EMPTY_HANDED, phase: 'waiting' };
  const wantsSnapshot = (wants.rows > 0 && !rows) || (wants.snapshot > 0 && since === undefined);
  const asked = wantsSnapshot ? 'snapshot' : since === undefined ? 'now' : 'since';
  const from = wantsSnapshot ? { snapshot: true } : since === undefined ? {} : { since };
  turn.send({ type: 'subscribe', channel, ...from, ...(old ? { old } : {}) });
  return { ...known, ...EMPTY_HANDED, phase: 'joining', asked, crowded: false };
}

/** The connection is lost. */
export function interrupt(turn: Turn, known: Subscription): Next {
  if (known.phase === 'ended') return known;
  if (handlesOf(known) === 0) return undefined;
  cancelTimer(turn, known);
  return { ...known, ...EMPTY_HANDED, phase: 'waiting', crowded: false };
}

/** The connection has room for another subscription: joins a channel that waits for it. */
export function admit(turn: Turn): void {
  if (!turn.isGreeted()) return;
  for (const known of turn.all()) {
    if (!known.crowded) continue;
    cancelTimer(turn, known);
    turn.put(known.channel, join(turn, known));
    return;
  }
}

/** Every live channel is complete up to `position`, except a channel in the middle of a commit. */
export function advance(turn: Turn, known: Subscription, position: string): Subscription {
  if (known.phase !== 'live' || known.parts.length > 0) return known;
  if (position !== known.position) turn.deliver(known.channel, { kind: 'position', position });
  return { ...known, position, attempt: 0 };
}

/** Every live channel includes the commit: the server answers one that a handle has asked for. */
export function reach(turn: Turn, known: Subscription, commit: string): Subscription {
  if (known.phase === 'live') turn.deliver(known.channel, { kind: 'reached', commit });
  return known;
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
  // An unknown type comes from a newer server.
  if (known !== undefined) return receiver === undefined ? known : receiver(turn, known, frame);
  // The server has this channel subscribed, but no handle here needs it.
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
      turn.broken = `${channel} was subscribed before its snapshot or a commit was complete`;
      return known;
    }
    const rows = isSnapshot ? snapshot.flat() : undefined;
    turn.deliver(channel, { kind: 'joined', rows, items: early, position, recovered });
    turn.deliver(channel, { kind: 'position', position });
    return {
      ...known,
      phase: 'live',
      ending: undefined,
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
    // Another client has sent it: it is not stored, and has no position.
    if (frame.position === undefined) return pass(turn, known, item);
    // The position of a message between the parts of a commit cannot be resumed from: the message
    // is held, so that it does not come twice.
    if (known.parts.length > 0) return { ...known, between: [...known.between, item] };
    return accept(turn, known, [item], frame.position);
  },

  reset(turn, known, { reason }) {
    return isReceiving(known) ? delay(turn, voided(turn, known, reason)) : known;
  },

  unsubscribed(turn, known, { code, undeclared }) {
    if (known.phase === 'leaving') return left(turn, known);
    if (!isReceiving(known)) return known;
    if (code === 'token_expired') return expire(turn, known);
    if (code === 'client') return delay(turn, known);
    const why: Failure = { code, message: ENDINGS[code] };
    if (undeclared === true) {
      const failure: Failure = { code, message: ENDINGS.access_undeclared };
      return suspend(turn, voided(turn, known, 'channel_changed'), 'closed', failure);
    }
    // If the view returns, it may have another definition: the held rows are void.
    if (code === 'channel_dropped') return suspend(turn, voided(turn, known, 'channel_changed'), 'closed', why);
    return known.waitsForAccess ? suspend(turn, known, 'closed', why) : end(turn, known, 'closed', why);
  },

  error(turn, known, { code, message }) {
    if (code === 'not_subscribed') return known.phase === 'leaving' ? left(turn, known) : known;
    // An answer to a send says nothing about the subscription.
    if (known.phase !== 'joining' || /send/.test(code)) {
      turn.emit({ type: 'error', failure: { code, message }, channel: known.channel });
      return known;
    }
    if (code === 'already_subscribed') return leave(turn, known);
    // The position was valid before, so this is a different server.
    const isOutdated = code === 'position_invalid' && known.held === 'current';
    if (isOutdated) return delay(turn, voided(turn, known, 'position_too_old'));
    return refuse(turn, known, { code, message });
  },
};

/** Delivers whole items: at once if the channel is live, else at `subscribed`. */
function accept(turn: Turn, known: Subscription, items: readonly Item[], position: string): Subscription {
  if (known.phase === 'joining') return { ...known, early: [...known.early, ...items] };
  for (const item of items) turn.deliver(known.channel, item);
  turn.deliver(known.channel, { kind: 'position', position });
  return { ...known, position };
}

function pass(turn: Turn, known: Subscription, item: Item): Subscription {
  if (known.phase === 'joining') return { ...known, early: [...known.early, item] };
  turn.deliver(known.channel, item);
  return known;
}

function leave(turn: Turn, known: Subscription): Subscription {
  turn.send({ type: 'unsubscribe', channel: known.channel });
  return { ...known, ...EMPTY_HANDED, phase: 'leaving' };
}

/** The server has answered the unsubscribe: later frames belong to a new subscription. */
function left(turn: Turn, known: Subscription): Next {
  turn.hasRoom = true;
  return handlesOf(known) > 0 ? join(turn, known) : undefined;
}

/**
 * The token callback has answered. If the server already has this token, it is tried once more: it
 * may have crossed the server's refusal. After that the callback is asked again, with growing
 * waits.
 */
export function reauthorize(turn: Turn, known: Subscription, isNew: boolean): Subscription {
  if (known.phase !== 'unauthorized') return known;
  if (known.suspect && !isNew) {
    turn.wantsToken = true;
    return known;
  }
  return join(turn, { ...known, suspect: !isNew });
}
