/**
 * The judge compares the frames sent to each subscriber with the commits. It shares no code with
 * the server.
 *
 * It reads each channel's record in order (channel-check.ts). A frame that is not the next effect
 * in any history is a violation. So is a position beyond the effects received. Each effect is
 * checked against the model, so the subscriber's rows equal the view at every position.
 */
import { ChannelCheck } from './channel-check.ts';
import { Calendar, disagreements, type Evidence, type Incident } from './evidence.ts';
import { epochOf, type Frame, lsnOf } from './frame.ts';
import { isJoined } from './joined.ts';
import type { Note, Subscriber } from './subscriber.ts';
import { bytesOf } from './wal.ts';

export interface Verdict {
  readonly violations: readonly string[];
  readonly resets: Readonly<Record<string, number>>;
  readonly deliveries: number;
  /** How often a snapshot was joined to the stream. */
  readonly seams: number;
  /**
   * How often a snapshot of a joined channel was taken again, since it saw a commit and not an
   * earlier one.
   */
  readonly retaken: number;
}

/** Maximum number of reported violations. */
const VIOLATIONS_MAX = 50;

export function judge(evidence: Evidence): Verdict {
  const violations = [...disagreements(evidence)];
  const resets: Record<string, number> = {};
  const calendar = new Calendar(evidence);
  const epochs = new Set<string>();
  let seams = 0;
  let retaken = 0;
  for (const [index, subscriber] of evidence.subscribers.entries()) {
    const trial = new Trial(evidence, calendar, subscriber);
    for (const text of trial.violations()) violations.push(`subscriber ${index}: ${text}`);
    for (const reason of trial.resets) resets[reason] = (resets[reason] ?? 0) + 1;
    for (const epoch of trial.epochs) epochs.add(epoch);
    seams += trial.seams;
    retaken += trial.retaken;
  }
  const lost = evidence.incidents.filter(({ kind }) => kind === 'slot lost' || kind === 'promoted').length;
  if (epochs.size > lost + 1) violations.push(`${epochs.size} epochs, though only ${lost} times a history could end`);
  return {
    violations: violations.slice(0, VIOLATIONS_MAX),
    resets,
    deliveries: evidence.subscribers.reduce((sum, { deliveries }) => sum + deliveries, 0),
    seams,
    retaken,
  };
}

/** Close codes that ask a client to reconnect, or that report a broken connection. */
const CLOSES = new Set([1001, 1005, 1006]);
/** Close code of a process that is cut off from the stream of the others. */
const CUT_OFF = 1013;
/** Errors that are allowed if their cause occurred. */
const ERRORS: Readonly<Record<string, readonly Incident['kind'][]>> = {
  try_again: ['database away', 'publication altered', 'stream away', 'cut off'],
  channel_unavailable: ['publication altered'],
  channel_unknown: ['publication altered'],
};

class Trial {
  readonly resets: string[] = [];
  readonly epochs = new Set<string>();
  seams = 0;
  retaken = 0;
  readonly #evidence: Evidence;
  readonly #calendar: Calendar;
  readonly #subscriber: Subscriber;
  readonly #found: string[] = [];
  readonly #checks: ReadonlyMap<string, ChannelCheck>;
  /** LSN of the furthest commit on this connection. */
  #furthest = 0;

  constructor(evidence: Evidence, calendar: Calendar, subscriber: Subscriber) {
    this.#evidence = evidence;
    this.#calendar = calendar;
    this.#subscriber = subscriber;
    this.#checks = new Map(
      subscriber.options.channels.map((channel) => [
        channel,
        new ChannelCheck(channel, evidence.histories, subscriber.options.old, (text) =>
          this.#found.push(`${channel}: ${text}`),
        ),
      ]),
    );
  }

  violations(): readonly string[] {
    for (const note of this.#subscriber.record) this.#take(note);
    for (const check of this.#checks.values()) {
      check.end();
      this.seams += check.seams;
    }
    return this.#found;
  }

  #take(note: Note): void {
    switch (note.what) {
      case 'opened':
        this.#furthest = 0;
        for (const check of this.#checks.values()) check.disconnected();
        return;
      case 'closed':
        if (!CLOSES.has(note.code) && !(note.code === CUT_OFF && this.#happened('cut off', note.at)))
          this.#found.push(`closed with ${note.code}`);
        return;
      case 'asked':
        return this.#checkOf(note.channel).asked(note.since);
      case 'frame':
        return this.#frame(note.frame, note.at);
    }
  }

  #frame(frame: Frame, at: number): void {
    if (frame.position !== undefined) this.epochs.add(epochOf(frame.position));
    if (frame.type === 'heartbeat') {
      this.#claims(frame.position as string, at);
      for (const check of this.#checks.values()) if (check.isLive) check.completeUpTo(frame.position as string);
      return;
    }
    if (frame.type === 'welcome') return;
    if (frame.channel === undefined) {
      this.#found.push(`unexpected ${JSON.stringify(frame)}`);
      return;
    }
    const check = this.#checkOf(frame.channel);
    switch (frame.type) {
      case 'snapshot':
        return check.snapshot(frame);
      case 'subscribed':
        if (frame.recovered !== true) this.#claims(frame.position as string, at);
        check.behind = this.#furthest;
        return check.subscribed(frame);
      case 'changes':
        if (check.isLive) this.#inOrder(check, frame);
        return check.changes(frame);
      case 'message':
        return check.message(frame);
      case 'unsubscribed':
        if (frame.code !== 'client' && !this.#happened('publication altered', at))
          this.#found.push(`${frame.channel}: unsubscribed with ${frame.code}`);
        return check.voided();
      case 'reset':
        this.#reset(check, frame, at);
        return check.voided();
      case 'error':
        return this.#error(frame, at);
      default:
        this.#found.push(`${frame.channel}: unexpected ${frame.type}`);
    }
  }

  /** A commit that was requested after a position was sent must be after that position. */
  #claims(position: string, at: number): void {
    if (lsnOf(position) >= this.#calendar.firstAskedAfter(at))
      this.#found.push(`${position} was said before a commit that lies before it was asked for`);
  }

  /**
   * Commits must be in order across all channels that have caught up with the commits before their
   * subscribe.
   */
  #inOrder(check: ChannelCheck, { lsn = '', position, channel }: Frame): void {
    const at = bytesOf(lsn);
    if (at < this.#furthest && at > check.behind)
      this.#found.push(`${channel}: commit ${lsn} (${position}) came after a later one`);
    this.#furthest = Math.max(this.#furthest, at);
  }

  #reset(check: ChannelCheck, { reason = '', channel = '' }: Frame, at: number): void {
    const from = check.position;
    // commits become visible in another order than the WAL has them, which leaves no evidence
    if (isJoined(channel) && reason === 'lagging' && !check.isLive) {
      this.retaken++;
      return;
    }
    this.resets.push(reason);
    const isTrue: Readonly<Record<string, () => boolean>> = {
      slot_lost: () => this.#happened('slot lost', at),
      epoch_changed: () => this.#happened('promoted', at),
      // joined rows come from the database
      channel_changed: () =>
        this.#happened('publication altered', at) || (isJoined(channel) && this.#happened('database away', at)),
      position_too_old: () => from !== undefined && this.#calendar.isBeyondBounds(lsnOf(from), at),
      lagging: () => this.#calendar.isBeyondJournal(from === undefined ? 0 : lsnOf(from), at),
    };
    if (isTrue[reason]?.() !== true) this.#found.push(`${channel}: reset with ${reason} at ${from}, which is not so`);
    if (reason === 'slot_lost' || reason === 'epoch_changed') check.mustChangeEpoch();
  }

  #error({ code = '', channel }: Frame, at: number): void {
    // the subscriber left the channel just when it was reset
    if (code === 'not_subscribed') return;
    if (!(ERRORS[code] ?? []).some((cause) => this.#happened(cause, at))) this.#found.push(`${channel}: error ${code}`);
  }

  /** Whether the incident happened before `at`. */
  #happened(kind: Incident['kind'], at: number): boolean {
    return this.#evidence.incidents.some((incident) => incident.kind === kind && incident.at <= at);
  }

  #checkOf(channel: string): ChannelCheck {
    return this.#checks.get(channel) as ChannelCheck;
  }
}
