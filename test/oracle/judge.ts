/**
 * The judge compares the frames sent to each subscriber with the commits. It shares no code with
 * the server.
 *
 * It reads each channel's record in order. At each step it knows the histories that the
 * subscriber's state fits, and the next effect in each. A frame that is not the next effect in any
 * of them is a violation. So is a position beyond the effects received. Each effect is checked
 * against the model, so the subscriber's rows equal the view at every position.
 */
import { Calendar, disagreements, type Evidence, type Incident } from './evidence.ts';
import { apply, epochOf, type Frame, lsnOf } from './frame.ts';
import { isJoined } from './joined.ts';
import type { Effect, History } from './model.ts';
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
  readonly #walks: ReadonlyMap<string, Walk>;
  /** LSN of the furthest commit on this connection. */
  #furthest = 0;

  constructor(evidence: Evidence, calendar: Calendar, subscriber: Subscriber) {
    this.#evidence = evidence;
    this.#calendar = calendar;
    this.#subscriber = subscriber;
    this.#walks = new Map(
      subscriber.options.channels.map((channel) => [
        channel,
        new Walk(channel, evidence.histories, subscriber.options.old, (text) =>
          this.#found.push(`${channel}: ${text}`),
        ),
      ]),
    );
  }

  violations(): readonly string[] {
    for (const note of this.#subscriber.record) this.#take(note);
    for (const walk of this.#walks.values()) {
      walk.end();
      this.seams += walk.seams;
    }
    return this.#found;
  }

  #take(note: Note): void {
    switch (note.what) {
      case 'opened':
        this.#furthest = 0;
        for (const walk of this.#walks.values()) walk.disconnected();
        return;
      case 'closed':
        if (!CLOSES.has(note.code) && !(note.code === CUT_OFF && this.#happened('cut off', note.at)))
          this.#found.push(`closed with ${note.code}`);
        return;
      case 'asked':
        return this.#walk(note.channel).asked(note.since);
      case 'frame':
        return this.#frame(note.frame, note.at);
    }
  }

  #frame(frame: Frame, at: number): void {
    if (frame.position !== undefined) this.epochs.add(epochOf(frame.position));
    if (frame.type === 'heartbeat') {
      this.#claims(frame.position as string, at);
      for (const walk of this.#walks.values()) if (walk.isLive) walk.completeUpTo(frame.position as string);
      return;
    }
    if (frame.type === 'welcome') return;
    if (frame.channel === undefined) {
      this.#found.push(`unexpected ${JSON.stringify(frame)}`);
      return;
    }
    const walk = this.#walk(frame.channel);
    switch (frame.type) {
      case 'snapshot':
        return walk.snapshot(frame);
      case 'subscribed':
        if (frame.recovered !== true) this.#claims(frame.position as string, at);
        walk.behind = this.#furthest;
        return walk.subscribed(frame);
      case 'changes':
        if (walk.isLive) this.#inOrder(walk, frame);
        return walk.changes(frame);
      case 'message':
        return walk.message(frame);
      case 'unsubscribed':
        if (frame.code !== 'client' && !this.#happened('publication altered', at))
          this.#found.push(`${frame.channel}: unsubscribed with ${frame.code}`);
        return walk.voided();
      case 'reset':
        this.#reset(walk, frame, at);
        return walk.voided();
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
  #inOrder(walk: Walk, { lsn = '', position, channel }: Frame): void {
    const at = bytesOf(lsn);
    if (at < this.#furthest && at > walk.behind)
      this.#found.push(`${channel}: commit ${lsn} (${position}) came after a later one`);
    this.#furthest = Math.max(this.#furthest, at);
  }

  #reset(walk: Walk, { reason = '', channel = '' }: Frame, at: number): void {
    const from = walk.position;
    // commits become visible in another order than the WAL has them, which leaves no evidence
    if (isJoined(channel) && reason === 'lagging' && !walk.isLive) {
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
      lagging: () => this.#calendar.isBeyondBounds(from === undefined ? 0 : lsnOf(from), at),
    };
    if (isTrue[reason]?.() !== true) this.#found.push(`${channel}: reset with ${reason} at ${from}, which is not so`);
    if (reason === 'slot_lost' || reason === 'epoch_changed') walk.mustChangeEpoch();
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

  #walk(channel: string): Walk {
    return this.#walks.get(channel) as Walk;
  }
}

/** Checks one subscriber's record of one channel. */
class Walk {
  /**
   * Commits up to this LSN may arrive after later ones of other channels: the channel is still
   * catching up.
   */
  behind = 0;
  isLive = false;
  seams = 0;
  /** Position of the channel's last frame. */
  position: string | undefined;
  readonly #channel: string;
  readonly #histories: readonly History[];
  readonly #old: boolean;
  readonly #report: (text: string) => void;
  #since: string | undefined;
  /** Rows, if there was a snapshot. */
  #rows: Map<string, string> | undefined;
  #snapshot: 'none' | 'in parts' | 'whole' = 'none';
  #snapshotParts = 0;
  /** Frames between the snapshot and `subscribed`. */
  #seam: { readonly frame: Frame; readonly changed: Changed }[] = [];
  #parts: Frame[] = [];
  /** The histories that fit everything since the channel began, with the next effect in each. */
  #next = new Map<History, number>();
  #endedEpoch: string | undefined;

  /** `old`: whether the subscriber has asked for the old rows. */
  constructor(channel: string, histories: readonly History[], old: boolean, report: (text: string) => void) {
    this.#channel = channel;
    this.#histories = histories;
    this.#old = old;
    this.#report = report;
  }

  disconnected(): void {
    this.isLive = false;
    this.#parts = [];
  }

  asked(since: string | undefined): void {
    this.#since = since;
    if (since !== undefined) return;
    this.#rows = undefined;
    this.#snapshot = 'none';
    this.#snapshotParts = 0;
    this.#seam = [];
  }

  voided(): void {
    this.isLive = false;
    this.#parts = [];
    this.#next.clear();
  }

  /** The rows are invalid because their history has ended. The next epoch must differ. */
  mustChangeEpoch(): void {
    this.#endedEpoch = this.position === undefined ? undefined : epochOf(this.position);
    this.position = undefined;
  }

  snapshot({ rows = [], part, last }: Frame): void {
    if (this.isLive || this.#since !== undefined) this.#report('a snapshot that was not requested');
    if (part === 1) {
      // a snapshot that could not be used is sent again
      this.#rows = new Map();
      this.#seam = [];
    } else if (part !== this.#snapshotParts + 1)
      this.#report(`part ${part} of a snapshot after ${this.#snapshotParts}`);
    this.#snapshotParts = part as number;
    this.#snapshot = last === true ? 'whole' : 'in parts';
    for (const { key, data } of rows) {
      const id = JSON.stringify(key);
      if (this.#rows?.has(id)) this.#report(`${id} is twice in a snapshot`);
      this.#rows?.set(id, JSON.stringify(data));
    }
  }

  subscribed({ position = '', recovered }: Frame): void {
    if (this.#endedEpoch === epochOf(position)) this.#report(`${position} continues an epoch that had ended`);
    this.#endedEpoch = undefined;
    this.position = position;
    this.isLive = true;
    if ((recovered === true) !== (this.#since !== undefined) || (recovered === true && position !== this.#since))
      this.#report(`since ${this.#since} was answered by ${position}, recovered: ${recovered}`);
    if (recovered === true) return;
    const lsn = lsnOf(position);
    const starts = this.#histories.map(
      (history) => [history, effectsUpTo(history.effects(this.#channel), lsn)] as const,
    );
    if (this.#rows === undefined) {
      this.#next = new Map(starts);
      return;
    }
    this.seams++;
    const rows = this.#rows;
    if (this.#snapshot !== 'whole') this.#report('subscribed before the snapshot was whole');
    this.#next = new Map(
      starts.filter(
        ([history]) =>
          difference(history.rowsAt(this.#channel, lsn), rows) === undefined && this.#isSeamOf(history, lsn),
      ),
    );
    if (this.#next.size > 0) return;
    const last = this.#histories.at(-1) as History;
    this.#report(
      `at ${position}, after a snapshot: ${difference(last.rowsAt(this.#channel, lsn), rows) ?? 'changes that were none'}`,
    );
  }

  changes(frame: Frame): void {
    if (frame.part !== undefined) {
      if (frame.part !== this.#parts.length + 1)
        this.#report(`part ${frame.part} of ${frame.lsn} after ${this.#parts.length}`);
      if (this.#parts.some(({ xid }) => xid !== frame.xid)) this.#report(`parts of several commits: ${frame.lsn}`);
      this.#parts.push(frame);
      if (frame.last !== true) return;
    } else if (this.#parts.length > 0) this.#report(`${frame.lsn} came between the parts of ${this.#parts[0]?.lsn}`);
    const events = (frame.part === undefined ? [frame] : this.#parts.splice(0)).flatMap((part) => part.events ?? []);
    const changed: Changed = new Map();
    for (const event of events) {
      const wrong = apply(this.#rows ?? new Map(), event, this.#rows !== undefined, this.#old);
      if (wrong !== undefined && (this.#next.size > 0 || !this.isLive)) this.#report(`${frame.position}: ${wrong}`);
      changed.set(JSON.stringify(event.key), event.op === 'delete' ? undefined : JSON.stringify(event.data));
    }
    if (!this.isLive) {
      if (this.#snapshot !== 'whole') this.#report(`${frame.position} came before anything was subscribed`);
      this.#seam.push({ frame, changed });
      return;
    }
    this.#step(frame, (effect) => isOf(effect, frame) && isSame(effect.rows, changed));
  }

  message(frame: Frame): void {
    if (!this.isLive) return this.#report(`message ${frame.position} came before it was subscribed`);
    const text = JSON.stringify(frame.data);
    // in a commit that is sent in parts, messages precede the commit's end
    this.#step(frame, ({ lsn, message }) => message === text && lsnOf(frame.position as string) <= lsn);
  }

  /** A heartbeat: all effects of this channel up to the position must have arrived. */
  completeUpTo(position: string): void {
    this.position = position;
    if (this.#next.size === 0) return;
    const lsn = lsnOf(position);
    const before = this.#describe();
    for (const [history, next] of this.#next)
      if (next < effectsUpTo(history.effects(this.#channel), lsn)) this.#next.delete(history);
    if (this.#next.size === 0) this.#report(`a heartbeat at ${position}, but ${before} has not arrived`);
  }

  /** The run is over: all effects must have arrived. */
  end(): void {
    const last = this.#histories.at(-1) as History;
    const next = this.#next.get(last);
    const effects = last.effects(this.#channel);
    if (!this.isLive) this.#report('is not subscribed at the end');
    else if (next !== undefined && next < effects.length)
      this.#report(`${effects.length - next} commits never arrived, ${this.#describe()} the first`);
    else if (next === undefined && this.#next.size > 0) this.#report('ended in a history that is not the present one');
    if (next === undefined || this.#rows === undefined) return;
    const wrong = difference(last.rowsAt(this.#channel, Number.POSITIVE_INFINITY), this.#rows);
    if (wrong !== undefined) this.#report(`at the end: ${wrong}`);
  }

  /** Advances by one effect in every history that has it next. */
  #step(frame: Frame, isNext: (effect: Effect) => boolean): void {
    this.position = frame.position;
    if (this.#next.size === 0) return;
    const before = this.#describe();
    for (const [history, next] of this.#next) {
      const effect = history.effects(this.#channel)[next];
      if (effect !== undefined && isNext(effect)) this.#next.set(history, next + 1);
      else this.#next.delete(history);
    }
    if (this.#next.size === 0)
      this.#report(
        `${frame.type} ${frame.position} (xid ${frame.xid}, part ${frame.part}) came where ${before} is next`,
      );
  }

  /**
   * Whether the frames between a snapshot and `subscribed` are commits before that point, whole and
   * in order.
   */
  #isSeamOf(history: History, until: number): boolean {
    const effects = history.effects(this.#channel);
    let next = 0;
    return this.#seam.every(({ frame, changed }) => {
      const index = effects.findIndex((effect, at) => at >= next && isOf(effect, frame));
      next = index + 1;
      const effect = effects[index];
      return effect !== undefined && effect.lsn <= until && isSame(effect.rows, changed);
    });
  }

  #describe(): string {
    return [...this.#next]
      .map(([history, next]) => {
        const effect = history.effects(this.#channel)[next];
        return effect === undefined
          ? 'nothing'
          : `commit ${effect.lsn.toString(16)} (xid ${effect.xid}, ${effect.rows?.size ?? 'a message'})`;
      })
      .join(' or ');
  }
}

type Changed = Map<string, string | undefined>;

function isOf({ lsn, xid }: Effect, frame: Frame): boolean {
  return lsn === bytesOf(frame.lsn as string) && xid === frame.xid;
}

/** Number of effects up to a position. */
function effectsUpTo(effects: readonly Effect[], lsn: number): number {
  let [low, high] = [0, effects.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((effects[middle] as Effect).lsn <= lsn) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isSame(expected: Effect['rows'], changed: Changed): boolean {
  if (expected?.size !== changed.size) return false;
  for (const [key, data] of expected) if (!changed.has(key) || changed.get(key) !== data) return false;
  return true;
}

function difference(expected: ReadonlyMap<string, string>, rows: ReadonlyMap<string, string>): string | undefined {
  for (const [key, data] of expected)
    if (rows.get(key) !== data) return `row ${key} is ${short(rows.get(key))}, in the view ${short(data)}`;
  for (const key of rows.keys()) if (!expected.has(key)) return `row ${key} is held and not in the view`;
  return undefined;
}

const short = (text: string | undefined): string => (text === undefined ? 'missing' : text.slice(0, 200));
