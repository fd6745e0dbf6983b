/**
 * Checks one subscriber's record of one channel. At each step it knows the histories that the
 * subscriber's state fits, and the next effect in each.
 */
import { apply, epochOf, type Frame, lsnOf } from './frame.ts';
import type { Effect, History } from './model.ts';
import { bytesOf } from './wal.ts';

export class ChannelCheck {
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
