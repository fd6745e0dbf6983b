/**
 * Builds the entries of a commit. It gathers the commit's events by channel, writes each channel's
 * `changes` once, as JSON text, and appends them to the journal. A commit beyond
 * `commitBytesMax` is sent in parts, so that its size never decides how much memory is needed.
 */

import type { AccessSchema } from '../channels/catalog/catalog.ts';
import type { ClaimValue } from '../channels/events.ts';
import { assert } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import { ByteWriter } from '../memory/byte-writer.ts';
import { appendOldValues } from '../memory/old-values.ts';
import type { Payload } from '../memory/payload.ts';
import { formatPosition } from '../position.ts';
import { formatMicroseconds, millisecondsOf } from '../postgres/commit-time.ts';
import { Chain, type Message, type Share } from './channel-events.ts';
import type { Batch, Entry, Mark } from './entry.ts';
import { CommitMarks } from './marks.ts';
import { isPartFull, PART_CHANNELS_MAX } from './part-limit.ts';
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
import type { GatheredPlaces, GatheredSink } from './recording.ts';
import { Runs } from './runs.ts';
import { Shares } from './shares.ts';
import { StreamHead } from './stream-head.ts';

/** The destination of batches. */
export interface BatchSink {
  append(batch: Batch): void;
  /**
   * Whether the channel is subscribed or in the journal. If neither, no client has received, or can
   * still receive, what was appended. Undefined: this process does not know.
   */
  knows(channel: string): boolean | undefined;
}

/**
 * Maximum tracked channels of a commit in parts, before channels that are neither subscribed nor in
 * the journal are dropped.
 */
const OPEN_CHANNELS_MAX = 4 * PART_CHANNELS_MAX;
const COMMA = 0x2c;
/** Bytes of `},`, which ends an event. */
const EVENT_END_BYTES = 2;
/** Shared by all batches without marks, which is nearly all. */
const NO_MARKS: readonly Mark[] = [];
const NO_COMMIT: CommitFacts = { epoch: '', xid: 0, committedAt: '', trace: '' };

export class CommitBuilder implements GatheredSink {
  readonly bytes = new ByteWriter(1 << 16);
  readonly head: StreamHead;
  readonly #sink: BatchSink;
  readonly #commitBytesMax: number;
  #facts: CommitFacts = NO_COMMIT;
  /** The trace that the commit belongs to. */
  #traceparent: string | undefined;
  #committedAtMs = 0;
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
  readonly #marks = new CommitMarks(() => this.head.nextSequence());
  /** See `defineAtEnd`. */
  #define: (() => void) | undefined;

  /** `openChannelsMax`: see OPEN_CHANNELS_MAX. */
  constructor(sink: BatchSink, commitBytesMax: number, openChannelsMax = OPEN_CHANNELS_MAX) {
    this.#sink = sink;
    this.#commitBytesMax = commitBytesMax;
    this.#shares = new Shares(openChannelsMax, (share) => {
      if (this.#marks.isTruncated(share.pattern)) this.#linkTruncate(share);
    });
    this.head = new StreamHead(this.#shares);
  }

  /** Starts a history at `from`. Everything before it is unknown. */
  startEpoch(epoch: string, from: Lsn): void {
    this.head.start(epoch, from);
    this.#abandon();
    this.#waiting = [];
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
    this.head.resume();
    this.#abandon();
  }

  begin(xid: number, commitLsn: Lsn, committedAt: number): boolean {
    assert(!this.head.isInCommit, 'a commit began within another');
    if (commitLsn < this.head.lsn) return false;
    this.head.beginCommit(xid, commitLsn);
    this.#facts = { epoch: this.head.epoch, xid, committedAt: formatMicroseconds(committedAt), trace: '' };
    this.#traceparent = undefined;
    this.#committedAtMs = millisecondsOf(committedAt);
    if (this.head.isResumed) for (const pattern of this.#voided) this.redefined(pattern, 'changed');
    return true;
  }

  event(pattern: string, channel: ByteWriter, start: number, old?: ByteWriter): void {
    const end = this.#closeEvent();
    const share = this.#shares.named(pattern, channel);
    if (old !== undefined) this.#addOld(share, old, share.events.bytes + end - EVENT_END_BYTES - start);
    this.#runs.add(share.events, start, end);
    if (this.#isPartFull) this.#flushPart();
  }

  get partBytesMax(): number {
    return this.#commitBytesMax;
  }

  gathered(pattern: string, channel: ByteWriter, source: Buffer, { old, events, end }: GatheredPlaces): void {
    const share = this.#shares.named(pattern, channel);
    const start = this.bytes.length;
    this.bytes.copy(source, events, end);
    this.#runs.add(share.events, start, this.bytes.length);
    if (old === events) return;
    const oldStart = this.#old.length;
    this.#old.copy(source, old, events);
    share.old ??= new Chain();
    this.#oldRuns.add(share.old, oldStart, this.#old.length);
  }

  endGatheredPart(): void {
    assert(this.#isPartFull, 'a part that was gathered ends where the builder ends it');
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

  /**
   * The commit changes the definitions. `define` is called right before its end is appended: a
   * client that subscribes by them earlier is reset by this commit. If access must be checked again
   * before the end, it is called then: the check needs them.
   */
  defineAtEnd(define: () => void): void {
    assert(this.head.isInCommit, 'definitions change within a commit');
    this.#define = define;
  }

  commit(endLsn: Lsn): void {
    const { head } = this;
    assert(head.isInCommit, 'a commit ended that had not begun');
    const after = head.lsn;
    head.moveTo(endLsn);
    const firstSequence = head.sequence + 1;
    const entries = this.#entries(endLsn, true);
    const marks = this.#marks.atEnd(this.#facts, endLsn);
    head.markWhole();
    this.#defineNow();
    if (entries.length > 0 || marks.length > 0) this.#append(0, firstSequence, entries, marks, after);
    this.#voided = [];
    head.endCommit();
    this.#abandon();
    for (const append of this.#waiting.splice(0)) append();
  }

  /** Everything before `end` has arrived. Moves the head there, unless a commit is open. */
  keepalive(end: Lsn): void {
    if (!this.head.isInCommit && end > this.head.lsn) this.head.moveTo(end);
  }

  /**
   * Appends a message sent by pg_notify. It belongs to no commit and is ordered only among such
   * messages. `data` is JSON text.
   */
  notification(pattern: string, channel: string, event: string, data: string): void {
    // The message has a position of its own after the head.
    const append = () => {
      const { lsn, epoch } = this.head;
      const index = this.head.nextNotification();
      const payload = textMessagePayload(messageHead(channel, formatPosition(epoch, lsn, index), event), data);
      const sequence = this.head.nextSequence();
      this.head.markWhole();
      const entry = { channel, pattern, payload, xid: 0, sequence, lsn, index };
      this.#sink.append({
        part: 0,
        firstSequence: sequence,
        xid: 0,
        after: lsn,
        entries: [entry],
        marks: NO_MARKS,
        committedAt: 0,
      });
    };
    // If a commit is partly appended, the message waits until that commit is whole.
    if (this.head.openParts > 0) this.#waiting.push(append);
    else append();
  }

  #defineNow(): void {
    this.#define?.();
    this.#define = undefined;
  }

  #append(part: number, firstSequence: number, entries: readonly Entry[], marks: readonly Mark[], after: Lsn): void {
    const { xid } = this.#facts;
    const batch = {
      part,
      firstSequence,
      xid,
      after,
      // The journal keeps it. An array that has grown has room for sixteen more.
      entries: entries.slice(),
      marks: marks.length === 0 ? NO_MARKS : marks,
      committedAt: this.#committedAtMs,
    };
    this.#sink.append(this.#traceparent === undefined ? batch : { ...batch, trace: this.#traceparent });
  }

  get #isPartFull(): boolean {
    return isPartFull(this.bytes.length + this.#old.length, this.#runs.channels, this.#commitBytesMax);
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
    const { head } = this;
    const part = head.beginPart();
    const lsn = head.partLsn;
    const firstSequence = head.sequence + 1;
    const entries = this.#entries(lsn, false);
    const cut = this.#shares.areTooMany ? this.#forget() : [];
    if (!head.isRepeated) {
      // Marks are sent at once, so that no more of the commit reaches clients that may lose access.
      const { xid } = this.#facts;
      const marks = [...this.#marks.rechecks(xid, lsn), ...this.#marks.cut(cut, xid, lsn)];
      if (marks.length > 0) this.#defineNow();
      if (entries.length > 0 || marks.length > 0) this.#append(part, firstSequence, entries, marks, head.lsn);
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
    const position = formatPosition(this.#facts.epoch, lsn, index);
    const head = changesHead(this.#facts, share.channel, position, isLast ? lsn : this.head.commitLsn, part);
    const payload = changesPayload(head, share, this.#runs, this.bytes);
    const old = oldValuesBeside(head, share, this.#oldRuns, this.#old);
    share.clear();
    return this.#entry(share, payload, lsn, index, old);
  }

  #message(share: Share, message: Message, lsn: Lsn, isLast: boolean): Entry {
    const index = share.indexOfMessage(isLast);
    this.#messageBytes -= message.end - message.start;
    const position = formatPosition(this.#facts.epoch, lsn, index);
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
      sequence: this.head.nextSequence(),
      lsn,
      index,
    };
  }

  #abandon(): void {
    this.bytes.clear(this.#commitBytesMax);
    this.#shares.clear();
    this.#clearRuns();
    this.#messageBytes = 0;
    this.#marks.clear();
    this.#define = undefined;
  }

  #clearRuns(): void {
    this.#runs.clear();
    this.#oldRuns.clear();
    this.#old.clear(this.#commitBytesMax);
  }
}
