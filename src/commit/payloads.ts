/**
 * Builds the frames of a commit as bytes, websocket header included. Their content:
 * docs/protocol.md.
 */

import { assert } from '../errors.ts';
import { formatLsn, type Lsn } from '../lsn.ts';
import { Slab } from '../memory/arena.ts';
import type { Bytes } from '../memory/byte-writer.ts';
import { formatPosition } from '../position.ts';
import { frameHeaderBytes, textFrame, writeFrameHeader } from '../websocket/frame.ts';
import type { Message, Share } from './channel-events.ts';
import type { Runs } from './runs.ts';

export const TRUNCATE = Buffer.from('{"op":"truncate"}');

/** Frames are kept by the journal. */
const KEPT = new Slab();
const TAIL = Buffer.from(']}');
const CLOSING_BRACE = 0x7d;

/** Facts that all frames of a commit contain. */
export interface CommitFacts {
  readonly epoch: string;
  readonly xid: number;
  /** RFC 3339, UTC, with microseconds. */
  readonly committedAt: string;
}

/**
 * Returns a `changes` frame's text before its events. `lsn`: the commit's end as told to clients.
 * `part`: '' if the commit is whole.
 */
export function changesHead(facts: CommitFacts, channel: string, position: string, lsn: Lsn, part: string): string {
  return `{"type":"changes","channel":"${channel}","position":"${position}","lsn":"${formatLsn(lsn)}","xid":${facts.xid},"committed_at":"${facts.committedAt}",${part}"events":[`;
}

/** Returns a frame with the head and the share's events, which lie in `bytes`. */
export function changesFrame(head: string, share: Share, runs: Runs, bytes: Bytes): Buffer {
  // Excludes the comma after the last event.
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

/** The frame for subscribers of a truncated channel without events in the commit. */
export function truncateFrame(facts: CommitFacts, channel: string, lsn: Lsn): Buffer {
  const head = changesHead(facts, channel, formatPosition(facts.epoch, lsn, 1), lsn, '');
  return textFrame(`${head}${TRUNCATE.toString()}]}`, KEPT);
}

/** Returns a `message` frame's text before its data. */
export function messageHead(channel: string, position: string, event: string): string {
  return `{"type":"message","channel":"${channel}","position":"${position}","event":${JSON.stringify(event)},"data":`;
}

/** Returns a message frame whose data is JSON text. */
export function textMessageFrame(head: string, data: string): Buffer {
  return textFrame(`${head}${data}}`, KEPT);
}

/** Returns a message frame whose data lies in `bytes`. */
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
