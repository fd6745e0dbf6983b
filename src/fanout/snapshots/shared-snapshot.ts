/**
 * One snapshot read and the subscriptions that share it, its recipients. Each piece is encoded
 * once for each encoding that a recipient uses. It is kept in a window until it has been written
 * for every recipient. A recipient's socket below its limit accepts a piece; a full one waits.
 *
 * Fast recipients do not wait for the slowest. If the window is full, a slow recipient that delays
 * finished ones for more than DELAY_MS_MAX in total ends as `lagging`. If all are slow, the query
 * waits for them, but not for one that accepts nothing for long. The same holds if the database
 * does not answer an access check in time; that is reported as `try_again`. A recipient for which
 * nothing was written has lost nothing: it ends as `later` and requests another snapshot, which its
 * client does not notice.
 */
import type { ResolvedChannel } from '../../channels/served/served.ts';
import { Deque } from '../../deque.ts';
import { SnoError } from '../../errors.ts';
import type { Visibility } from '../../markers/visibility.ts';
import type { Payload } from '../../memory/payload.ts';
import type { Encoding } from '../encoding.ts';
import { type Outcome, Recipient, type SnapshotRequest, type SnapshotSink, settle } from './recipient.ts';
import type { RowSink } from './snapshot.ts';

/** A piece of the snapshot, encoded. */
interface Piece {
  /** In the order of the snapshot's encodings. */
  readonly forms: readonly Buffer[];
  readonly bytes: number;
}

/** How long one recipient may delay others in total before it ends as `lagging`, in ms. */
const DELAY_MS_MAX = 1_000;
/**
 * How long a recipient of a finished read may accept none of it, in ms. Its socket may accept other
 * bytes meanwhile.
 */
const UNSENT_MS = 250;

export interface SharedSnapshotOptions {
  /** Maximum bytes of pieces that wait for the slowest recipient. */
  readonly windowBytesMax: number;
  readonly now: () => number;
  /** Called when a snapshot's last recipient has left. */
  readonly onEmpty: (snapshot: SharedSnapshot) => void;
}

export class SharedSnapshot implements RowSink {
  readonly channel: ResolvedChannel;
  /** The query that reads it together with other channels. Undefined: it is read on its own. */
  many: string | undefined;
  /** The address that it counts for while it waits. */
  address: string | undefined;
  readonly #options: SharedSnapshotOptions;
  readonly #recipients = new Set<Recipient>();
  readonly #window = new Deque<Piece>();
  #windowBytes = 0;
  /** Number of the first piece in the window. */
  #first = 0;
  #hasBegun = false;
  /** The encodings that the recipients use. Known once the snapshot is taken. */
  #encodings: readonly Encoding[] = [];
  /**
   * Resolves when every received piece is in the window. Pieces are added in order, though other
   * threads encode them. Undefined: no piece was encoded on another thread.
   */
  #encoded: Promise<unknown> | undefined;
  #isWhole = false;
  #roomMade: (() => void) | undefined;
  /** Since when a recipient that has the whole window waits for slower ones. */
  #waitedSince: number | undefined;

  constructor(channel: ResolvedChannel, many: string | undefined, options: SharedSnapshotOptions) {
    this.channel = channel;
    this.many = many;
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
    const recipient = new Recipient(sink, this);
    this.#recipients.add(recipient);
    return recipient;
  }

  /** The recipient no longer wants the snapshot. */
  left(recipient: Recipient): void {
    this.#remove(recipient, 'left');
  }

  begin(visibility: Visibility): boolean {
    this.#hasBegun = true;
    for (const recipient of [...this.#recipients]) {
      if (recipient.sink.begin(visibility)) continue;
      this.#recipients.delete(recipient);
      recipient.end('again');
    }
    const encodings: Encoding[] = [];
    for (const recipient of this.#recipients) {
      const { encoding } = recipient.sink;
      const known = encodings.indexOf(encoding);
      recipient.form = known < 0 ? encodings.push(encoding) - 1 : known;
    }
    this.#encodings = encodings;
    return !this.isEmpty;
  }

  piece(payload: Payload): Promise<void> | undefined {
    const forms: (Buffer | Promise<Buffer>)[] = [];
    for (const encoding of this.#encodings) forms.push(encoding.snapshot(payload, this.channel.name));
    if (this.#encoded === undefined && areReady(forms)) return this.#add(forms);
    return this.#addLater(forms);
  }

  #addLater(forms: readonly (Buffer | Promise<Buffer>)[]): Promise<void> {
    const before = this.#encoded;
    const added = (async () => {
      const all = await Promise.all(forms.map(async (form) => form));
      await before;
      return { room: this.#add(all) };
    })();
    this.#encoded = added;
    return added.then(({ room }) => room);
  }

  #add(forms: readonly Buffer[]): Promise<void> | undefined {
    const bytes = bytesOf(forms);
    this.#window.push({ forms, bytes });
    this.#windowBytes += bytes;
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

  /** All pieces have arrived. */
  finish(): void {
    if (this.#encoded === undefined) this.#endWhole();
    else void this.#encoded.then(() => this.#endWhole());
  }

  #endWhole(): void {
    this.#isWhole = true;
    for (const recipient of [...this.#recipients]) this.#endIfWhole(recipient);
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
      const { sink, next } = recipient;
      const { pendingBytes } = sink;
      const isUnsent = this.#isWhole && next === 0 && !sink.waitsForAccess;
      const hasMoved = pendingBytes !== recipient.pendingBytes && !isUnsent;
      if (!recipient.isBlocked || hasMoved) recipient.movedAt = now;
      recipient.pendingBytes = pendingBytes;
      if (now - recipient.movedAt >= (isUnsent ? UNSENT_MS : stallMs)) this.#remove(recipient, behind(recipient));
    }
    this.#makeRoom();
  }

  /**
   * Ends all recipients: the read has taken too long. A recipient that has taken all that was read
   * waits for the database, so its request fails.
   */
  giveUp(): void {
    const { name } = this.channel;
    for (const recipient of [...this.#recipients])
      if (recipient.isBlocked) this.#remove(recipient, behind(recipient));
      else {
        recipient.fail(new SnoError('try_again', `reading the rows of ${name} took too long`));
        this.left(recipient);
      }
  }

  /**
   * Ends the recipients for which nothing was written, and whose sockets are full. Returns whether
   * any recipient is left.
   */
  dropFull(): boolean {
    for (const recipient of [...this.#recipients])
      if (recipient.next === 0 && recipient.sink.isFull) this.#remove(recipient, 'later');
    return !this.isEmpty;
  }

  get #end(): number {
    return this.#first + this.#window.length;
  }

  get #isFull(): boolean {
    return this.#windowBytes >= this.#options.windowBytesMax;
  }

  #serve(recipient: Recipient): void {
    const { sink } = recipient;
    while (!recipient.isBlocked && recipient.next < this.#end) {
      const ready = sink.ready();
      if (ready === undefined) {
        // The client has received nothing of it: another snapshot can be taken.
        if (recipient.next === 0 && sink.isOutdated) return this.#remove(recipient, 'again');
        const { forms } = this.#window.at(recipient.next++ - this.#first) as Piece;
        sink.write(forms[recipient.form] as Buffer);
        continue;
      }
      recipient.isBlocked = true;
      recipient.movedAt = this.#options.now();
      recipient.pendingBytes = sink.pendingBytes;
      void ready.then(() => this.#unblocked(recipient));
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
    if (this.isEmpty) this.#emptied();
    else this.#makeRoom();
  }

  /** Recipients that left may still wait for their sockets. The pieces must not wait with them. */
  #emptied(): void {
    this.#dropReceived();
    this.#options.onEmpty(this);
  }

  /**
   * If the window is full, drops the pieces that every recipient has, and ends recipients that
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
        settle(recipient, behind(recipient));
      }
      if (this.isEmpty) return this.#emptied();
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
    for (; this.#first < slowest; this.#first++) this.#windowBytes -= (this.#window.shift() as Piece).bytes;
  }
}

/** Returns the outcome of a blocked recipient that is left behind. */
function behind({ next, sink }: Recipient): Outcome {
  return next === 0 && !sink.waitsForAccess ? 'later' : 'lagging';
}

/** Counts forms that lie in the same memory once. */
function bytesOf(forms: readonly Buffer[]): number {
  if (forms.length === 1) return (forms[0] as Buffer).length;
  const own = forms.filter((form, at) => forms.findIndex((other) => isSame(other, form)) === at);
  return own.reduce((bytes, { length }) => bytes + length, 0);
}

function areReady(forms: readonly (Buffer | Promise<Buffer>)[]): forms is readonly Buffer[] {
  return forms.every(Buffer.isBuffer);
}

function isSame(one: Buffer, other: Buffer): boolean {
  return one.buffer === other.buffer && one.byteOffset === other.byteOffset;
}
