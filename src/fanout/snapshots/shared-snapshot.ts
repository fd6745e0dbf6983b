/**
 * One snapshot read and the subscriptions that share it. Each frame is made once and kept in a
 * window until every sharer has received it.
 *
 * Fast sharers do not wait for the slowest. If the window is full, a slow sharer that delays
 * finished ones for more than HOLD_UP_MS_MAX in total ends as `lagging`. If all are slow, the query
 * waits for them, but not for one that accepts nothing for long. The same holds if the database
 * does not answer an access check in time; that is reported as `try_again`.
 */
import type { ResolvedChannel } from '../../channels/channel.ts';
import { Deque } from '../../deque.ts';
import { SnoError } from '../../errors.ts';
import type { Visibility } from '../../markers/visibility.ts';
import type { FrameSink } from './snapshot.ts';

/**
 * whole: all of the snapshot was written. again: it can't be used, another must be taken. lagging:
 * the socket did not keep up. left: `leave` was called.
 */
export type Outcome = 'whole' | 'again' | 'lagging' | 'left';

/** One subscription that wants a snapshot. */
export interface SnapshotSink {
  /** Whether it accepts compressed frames. */
  readonly deflates: boolean;
  /**
   * Called once, before the first frame, with the snapshot's visibility. False: the snapshot can't
   * be used, another must be taken.
   */
  taken(visibility: Visibility): boolean;
  /**
   * Writes a `snapshot` frame. The promise resolves when the socket accepts the next frame;
   * undefined: it accepts it now.
   */
  frame(frame: Buffer): Promise<void> | undefined;
  /** Bytes that the socket has not accepted. The socket makes progress if they become fewer. */
  readonly pendingBytes: number;
  /** Whether it waits for an access check and not for its socket. */
  readonly isUnanswered: boolean;
}

/** A share in a snapshot. */
export interface Share {
  /** Rejects with a SnoError if the snapshot can't be read. */
  readonly outcome: Promise<Outcome>;
  /** Called when the subscription no longer wants the snapshot. */
  leave(): void;
}

/**
 * A frame in compressed and plain form. Both are the same buffer if all sharers need the same form.
 */
interface Forms {
  readonly deflated: Buffer;
  readonly plain: Buffer;
}

/** How long one sharer may delay others in total before it ends as `lagging`, in ms. */
const HOLD_UP_MS_MAX = 1_000;

interface Sharer {
  readonly sink: SnapshotSink;
  /** Number of the next frame, from 0. */
  next: number;
  isBlocked: boolean;
  pendingBytes: number;
  /** When it last made progress. */
  movedAt: number;
  /** How long others have waited for it, in ms, since it last had all available frames. */
  heldUpMs: number;
  readonly end: (outcome: Outcome) => void;
  readonly fail: (error: SnoError) => void;
}

export interface ReadingOptions {
  /** Maximum bytes of frames that wait for the slowest sharer. */
  readonly windowBytesMax: number;
  /** Returns a frame's compressed form. */
  readonly deflate: (frame: Buffer) => Promise<Buffer>;
  readonly now: () => number;
  /** Called when the last sharer has left. */
  readonly onEmpty: () => void;
}

export class Reading implements FrameSink {
  readonly channel: ResolvedChannel;
  readonly #options: ReadingOptions;
  readonly #sharers = new Set<Sharer>();
  readonly #window = new Deque<Forms>();
  #windowBytes = 0;
  /** Number of the first frame in the window. */
  #first = 0;
  #isTaken = false;
  /**
   * Whether at least one sharer accepts compressed frames, and (`isMixed`) at least one does not.
   * Known once the snapshot is taken.
   */
  #deflates = false;
  #isMixed = false;
  /**
   * Resolves when every received frame is in the window. Frames are added in order, after
   * compression.
   */
  #compressed: Promise<unknown> = Promise.resolve();
  #isWhole = false;
  #roomMade: (() => void) | undefined;
  /** Since when a sharer waits for others at the far end of the window. */
  #waitedSince: number | undefined;

  constructor(channel: ResolvedChannel, options: ReadingOptions) {
    this.channel = channel;
    this.#options = options;
  }

  /** Whether the snapshot's visibility is fixed: later requests need a later snapshot. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Whether all rows have been read. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  get isEmpty(): boolean {
    return this.#sharers.size === 0;
  }

  get windowBytes(): number {
    return this.#windowBytes;
  }

  share(sink: SnapshotSink): Share {
    let leave = () => {};
    const outcome = new Promise<Outcome>((end, fail) => {
      const sharer = { sink, next: 0, isBlocked: false, pendingBytes: 0, movedAt: 0, heldUpMs: 0, end, fail };
      this.#sharers.add(sharer);
      leave = () => this.#remove(sharer, 'left');
    });
    return { outcome, leave: () => leave() };
  }

  taken(visibility: Visibility): boolean {
    this.#isTaken = true;
    for (const sharer of [...this.#sharers]) {
      if (sharer.sink.taken(visibility)) continue;
      this.#sharers.delete(sharer);
      sharer.end('again');
    }
    const deflating = [...this.#sharers].filter(({ sink }) => sink.deflates).length;
    this.#deflates = deflating > 0;
    this.#isMixed = this.#deflates && deflating < this.#sharers.size;
    return !this.isEmpty;
  }

  frame(frame: Buffer): Promise<void> | undefined {
    if (!this.#deflates) return this.#add({ plain: frame, deflated: frame });
    const before = this.#compressed;
    const deflating = this.#options.deflate(frame);
    const added = (async () => {
      const deflated = await deflating;
      await before;
      return { room: this.#add({ plain: this.#isMixed ? frame : deflated, deflated }) };
    })();
    this.#compressed = added;
    return added.then(({ room }) => room);
  }

  #add(forms: Forms): Promise<void> | undefined {
    this.#window.push(forms);
    this.#windowBytes += bytesOf(forms);
    for (const sharer of this.#sharers) this.#serve(sharer);
    this.#makeRoom();
    if (!this.#isFull) return undefined;
    return new Promise((resolve) => {
      const before = this.#roomMade;
      this.#roomMade = () => {
        before?.();
        resolve();
      };
    });
  }

  /** All frames have arrived. */
  finish(): void {
    const end = () => {
      this.#isWhole = true;
      for (const sharer of [...this.#sharers]) this.#endIfWhole(sharer);
    };
    if (this.#deflates) void this.#compressed.then(end);
    else end();
  }

  fail(error: SnoError): void {
    for (const sharer of this.#sharers) sharer.fail(error);
    this.#sharers.clear();
  }

  /**
   * Ends sharers that accepted nothing for `stallMs`, or that delay others. Called periodically.
   */
  check(stallMs: number): void {
    const now = this.#options.now();
    for (const sharer of [...this.#sharers]) {
      const { pendingBytes } = sharer.sink;
      if (!sharer.isBlocked || pendingBytes !== sharer.pendingBytes) sharer.movedAt = now;
      sharer.pendingBytes = pendingBytes;
      if (now - sharer.movedAt >= stallMs) this.#remove(sharer, 'lagging');
    }
    this.#makeRoom();
  }

  /** Ends all sharers as `lagging`: the read has taken too long. */
  giveUp(): void {
    for (const sharer of [...this.#sharers]) this.#remove(sharer, 'lagging');
  }

  get #end(): number {
    return this.#first + this.#window.length;
  }

  get #isFull(): boolean {
    return this.#windowBytes >= this.#options.windowBytesMax;
  }

  #serve(sharer: Sharer): void {
    while (!sharer.isBlocked && sharer.next < this.#end) {
      const { plain, deflated } = this.#window.at(sharer.next++ - this.#first) as Forms;
      const taken = sharer.sink.frame(sharer.sink.deflates ? deflated : plain);
      if (taken === undefined) continue;
      sharer.isBlocked = true;
      sharer.movedAt = this.#options.now();
      sharer.pendingBytes = sharer.sink.pendingBytes;
      void taken.then(() => this.#unblocked(sharer));
    }
    if (sharer.next === this.#end) sharer.heldUpMs = 0;
    this.#endIfWhole(sharer);
  }

  #unblocked(sharer: Sharer): void {
    sharer.isBlocked = false;
    if (!this.#sharers.has(sharer)) return;
    this.#serve(sharer);
    this.#makeRoom();
  }

  #endIfWhole(sharer: Sharer): void {
    if (this.#isWhole && sharer.next === this.#end) this.#remove(sharer, 'whole');
  }

  #remove(sharer: Sharer, outcome: Outcome): void {
    if (!this.#sharers.delete(sharer)) return;
    tell(sharer, outcome);
    if (this.isEmpty) this.#options.onEmpty();
    else this.#makeRoom();
  }

  /**
   * If the window is full, drops the frames that every sharer has, and ends sharers that delayed
   * others for too long.
   */
  #makeRoom(): void {
    const { now } = this.#options;
    const waitedMs = this.#waitedSince === undefined ? 0 : now() - this.#waitedSince;
    this.#waitedSince = undefined;
    if (this.#isFull) {
      const half = this.#first + this.#window.length / 2;
      for (const sharer of [...this.#sharers]) {
        if (!sharer.isBlocked || sharer.next > half) continue;
        sharer.heldUpMs += waitedMs;
        if (sharer.heldUpMs < HOLD_UP_MS_MAX) continue;
        this.#sharers.delete(sharer);
        tell(sharer, 'lagging');
      }
      if (this.isEmpty) return this.#options.onEmpty();
      this.#forgetTaken();
    }
    if (this.#isFull) {
      // A sharer that is not blocked has received the whole window.
      for (const { isBlocked } of this.#sharers) if (!isBlocked) this.#waitedSince = now();
      return;
    }
    const made = this.#roomMade;
    this.#roomMade = undefined;
    made?.();
  }

  #forgetTaken(): void {
    let slowest = this.#end;
    for (const { next } of this.#sharers) slowest = Math.min(slowest, next);
    for (; this.#first < slowest; this.#first++) this.#windowBytes -= bytesOf(this.#window.shift() as Forms);
  }
}

function tell({ sink, end, fail }: Sharer, outcome: Outcome): void {
  if (outcome === 'lagging' && sink.isUnanswered)
    fail(new SnoError('try_again', 'the database did not answer in time who may hear the channel'));
  else end(outcome);
}

function bytesOf({ plain, deflated }: Forms): number {
  return deflated === plain ? plain.length : plain.length + deflated.length;
}
