/**
 * The old values of rows that a commit updates or deletes, beside the payload of its `changes`.
 * Payloads do not contain them, so clients that did not ask for them receive unchanged bytes.
 * `withOldValues` makes the payload for clients that did ask.
 *
 * A record holds a row's old values: what differs from the new row's JSON, which lies in the
 * payload. Most updates change few columns, so most records are small. The numbers of a record are
 * 32-bit integers, little-endian.
 */
import type { ByteWriter } from './byte-writer.ts';
import { memoryOf, type Payload, type PayloadArena, roomOf, textOf } from './payload.ts';

/** Bytes of the text at the record's end: the part of the old row that differs. */
const TEXT_AT = 0;
/** Bytes of the new row's JSON, which ends where the old values are to be inserted. 0: no row. */
const DATA_AT = 4;
/** Number of equal bytes at the beginning (and end) of the old and the new row's JSON. */
const START_AT = 8;
const END_AT = 12;
/** The place in the payload's events at which the old values are to be inserted. */
const PLACE_AT = 16;
const HEADER_BYTES = 20;
/** In front of the records of a payload: the place of its events. */
const EVENTS_BYTES = 4;
const MEMBER = Buffer.from(',"old":');
/** Bytes compared at once. */
const BLOCK_BYTES = 128;

/** Empties the record. The old row's JSON is then appended to it. */
export function beginOldValues(record: ByteWriter): void {
  record.length = 0;
  record.reserve(HEADER_BYTES);
  record.length = HEADER_BYTES;
}

/** Reduces the old row's JSON to what differs from the new row's, `data[start, end)`. */
export function endOldValues(record: ByteWriter, data: Buffer, start: number, end: number): void {
  const { buffer, length } = record;
  const shorter = Math.min(length - HEADER_BYTES, end - start);
  const same = sameAtStart(buffer, HEADER_BYTES, data, start, shorter);
  const sameEnd = sameAtEnd(buffer, length, data, end, shorter - same);
  buffer.copyWithin(HEADER_BYTES, HEADER_BYTES + same, length - sameEnd);
  record.length = length - same - sameEnd;
  buffer.writeUInt32LE(record.length - HEADER_BYTES, TEXT_AT);
  buffer.writeUInt32LE(end - start, DATA_AT);
  buffer.writeUInt32LE(same, START_AT);
  buffer.writeUInt32LE(sameEnd, END_AT);
}

/** Appends a record, whose old values belong at this place of the payload's events. */
export function appendOldValues(records: ByteWriter, record: ByteWriter, place: number): void {
  const at = records.length;
  records.copy(record.buffer, 0, record.length);
  records.buffer.writeUInt32LE(place, at + PLACE_AT);
}

/** Bytes of the old values that have these bytes of records. */
export function oldValuesBytes(recordBytes: number): number {
  return EVENTS_BYTES + recordBytes;
}

/**
 * Writes what stands in front of the records, and returns where they begin. `eventsAt`: the place
 * of the events in the payload's text.
 */
export function writeEventsPlace(old: Buffer, eventsAt: number): number {
  return old.writeUInt32LE(eventsAt, 0);
}

/** Makes the payload with the old values: as `old`, the last member of each event that has some. */
export function withOldValues(payload: Payload, old: Buffer, arena: PayloadArena): Payload {
  const text = textOf(payload);
  const eventsAt = old.readUInt32LE(0);
  let bytes = text.length;
  for (let at = EVENTS_BYTES; at < old.length; at = nextOf(old, at))
    bytes += MEMBER.length + old.readUInt32LE(at) + old.readUInt32LE(at + START_AT) + old.readUInt32LE(at + END_AT);
  const made = arena.allocate(bytes);
  const memory = memoryOf(made);
  let to = roomOf(made);
  let copied = 0;
  for (let at = EVENTS_BYTES; at < old.length; at = nextOf(old, at)) {
    const place = eventsAt + old.readUInt32LE(at + PLACE_AT);
    const data = place - old.readUInt32LE(at + DATA_AT);
    to += text.copy(memory, to, copied, place);
    to += MEMBER.copy(memory, to);
    to += text.copy(memory, to, data, data + old.readUInt32LE(at + START_AT));
    to += old.copy(memory, to, at + HEADER_BYTES, nextOf(old, at));
    to += text.copy(memory, to, place - old.readUInt32LE(at + END_AT), place);
    copied = place;
  }
  text.copy(memory, to, copied);
  return made;
}

function nextOf(old: Buffer, at: number): number {
  return at + HEADER_BYTES + old.readUInt32LE(at + TEXT_AT);
}

/** Number of equal bytes from `at` and `otherAt` on, at most `max`. */
function sameAtStart(one: Buffer, at: number, other: Buffer, otherAt: number, max: number): number {
  let same = 0;
  while (
    max - same >= BLOCK_BYTES &&
    one.compare(other, otherAt + same, otherAt + same + BLOCK_BYTES, at + same, at + same + BLOCK_BYTES) === 0
  )
    same += BLOCK_BYTES;
  while (same < max && one[at + same] === other[otherAt + same]) same++;
  return same;
}

/** Number of equal bytes before `end` and `otherEnd`, at most `max`. */
function sameAtEnd(one: Buffer, end: number, other: Buffer, otherEnd: number, max: number): number {
  let same = 0;
  while (
    max - same >= BLOCK_BYTES &&
    one.compare(other, otherEnd - same - BLOCK_BYTES, otherEnd - same, end - same - BLOCK_BYTES, end - same) === 0
  )
    same += BLOCK_BYTES;
  while (same < max && one[end - same - 1] === other[otherEnd - same - 1]) same++;
  return same;
}
