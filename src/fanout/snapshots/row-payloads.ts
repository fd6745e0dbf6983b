/**
 * Builds the payloads of `snapshot` frames from rows in COPY's binary format (Postgres docs,
 * "COPY", "Binary Format"). Their size is limited. The bytes are copied once, into the payload. A
 * row beyond that size gets a payload of its own, as large as the row.
 */

import { assert } from '../../errors.ts';
import { ByteWriter } from '../../memory/byte-writer.ts';
import { copyOf, type Payload, payloadIn } from '../../memory/payload.ts';
import { FRAME_HEADER_BYTES_MAX } from '../../websocket/frame.ts';

const PAYLOAD_BYTES = 256 * 1024;
const SCRATCH_BYTES = 4_096;

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
/** The signature, four bytes of flags, and the length of the header extension. */
const HEADER_BYTES = SIGNATURE.length + 8;
const TRAILER = -1;
const COLUMNS = 2;

const KEY = Buffer.from('{"key":');
const DATA = Buffer.from(',"data":');
const CLOSE = Buffer.from('}');
const COMMA = 0x2c;
/** Bytes of a row beside key and data, including the comma before it. */
const ROW_EXTRA_BYTES = KEY.length + DATA.length + CLOSE.length + 1;
const TAIL_BYTES_MAX = 64;

export class RowPayloads {
  readonly #head: Buffer;
  /** The current payload, behind its room. */
  #bytes = new ByteWriter(SCRATCH_BYTES);
  #rows = 0;
  #part = 0;

  constructor(channel: string) {
    this.#head = Buffer.from(`{"type":"snapshot","channel":"${channel}","rows":[`);
    this.#open(this.#bytes);
  }

  /**
   * Takes one CopyData message, which is one row. Returns the previous payload if it is full. The
   * chunk is not kept.
   */
  add(chunk: Buffer): Payload | undefined {
    let at = chunk.subarray(0, SIGNATURE.length).equals(SIGNATURE)
      ? HEADER_BYTES + chunk.readUInt32BE(HEADER_BYTES - 4)
      : 0;
    if (at === chunk.length) return undefined;
    const columns = chunk.readInt16BE(at);
    if (columns === TRAILER) return undefined;
    assert(columns === COLUMNS, 'a row of a snapshot has two columns');
    at += 2;
    const keyEnd = at + 4 + chunk.readInt32BE(at);
    const dataEnd = keyEnd + 4 + chunk.readInt32BE(keyEnd);
    assert(keyEnd >= at + 4 && dataEnd === chunk.length, 'neither key nor data of a row is NULL');
    const rowBytes = chunk.length + ROW_EXTRA_BYTES;
    const full = this.#rows > 0 && this.#bytes.length + rowBytes > PAYLOAD_BYTES ? this.#close(false) : undefined;
    if (rowBytes > PAYLOAD_BYTES) {
      this.#bytes = new ByteWriter(FRAME_HEADER_BYTES_MAX + this.#head.length + rowBytes + TAIL_BYTES_MAX);
      this.#open(this.#bytes);
    }
    const bytes = this.#bytes;
    if (this.#rows++ > 0) bytes.byte(COMMA);
    bytes.append(KEY);
    bytes.copy(chunk, at + 4, keyEnd);
    bytes.append(DATA);
    bytes.copy(chunk, keyEnd + 4, dataEnd);
    bytes.append(CLOSE);
    return full;
  }

  /** Returns the payload that ends the snapshot. */
  last(): Payload {
    return this.#close(true);
  }

  #open(bytes: ByteWriter): void {
    bytes.length = FRAME_HEADER_BYTES_MAX;
    bytes.append(this.#head);
    this.#rows = 0;
  }

  #close(isLast: boolean): Payload {
    const bytes = this.#bytes;
    bytes.ascii(`],"part":${++this.#part},"last":${isLast}}`);
    const payload = payloadIn(bytes.buffer, FRAME_HEADER_BYTES_MAX, bytes.length);
    // A large payload is not copied again.
    const isLarge = bytes.buffer.length > 2 * PAYLOAD_BYTES;
    if (isLarge) this.#bytes = new ByteWriter(SCRATCH_BYTES);
    const own = isLarge ? payload : copyOf(payload);
    this.#open(this.#bytes);
    return own;
  }
}
