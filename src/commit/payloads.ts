/**
 * Builds the payloads of a commit's entries: JSON text as bytes. Their content: docs/protocol.md.
 */

import { assert } from '../errors.ts';
import { formatLsn, type Lsn } from '../lsn.ts';
import { Arena } from '../memory/arena.ts';
import type { ByteWriter } from '../memory/byte-writer.ts';
import { oldValuesBytes, writeEventsPlace } from '../memory/old-values.ts';
import { memoryOf, type Payload, PayloadArena, roomOf } from '../memory/payload.ts';
import { formatPosition } from '../position.ts';
import type { Message, Share } from './channel-events.ts';
import type { Runs } from './runs.ts';

export const TRUNCATE = Buffer.from('{"op":"truncate"}');

/** The journal keeps payloads. */
const KEPT = new PayloadArena();
const OLD_KEPT = new Arena();
const TAIL = Buffer.from(']}');
const CLOSING_BRACE = 0x7d;

/** Facts that all payloads of a commit contain. */
export interface CommitFacts {
  readonly epoch: string;
  readonly xid: number;
  /** RFC 3339, UTC, with microseconds. */
  readonly committedAt: string;
  /** The member `trace`, with a comma after it. '' if the commit carries no trace. */
  readonly trace: string;
}

/**
 * Returns the text of `changes` before its events. `lsn`: the commit's end as told to clients.
 * `part`: '' if the commit is whole.
 */
export function changesHead(facts: CommitFacts, channel: string, position: string, lsn: Lsn, part: string): string {
  return `{"type":"changes","channel":"${channel}","position":"${position}","lsn":"${formatLsn(lsn)}","xid":${facts.xid},"committed_at":"${facts.committedAt}",${facts.trace}${part}"events":[`;
}

/** Returns `changes` with the head and the share's events, which lie in `bytes`. */
export function changesPayload(head: string, { events }: Share, runs: Runs, bytes: ByteWriter): Payload {
  // Excludes the comma after the last event.
  const payload = KEPT.allocate(head.length + Math.max(0, events.bytes - 1) + TAIL.length);
  const memory = memoryOf(payload);
  let at = roomOf(payload);
  at += memory.write(head, at, 'latin1');
  at = runs.copy(events, bytes.buffer, memory, at);
  if (events.bytes > 0) at--;
  at += TAIL.copy(memory, at);
  assert(at === memory.length, 'a payload has the computed length');
  return payload;
}

/**
 * Returns the old values beside a payload that begins with `head` (memory/old-values.ts). The
 * records lie in `bytes`. Undefined: the share's events have none.
 */
export function oldValuesBeside(head: string, { old }: Share, runs: Runs, bytes: ByteWriter): Buffer | undefined {
  if (old === undefined) return undefined;
  const memory = OLD_KEPT.allocate(oldValuesBytes(old.bytes));
  runs.copy(old, bytes.buffer, memory, writeEventsPlace(memory, head.length));
  return memory;
}

/** Returns `changes` for subscribers of a truncated channel without events in the commit. */
export function truncatePayload(facts: CommitFacts, channel: string, lsn: Lsn): Payload {
  const head = changesHead(facts, channel, formatPosition(facts.epoch, lsn, 1), lsn, '');
  return KEPT.text(`${head}${TRUNCATE.toString()}]}`);
}

/** Returns the text of a `message` before its data. `trace`: as in CommitFacts. */
export function messageHead(channel: string, position: string, event: string, trace = ''): string {
  return `{"type":"message","channel":"${channel}","position":"${position}",${trace}"event":${JSON.stringify(event)},"data":`;
}

/** Returns a `message` whose data is JSON text. */
export function textMessagePayload(head: string, data: string): Payload {
  return KEPT.text(`${head}${data}}`);
}

/** Returns a `message` whose data lies in `bytes`. */
export function messagePayload(head: string, { start, end }: Message, bytes: ByteWriter): Payload {
  const text = Buffer.from(head);
  const payload = KEPT.allocate(text.length + (end - start) + 1);
  const memory = memoryOf(payload);
  let at = roomOf(payload);
  at += text.copy(memory, at);
  at += bytes.buffer.copy(memory, at, start, end);
  memory[at] = CLOSING_BRACE;
  return payload;
}
