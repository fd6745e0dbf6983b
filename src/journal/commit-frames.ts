/** The frames of a commit as bytes, websocket header included. What they say: docs/protocol.md. */
import type { Bytes } from '../bytes.ts';
import { assert } from '../errors.ts';
import { frameHeaderBytes, textFrame, writeFrameHeader } from '../frame.ts';
import { formatLsn, type Lsn } from '../lsn.ts';
import { formatPosition } from '../position.ts';
import { Slab } from '../slab.ts';
import type { Runs } from './runs.ts';
import type { Message, Share } from './share.ts';

/** The truncate event. */
export const TRUNCATE = Buffer.from('{"op":"truncate"}');

/** The journal keeps the frames. */
const KEPT = new Slab();
const TAIL = Buffer.from(']}');
const CLOSING_BRACE = 0x7d;

/** What all frames of a commit say. */
export interface CommitFacts {
  readonly epoch: string;
  readonly xid: number;
  /** RFC 3339, UTC, with microseconds. */
  readonly committedAt: string;
}

/** Of a `changes` frame all before its events. `lsn`: what it says the commit ends at. `part`: '' where it is whole. */
export function changesHead(facts: CommitFacts, channel: string, position: string, lsn: Lsn, part: string): string {
  return `{"type":"changes","channel":"${channel}","position":"${position}","lsn":"${formatLsn(lsn)}","xid":${facts.xid},"committed_at":"${facts.committedAt}",${part}"events":[`;
}

/** The share's events, which lie in `bytes`, behind a head. */
export function changesFrame(head: string, share: Share, runs: Runs, bytes: Bytes): Buffer {
  // without the comma behind the last event
  const payloadBytes = head.length + Math.max(0, share.bytes - 1) + TAIL.length;
  const frame = KEPT.allocate(frameHeaderBytes(payloadBytes) + payloadBytes);
  let at = writeFrameHeader(frame, 0, payloadBytes);
  at += frame.write(head, at, 'latin1');
  at = runs.copy(share, bytes.buffer, frame, at);
  if (share.bytes > 0) at--;
  at += TAIL.copy(frame, at);
  assert(at === frame.length, 'a frame has the length that was reckoned');
  return frame;
}

/** What a subscriber of a truncated channel gets that had no events in the commit. */
export function truncateFrame(facts: CommitFacts, channel: string, lsn: Lsn): Buffer {
  const head = changesHead(facts, channel, formatPosition(facts.epoch, lsn, 1), lsn, '');
  return textFrame(`${head}${TRUNCATE.toString()}]}`, KEPT);
}

/** Of a `message` frame all before its data. */
export function messageHead(channel: string, position: string, event: string): string {
  return `{"type":"message","channel":"${channel}","position":"${position}","event":${JSON.stringify(event)},"data":`;
}

/** A message whose data is JSON text, behind a head. */
export function textMessageFrame(head: string, data: string): Buffer {
  return textFrame(`${head}${data}}`, KEPT);
}

/** A message whose data lies in `bytes`, behind a head. */
export function messageFrame(head: string, { start, end }: Message, bytes: Bytes): Buffer {
  const text = Buffer.from(head);
  const payloadBytes = text.length + (end - start) + 1;
  const frame = KEPT.allocate(frameHeaderBytes(payloadBytes) + payloadBytes);
  let at = writeFrameHeader(frame, 0, payloadBytes);
  at += text.copy(frame, at);
  at += bytes.buffer.copy(frame, at, start, end);
  frame[at] = CLOSING_BRACE;
  return frame;
}
