/**
 * One snapshot read and the subscriptions that share it, its recipients. Each frame is made once
 * and kept in a window until every recipient has received it.
 *
 * Fast recipients do not wait for the slowest. If the window is full, a slow recipient that delays
 * finished ones for more than DELAY_MS_MAX in total ends as `lagging`. If all are slow, the query
 * waits for them, but not for one that accepts nothing for long. The same holds if the database
 * does not answer an access check in time; that is reported as `try_again`.
 */
import type { ResolvedChannel } from '../../channels/served/served.ts';
import { Deque } from '../../deque.ts';
import type { SnoError } from '../../errors.ts';
import type { Visibility } from '../../markers/visibility.ts';
import { type Outcome, type Recipient, type SnapshotRequest, type SnapshotSink, settle } from './recipient.ts';
import type { FrameSink } from './snapshot.ts';

/**
 * A frame in compressed and plain form. Both are the same buffer if all recipients need the same
 * form.
 */
interface Forms {
  readonly deflated: Buffer;
  readonly plain: Buffer;
}

/** How long one recipient may delay others in total before it ends as `lagging`, in ms. */
const DELAY_MS_MAX = 1_000;

export interface SharedSnapshotOptions {
  /** Maximum bytes of frames that wait for the slowest recipient. */
  readonly windowBytesMax: number;
  /** Returns a frame's compressed form. */
  readonly deflate: (frame: Buffer) => Promise<Buffer>;
  readonly now: () => number;
  /** Called when the last recipient has left. */
  readonly onEmpty: () => void;
}

export class SharedSnapshot implements FrameSink {
  readonly channel: ResolvedChannel;
  readonly #options: SharedSnapshotOptions;
  readonly #recipients = new Set<Recipient>();
  readonly #window = new Deque<Forms>();
  #windowBytes = 0;
  /** Number of the first frame in the window. */
  #first = 0;
  #hasBegun = false;
  /**
   * Whether at least one recipient accepts compressed frames, and (`isMixed`) at least one does
   * not.
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
  /** Since when a recipient waits for others at the far end of the window. */
  #waitedSince: number | undefined;

  constructor(channel: ResolvedChannel, options: SharedSnapshotOptions) {
    this.channel = channel;
    this.#options = options;
  }

  /** Whether the snapshot's visibility is fixed: later requests need a later snapshot. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Whether all rows have been read. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  get isEmpty(): boolean {
    return this.#recipients.size === 0;
  }

  get windowBytes(): number {
    return this.#windowBytes;
  }

  add(sink: SnapshotSink): SnapshotRequest {
    let leave = () => {};
    const outcome = new Promise<Outcome>((end, fail) => {
      const recipient = { sink, next: 0, isBlocked: false, pendingBytes: 0, movedAt: 0, delayedMs: 0, end, fail };
      this.#recipients.add(recipient);
      leave = () => this.#remove(recipient, 'left');
    });
    return { outcome, leave: () => leave() };
  }

  begin(visibility: Visibility): boolean {
    this.#hasBegun = true;
    for (const recipient of [...this.#recipients]) {
      if (recipient.sink.begin(visibility)) continue;
      this.#recipients.delete(recipient);
      recipient.end('again');
    }
    const deflating = [...this.#recipients].filter(({ sink }) => sink.deflates).length;
    this.#deflates = deflating > 0;
    this.#isMixed = this.#deflates && deflating < this.#recipients.size;
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
    for (const recipient of this.#recipients) this.#serve(recipient);
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
      for (const recipient of [...this.#recipients]) this.#endIfWhole(recipient);
    };
    if (this.#deflates) void this.#compressed.then(end);
    else end();
  }

  fail(error: SnoError): void {
    for (const recipient of this.#recipients) recipient.fail(error);
    this.#recipients.clear();
  }

  /**
   * Ends recipients that accepted nothing for `stallMs`, or that delay others. Called periodically.
   */
  check(stallMs: number): void {
    const now = this.#options.now();
    for (const recipient of [...this.#recipients]) {
      const { pendingBytes } = recipient.sink;
      if (!recipient.isBlocked || pendingBytes !== recipient.pendingBytes) recipient.movedAt = now;
      recipient.pendingBytes = pendingBytes;
      if (now - recipient.movedAt >= stallMs) this.#remove(recipient, 'lagging');
    }
    this.#makeRoom();
  }

  /** Ends all recipients as `lagging`: the read has taken too long. */
  giveUp(): void {
    for (const recipient of [...this.#recipients]) this.#remove(recipient, 'lagging');
  }

  get #end(): number {
    return this.#first + this.#window.length;
  }

  get #isFull(): boolean {
    return this.#windowBytes >= this.#options.windowBytesMax;
  }

  #serve(recipient: Recipient): void {
    while (!recipient.isBlocked && recipient.next < this.#end) {
      const { plain, deflated } = this.#window.at(recipient.next++ - this.#first) as Forms;
      const accepted = recipient.sink.frame(recipient.sink.deflates ? deflated : plain);
      if (accepted === undefined) continue;
      recipient.isBlocked = true;
      recipient.movedAt = this.#options.now();
      recipient.pendingBytes = recipient.sink.pendingBytes;
      void accepted.then(() => this.#unblocked(recipient));
    }
    if (recipient.next === this.#end) recipient.delayedMs = 0;
    this.#endIfWhole(recipient);
  }

  #unblocked(recipient: Recipient): void {
    recipient.isBlocked = false;
    if (!this.#recipients.has(recipient)) return;
    this.#serve(recipient);
    this.#makeRoom();
  }

  #endIfWhole(recipient: Recipient): void {
    if (this.#isWhole && recipient.next === this.#end) this.#remove(recipient, 'whole');
  }

  #remove(recipient: Recipient, outcome: Outcome): void {
    if (!this.#recipients.delete(recipient)) return;
    settle(recipient, outcome);
    if (this.isEmpty) this.#options.onEmpty();
    else this.#makeRoom();
  }

  /**
   * If the window is full, drops the frames that every recipient has, and ends recipients that
   * delayed others for too long.
   */
  #makeRoom(): void {
    const { now } = this.#options;
    const waitedMs = this.#waitedSince === undefined ? 0 : now() - this.#waitedSince;
    this.#waitedSince = undefined;
    if (this.#isFull) {
      const half = this.#first + this.#window.length / 2;
      for (const recipient of [...this.#recipients]) {
        if (!recipient.isBlocked || recipient.next > half) continue;
        recipient.delayedMs += waitedMs;
        if (recipient.delayedMs < DELAY_MS_MAX) continue;
        this.#recipients.delete(recipient);
        settle(recipient, 'lagging');
      }
      if (this.isEmpty) return this.#options.onEmpty();
      this.#dropReceived();
    }
    if (this.#isFull) {
      // A recipient that is not blocked has received the whole window.
      for (const { isBlocked } of this.#recipients) if (!isBlocked) this.#waitedSince = now();
      return;
    }
    const made = this.#roomMade;
    this.#roomMade = undefined;
    made?.();
  }

  #dropReceived(): void {
    let slowest = this.#end;
    for (const { next } of this.#recipients) slowest = Math.min(slowest, next);
    for (; this.#first < slowest; this.#first++) this.#windowBytes -= bytesOf(this.#window.shift() as Forms);
  }
}

function bytesOf({ plain, deflated }: Forms): number {
  return deflated === plain ? plain.length : plain.length + deflated.length;
}
