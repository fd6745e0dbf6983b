/**
 * Builds the entries of a commit. It gathers the commit's events by channel, writes each channel's
 * `changes` once, as JSON text, and appends them to the journal. A commit beyond
 * `commitBytesMax` is sent in parts, so that its size never decides how much memory is needed.
 */

import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ClaimValue, EventSink } from '../channels/events.ts';
import { assert } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import { ByteWriter } from '../memory/byte-writer.ts';
import { appendOldValues } from '../memory/old-values.ts';
import type { Payload } from '../memory/payload.ts';
import { COMMIT_END_INDEX, formatPosition, type Position } from '../position.ts';
import { formatMicroseconds, millisecondsOf } from '../postgres/commit-time.ts';
import { Chain, type Message, type Share } from './channel-events.ts';
import type { Batch, Entry, Mark } from './entry.ts';
import type { Head } from './head.ts';
import { CommitMarks } from './marks.ts';
import {
  type CommitFacts,
  changesHead,
  changesPayload,
  messageHead,
  messagePayload,
  oldValuesBeside,
  TRUNCATE,
  textMessagePayload,
} from './payloads.ts';
import { Runs } from './runs.ts';
import { Shares } from './shares.ts';

/** The destination of batches. */
export interface BatchSink {
  append(batch: Batch): void;
  /**
   * Whether the channel is subscribed or in the journal. If neither, no client has received, or can
   * still receive, what was appended. Undefined: this process does not know.
   */
  knows(channel: string): boolean | undefined;
}

/** The place in a history up to which everything has been appended. */
export interface HistoryPlace extends Pick<Head, 'epoch' | 'frontier' | 'wholeSequence' | 'openXid'> {
  readonly head: Position;
  /** Sequences continue after this one. */
  readonly sequence: number;
  /** Number of parts of the open commit that have been appended. */
  readonly openParts: number;
}

/**
 * Maximum channels in a part of a commit. `commitBytesMax` does not count what each channel needs.
 */
const PART_CHANNELS_MAX = 8_192;
/**
 * Maximum tracked channels of a commit in parts, before channels that are neither subscribed nor in
 * the journal are dropped.
 */
const OPEN_CHANNELS_MAX = 4 * PART_CHANNELS_MAX;
const NOT_INTERRUPTED = { commitLsn: -1, parts: 0, xid: 0 };
/**
 * Parts before the last have the LSN of the commit record plus this, since the commit's end is not
 * known yet. The previous commit may end where the commit record starts. LSNs of Postgres are
 * multiples of 8, so nothing else has this LSN.
 */
const PART_OFFSET = 1;
const COMMA = 0x2c;
/** Bytes of `},`, which ends an event. */
const EVENT_END_BYTES = 2;
const NO_COMMIT: CommitFacts = { epoch: '', xid: 0, committedAt: '', trace: '' };

export class CommitBuilder implements EventSink, Head {
  readonly bytes = new ByteWriter(1 << 16);
  readonly #sink: BatchSink;
  readonly #commitBytesMax: number;
  #epoch = '';
  #sequence = 0;
  /** End of the last whole commit, or a keepalive's position after it. */
  #headLsn: Lsn = 0;
  #notifications = 0;
  #wholeSequence = 0;

  #facts: CommitFacts = NO_COMMIT;
  /** The trace that the commit belongs to. */
  #traceparent: string | undefined;
  #commitLsn: Lsn = 0;
  #committedAtMs = 0;
  #inCommit = false;
  #parts = 0;
  /** A commit that the previous stream did not finish: how many of its parts were appended. */
  #interrupted = NOT_INTERRUPTED;
  /** Patterns whose subscribers are reset at the end of the interrupted commit. */
  #voided: readonly string[] = [];
  /** Notifications that arrived while a commit was partly appended: they wait for its end. */
  #waiting: (() => void)[] = [];

  readonly #shares: Shares;
  /** The events of this part. */
  readonly #runs = new Runs();
  /** The records of their old values. */
  readonly #old = new ByteWriter();
  readonly #oldRuns = new Runs();
  /** Bytes of messages that wait for the commit's end. */
  #messageBytes = 0;
  readonly #marks = new CommitMarks(() => ++this.#sequence);

  /** `openChannelsMax`: see OPEN_CHANNELS_MAX. */
  constructor(sink: BatchSink, commitBytesMax: number, openChannelsMax = OPEN_CHANNELS_MAX) {
    this.#sink = sink;
    this.#commitBytesMax = commitBytesMax;
    this.#shares = new Shares(openChannelsMax, (share) => {
      if (this.#marks.isTruncated(share.pattern)) this.#linkTruncate(share);
    });
  }

  /** Everything up to it has been appended, in whole commits. */
  get head(): Position {
    return { lsn: this.#headLsn, index: COMMIT_END_INDEX + this.#notifications };
  }

  /**
   * No appended entry lies after it: the head, or the parts of a commit whose end has not arrived.
   */
  get frontier(): Position {
    const { commitLsn } = this.#partlySent();
    return commitLsn < 0 ? this.head : { lsn: commitLsn + PART_OFFSET, index: COMMIT_END_INDEX };
  }

  get headText(): string {
    return formatPosition(this.#epoch, this.#headLsn, COMMIT_END_INDEX + this.#notifications);
  }

  get epoch(): string {
    return this.#epoch;
  }

  /**
   * The sequence of the last batch of a whole commit. Parts of an unfinished commit come after it.
   */
  get wholeSequence(): number {
    return this.#wholeSequence;
  }

  /** The sequence of the last entry or mark. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Number of parts of the open commit that have been appended. */
  get openParts(): number {
    return this.#partlySent().parts;
  }

  /** The transaction whose parts have been appended without its end. 0: none. */
  get openXid(): number {
    return this.#partlySent().xid;
  }

  /** Patterns whose channels of the open commit are no longer tracked. */
  get forgotten(): ReadonlySet<string> {
    return this.#shares.forgotten;
  }

  /** Whether the channel may have received parts of a commit whose end has not arrived. */
  isOpen(pattern: string, channel: string): boolean {
    if (!this.#inCommit || this.#parts === 0) return false;
    return (this.#shares.get(channel)?.parts ?? 0) > 0 || this.#shares.forgotten.has(pattern);
  }

  /** Starts a history at `from`. Everything before it is unknown. */
  startEpoch(epoch: string, from: Lsn): void {
    this.#abandon();
    this.#interrupted = NOT_INTERRUPTED;
    this.#waiting = [];
    this.#epoch = epoch;
    this.#headLsn = from;
    this.#notifications = 0;
    this.#wholeSequence = this.#sequence;
  }

  /**
   * Continues a history that another process has read up to this place. The next stream may send an
   * unfinished commit again.
   */
  continueFrom(place: HistoryPlace): void {
    const { epoch, head, frontier, sequence, wholeSequence, openXid, openParts } = place;
    this.#epoch = epoch;
    this.#headLsn = head.lsn;
    this.#notifications = Math.max(0, head.index - COMMIT_END_INDEX);
    this.#sequence = sequence;
    this.#wholeSequence = wholeSequence;
    this.#interrupted =
      openParts === 0 ? NOT_INTERRUPTED : { commitLsn: frontier.lsn - PART_OFFSET, parts: openParts, xid: openXid };
  }

  /** Sequences begin after this one. */
  countFrom(sequence: number): void {
    this.#sequence = sequence;
    this.#wholeSequence = sequence;
  }

  /**
   * Call if the parts of the unfinished commit were made by other definitions or settings. Its
   * remaining parts are not sent: at its end the subscribers of these patterns are reset.
   */
  voidOpenCommit(patterns: Iterable<string>): void {
    this.#voided = [...patterns];
  }

  /**
   * Continues the same history on a new stream, which sends an unfinished commit again from its
   * start.
   */
  resumeEpoch(): void {
    this.#interrupted = this.#partlySent();
    this.#abandon();
  }

  begin(xid: number, commitLsn: Lsn, committedAt: number): boolean {
    assert(!this.#inCommit, 'a commit began within another');
    if (commitLsn < this.#headLsn) return false;
    this.#inCommit = true;
    this.#facts = { epoch: this.#epoch, xid, committedAt: formatMicroseconds(committedAt), trace: '' };
    this.#traceparent = undefined;
    this.#commitLsn = commitLsn;
    this.#committedAtMs = millisecondsOf(committedAt);
    this.#parts = 0;
    if (commitLsn === this.#interrupted.commitLsn)
      for (const pattern of this.#voided) this.redefined(pattern, 'changed');
    return true;
  }

  event(pattern: string, channel: ByteWriter, start: number, old?: ByteWriter): void {
    const end = this.#closeEvent();
    const share = this.#shares.named(pattern, channel);
    if (old !== undefined) this.#addOld(share, old, share.events.bytes + end - EVENT_END_BYTES - start);
    this.#runs.add(share.events, start, end);
    if (this.bytes.length + this.#old.length > this.#commitBytesMax || this.#runs.channels >= PART_CHANNELS_MAX)
      this.#flushPart();
  }

  trace(traceparent: string): void {
    this.#traceparent = traceparent;
    this.#facts = { ...this.#facts, trace: `"trace":"${traceparent}",` };
  }

  truncate(pattern: string): void {
    this.#marks.truncate(pattern);
    for (const share of this.#shares) if (share.pattern === pattern) this.#linkTruncate(share);
  }

  message(pattern: string, channel: string, event: string, start: number, except?: string): void {
    const end = this.bytes.length;
    this.#shares.of(pattern, channel).messages.push({ event, start, end, except });
    this.#messageBytes += end - start;
    if (this.bytes.length > this.#commitBytesMax) this.#flushPart();
  }

  incomplete(pattern: string, channel: ByteWriter): void {
    if (this.#marks.areIncompleteMany) this.redefined(pattern, 'changed');
    else this.#marks.incomplete(this.#shares.named(pattern, channel));
  }

  touched(pattern: string): void {
    this.#marks.touched(pattern);
  }

  recheck(schema: AccessSchema, pattern: string, channel?: string, claim?: ClaimValue): void {
    this.#marks.recheck(schema, pattern, channel, claim);
  }

  redefined(pattern: string, how: 'changed' | 'dropped'): void {
    this.#marks.redefined(pattern, how);
  }

  commit(endLsn: Lsn): void {
    assert(this.#inCommit, 'a commit ended that had not begun');
    const after = this.#headLsn;
    this.#headLsn = endLsn;
    this.#notifications = 0;
    const firstSequence = this.#sequence + 1;
    const entries = this.#entries(endLsn, true);
    const marks = this.#marks.atEnd(this.#facts, endLsn);
    this.#wholeSequence = this.#sequence;
    if (entries.length > 0 || marks.length > 0) this.#append(0, firstSequence, entries, marks, after);
    this.#interrupted = NOT_INTERRUPTED;
    this.#voided = [];
    this.#abandon();
    for (const append of this.#waiting.splice(0)) append();
  }

  /** Everything before `end` has arrived. Moves the head there, unless a commit is open. */
  keepalive(end: Lsn): void {
    if (this.#inCommit || end <= this.#headLsn) return;
    this.#headLsn = end;
    this.#notifications = 0;
  }

  /**
   * Appends a message sent by pg_notify. It belongs to no commit and is ordered only among such
   * messages. `data` is JSON text.
   */
  notification(pattern: string, channel: string, event: string, data: string): void {
    // The message has a position of its own after the head.
    const append = () => {
      const lsn = this.#headLsn;
      const index = COMMIT_END_INDEX + ++this.#notifications;
      const head = messageHead(channel, formatPosition(this.#epoch, lsn, index), event);
      const payload = textMessagePayload(head, data);
      const sequence = ++this.#sequence;
      // No part of an unfinished commit is before it.
      this.#wholeSequence = sequence;
      const entry = { channel, pattern, payload, xid: 0, sequence, lsn, index };
      this.#sink.append({
        part: 0,
        firstSequence: sequence,
        xid: 0,
        after: lsn,
        entries: [entry],
        marks: [],
        committedAt: 0,
      });
    };
    // If a commit is partly appended, the message waits until that commit is whole.
    if (this.#partlySent().parts > 0) this.#waiting.push(append);
    else append();
  }

  /**
   * The unfinished commit: parts of it were appended, by this stream or an earlier one, but its end
   * was not.
   */
  #partlySent(): { readonly commitLsn: Lsn; readonly parts: number; readonly xid: number } {
    const before = this.#interrupted;
    if (!this.#inCommit || this.#parts === 0) return before;
    const parts = before.commitLsn === this.#commitLsn ? Math.max(before.parts, this.#parts) : this.#parts;
    return { commitLsn: this.#commitLsn, parts, xid: this.#facts.xid };
  }

  #append(part: number, firstSequence: number, entries: readonly Entry[], marks: readonly Mark[], after: Lsn): void {
    const { xid } = this.#facts;
    const batch = { part, firstSequence, xid, after, entries, marks, committedAt: this.#committedAtMs };
    this.#sink.append(this.#traceparent === undefined ? batch : { ...batch, trace: this.#traceparent });
  }

  /**
   * Adds a comma after each event, so that a run of events can be copied unchanged. Returns where
   * the event ends.
   */
  #closeEvent(): number {
    this.bytes.byte(COMMA);
    return this.bytes.length;
  }

  /** Adds the record of an event's old values. `place`: where in the share's events they belong. */
  #addOld(share: Share, record: ByteWriter, place: number): void {
    const start = this.#old.length;
    appendOldValues(this.#old, record, place);
    share.old ??= new Chain();
    this.#oldRuns.add(share.old, start, this.#old.length);
  }

  #linkTruncate(share: Share): void {
    const start = this.bytes.length;
    this.bytes.append(TRUNCATE);
    this.#runs.add(share.events, start, this.#closeEvent());
  }

  /** Appends the gathered part of a commit whose end has not arrived. */
  #flushPart(): void {
    this.#parts++;
    const firstSequence = this.#sequence + 1;
    const entries = this.#entries(this.#commitLsn + PART_OFFSET, false);
    // Already appended, before the connection broke and the new stream began this commit again.
    const isRepeated = this.#interrupted.commitLsn === this.#commitLsn && this.#parts <= this.#interrupted.parts;
    const cut = this.#shares.areTooMany ? this.#forget() : [];
    if (!isRepeated) {
      const lsn = this.#commitLsn + PART_OFFSET;
      // Marks are sent at once, so that no more of the commit reaches clients that may lose access.
      const { xid } = this.#facts;
      const marks = [...this.#marks.rechecks(xid, lsn), ...this.#marks.cut(cut, xid, lsn)];
      if (entries.length > 0 || marks.length > 0)
        this.#append(this.#parts, firstSequence, entries, marks, this.#headLsn);
    }
    this.#compactMessages();
  }

  #forget(): Iterable<string> {
    return this.#shares.forget(
      (channel) => this.#sink.knows(channel),
      (share) => share.messages.length > 0 || this.#marks.isIncomplete(share),
    );
  }

  /**
   * Keeps only the text of messages that wait for the commit's end: everything else is in the part
   * that was just appended.
   */
  #compactMessages(): void {
    const kept = new ByteWriter();
    for (const share of this.#shares) {
      share.messages = share.messages.map(({ start, end, ...message }) => {
        const from = kept.length;
        kept.copy(this.bytes.buffer, start, end);
        return { ...message, start: from, end: kept.length };
      });
    }
    this.bytes.clear(this.#commitBytesMax);
    this.bytes.copy(kept.buffer, 0, kept.length);
    this.#clearRuns();
  }

  #entries(lsn: Lsn, isLast: boolean): Entry[] {
    const entries: Entry[] = [];
    const areMany = this.#messageBytes > this.#commitBytesMax / 2;
    for (const share of this.#shares) {
      if (this.#marks.areReset(share)) {
        this.#discard(share);
        continue;
      }
      if (share.events.bytes > 0 || (isLast && share.parts > 0)) entries.push(this.#changes(share, lsn, isLast));
      // Rows come before messages. In a commit in parts, messages wait for its end, unless they
      // become too many.
      if (isLast || areMany)
        for (const message of share.messages.splice(0)) entries.push(this.#message(share, message, lsn, isLast));
    }
    return entries;
  }

  /** Discards the channel's events and messages. Its subscribers are reset at the commit's end. */
  #discard(share: Share): void {
    share.clear();
    for (const { start, end } of share.messages.splice(0)) this.#messageBytes -= end - start;
  }

  #changes(share: Share, lsn: Lsn, isLast: boolean): Entry {
    const index = share.indexOfChanges(isLast);
    const inParts = !isLast || share.parts > 0;
    if (inParts) share.parts++;
    const part = inParts ? `"part":${share.parts},"last":${isLast},` : '';
    const position = formatPosition(this.#epoch, lsn, index);
    const head = changesHead(this.#facts, share.channel, position, isLast ? lsn : this.#commitLsn, part);
    const payload = changesPayload(head, share, this.#runs, this.bytes);
    const old = oldValuesBeside(head, share, this.#oldRuns, this.#old);
    share.clear();
    return this.#entry(share, payload, lsn, index, old);
  }

  #message(share: Share, message: Message, lsn: Lsn, isLast: boolean): Entry {
    const index = share.indexOfMessage(isLast);
    this.#messageBytes -= message.end - message.start;
    const position = formatPosition(this.#epoch, lsn, index);
    const head = messageHead(share.channel, position, message.event, this.#facts.trace);
    return this.#entry(share, messagePayload(head, message, this.bytes), lsn, index, undefined, message.except);
  }

  #entry(share: Share, payload: Payload, lsn: Lsn, index: number, old?: Buffer, except?: string): Entry {
    return {
      channel: share.channel,
      pattern: share.pattern,
      payload,
      old,
      except,
      xid: this.#facts.xid,
      sequence: ++this.#sequence,
      lsn,
      index,
    };
  }

  #abandon(): void {
    this.#inCommit = false;
    this.bytes.clear(this.#commitBytesMax);
    this.#shares.clear();
    this.#clearRuns();
    this.#messageBytes = 0;
    this.#marks.clear();
  }

  #clearRuns(): void {
    this.#runs.clear();
    this.#oldRuns.clear();
    this.#old.clear(this.#commitBytesMax);
  }
}
