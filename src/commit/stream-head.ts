/**
 * Where the stream is. The builder moves the head with each part and each commit. Gateways, the
 * relay and acknowledgements read it.
 */
import type { Lsn } from '../lsn.ts';
import { COMMIT_END_INDEX, formatPosition, type Position } from '../position.ts';
import type { Head } from './head.ts';
import type { Shares } from './shares.ts';

/** The place in a history up to which everything has been appended. */
export interface HistoryPlace extends Pick<Head, 'epoch' | 'frontier' | 'wholeSequence' | 'openXid'> {
  readonly head: Position;
  /** Sequences continue after this one. */
  readonly sequence: number;
  /** Number of parts of the open commit that have been appended. */
  readonly openParts: number;
}

/** A commit of which parts were appended, but not its end. */
interface UnfinishedCommit {
  readonly commitLsn: Lsn;
  readonly parts: number;
  readonly xid: number;
}

const NO_COMMIT: UnfinishedCommit = { commitLsn: -1, parts: 0, xid: 0 };
/**
 * Parts before the last have the LSN of the commit record plus this, since the commit's end is not
 * known yet. The previous commit may end where the commit record starts. LSNs of Postgres are
 * multiples of 8, so nothing else has this LSN.
 */
const PART_OFFSET = 1;

export class StreamHead implements Head {
  /** The channels of the commit that is being read. */
  readonly #shares: Shares;
  #epoch = '';
  #sequence = 0;
  /** End of the last whole commit, or a keepalive's position after it. */
  #lsn: Lsn = 0;
  #notifications = 0;
  /** The last `headText`, and what it was made of. */
  readonly #text = { epoch: '', lsn: -1, notifications: 0, text: '' };
  #wholeSequence = 0;
  #isInCommit = false;
  #commitLsn: Lsn = 0;
  #xid = 0;
  /** Number of parts of the commit that is being read. */
  #parts = 0;
  /** A commit that the previous stream did not finish. */
  #interrupted = NO_COMMIT;

  constructor(shares: Shares) {
    this.#shares = shares;
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** Everything up to it has been appended, in whole commits. */
  get head(): Position {
    return { lsn: this.#lsn, index: COMMIT_END_INDEX + this.#notifications };
  }

  /** Made once: thousands of subscriptions may begin at one place. */
  get headText(): string {
    const text = this.#text;
    if (text.lsn !== this.#lsn || text.notifications !== this.#notifications || text.epoch !== this.#epoch) {
      text.epoch = this.#epoch;
      text.lsn = this.#lsn;
      text.notifications = this.#notifications;
      text.text = formatPosition(this.#epoch, this.#lsn, COMMIT_END_INDEX + this.#notifications);
    }
    return text.text;
  }

  /** The LSN of the head. */
  get lsn(): Lsn {
    return this.#lsn;
  }

  /**
   * No appended entry lies after it: the head, or the parts of a commit whose end has not arrived.
   */
  get frontier(): Position {
    const { commitLsn } = this.unfinished;
    return commitLsn < 0 ? this.head : { lsn: commitLsn + PART_OFFSET, index: COMMIT_END_INDEX };
  }

  /** The sequence of the last entry or mark. */
  get sequence(): number {
    return this.#sequence;
  }

  /**
   * The sequence of the last batch of a whole commit. Parts of an unfinished commit come after it.
   */
  get wholeSequence(): number {
    return this.#wholeSequence;
  }

  /** Number of parts of the open commit that have been appended. */
  get openParts(): number {
    return this.unfinished.parts;
  }

  /** The transaction whose parts have been appended without its end. 0: none. */
  get openXid(): number {
    return this.unfinished.xid;
  }

  /** Patterns whose channels of the open commit are no longer tracked. */
  get forgotten(): ReadonlySet<string> {
    return this.#shares.forgotten;
  }

  /** Whether the channel may have received parts of a commit whose end has not arrived. */
  isOpen(pattern: string, channel: string): boolean {
    if (!this.#isInCommit || this.#parts === 0) return false;
    return (this.#shares.get(channel)?.parts ?? 0) > 0 || this.#shares.forgotten.has(pattern);
  }

  /**
   * The unfinished commit: parts of it were appended, by this stream or an earlier one, but its end
   * was not.
   */
  get unfinished(): UnfinishedCommit {
    const before = this.#interrupted;
    if (!this.#isInCommit || this.#parts === 0) return before;
    const parts = this.isResumed ? Math.max(before.parts, this.#parts) : this.#parts;
    return { commitLsn: this.#commitLsn, parts, xid: this.#xid };
  }

  // The commit that is being read:

  get isInCommit(): boolean {
    return this.#isInCommit;
  }

  /** The LSN of its record. */
  get commitLsn(): Lsn {
    return this.#commitLsn;
  }

  /** The LSN of its parts before the last. */
  get partLsn(): Lsn {
    return this.#commitLsn + PART_OFFSET;
  }

  /** Number of its parts so far. */
  get parts(): number {
    return this.#parts;
  }

  /** Whether the previous stream did not finish it. */
  get isResumed(): boolean {
    return this.#interrupted.commitLsn === this.#commitLsn;
  }

  /** Whether its newest part was appended before the connection broke. */
  get isRepeated(): boolean {
    return this.isResumed && this.#parts <= this.#interrupted.parts;
  }

  // The builder moves the head:

  /** Starts a history at `from`. Everything before it is unknown. */
  start(epoch: string, from: Lsn): void {
    this.#interrupted = NO_COMMIT;
    this.#isInCommit = false;
    this.#epoch = epoch;
    this.#lsn = from;
    this.#notifications = 0;
    this.#wholeSequence = this.#sequence;
  }

  /** Continues a history that another process has read up to this place. */
  continueFrom(place: HistoryPlace): void {
    const { epoch, head, frontier, sequence, wholeSequence, openXid, openParts } = place;
    this.#epoch = epoch;
    this.#lsn = head.lsn;
    this.#notifications = Math.max(0, head.index - COMMIT_END_INDEX);
    this.#sequence = sequence;
    this.#wholeSequence = wholeSequence;
    this.#interrupted =
      openParts === 0 ? NO_COMMIT : { commitLsn: frontier.lsn - PART_OFFSET, parts: openParts, xid: openXid };
  }

  /** Sequences begin after this one. */
  countFrom(sequence: number): void {
    this.#sequence = sequence;
    this.#wholeSequence = sequence;
  }

  /** A new stream continues this history, and sends an unfinished commit again from its start. */
  resume(): void {
    this.#interrupted = this.unfinished;
    this.#isInCommit = false;
  }

  beginCommit(xid: number, commitLsn: Lsn): void {
    this.#isInCommit = true;
    this.#xid = xid;
    this.#commitLsn = commitLsn;
    this.#parts = 0;
  }

  beginPart(): number {
    return ++this.#parts;
  }

  /** Returns the sequence of the next entry or mark. */
  nextSequence(): number {
    return ++this.#sequence;
  }

  /** Everything before `lsn` has arrived. */
  moveTo(lsn: Lsn): void {
    this.#lsn = lsn;
    this.#notifications = 0;
  }

  /** Returns the index of the next notification. */
  nextNotification(): number {
    return COMMIT_END_INDEX + ++this.#notifications;
  }

  /** No part of an unfinished commit is before the last entry or mark. */
  markWhole(): void {
    this.#wholeSequence = this.#sequence;
  }

  /** The end of the commit that is being read has been appended. */
  endCommit(): void {
    this.#interrupted = NO_COMMIT;
    this.#isInCommit = false;
  }
}
