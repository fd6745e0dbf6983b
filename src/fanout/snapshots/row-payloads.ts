/**
 * Builds the payloads of `snapshot` frames from rows in COPY's binary format. Their size is
 * limited. The bytes are copied once, into the payload. A row beyond that size gets a payload of
 * its own, as large as the row.
 */
import { ByteWriter } from '../../memory/byte-writer.ts';
import { copyOf, type Payload, payloadIn } from '../../memory/payload.ts';
import { FRAME_HEADER_BYTES_MAX } from '../../websocket/frame.ts';
import type { CopiedRow } from './copied-row.ts';

/** Maximum bytes of a payload with several rows. */
const PAYLOAD_BYTES = 256 * 1024;
const SCRATCH_BYTES = 4_096;

const KEY = Buffer.from('{"key":');
const DATA = Buffer.from(',"data":');
const CLOSE = Buffer.from('}');
const COMMA = 0x2c;
/** Bytes of a row beside key and data, including the comma before it. */
const ROW_EXTRA_BYTES = KEY.length + DATA.length + CLOSE.length + 1;
const TAIL_BYTES_MAX = 64;

/** Builds the payloads of one channel after the other, in the same memory. */
export class RowPayloads {
  #head = Buffer.alloc(0);
  /** The current payload, behind its room. */
  #bytes = new ByteWriter(SCRATCH_BYTES);
  #rows = 0;
  #part = 0;

  /** Begins a channel. Rows of the one before that are not in a payload yet are dropped. */
  begin(channel: string): void {
    this.#head = Buffer.from(`{"type":"snapshot","channel":"${channel}","rows":[`);
    this.#part = 0;
    this.#open(this.#bytes);
  }

  /** Whether the row still fits into the current payload. */
  fits({ bytes }: CopiedRow): boolean {
    return this.#bytes.length + bytes + ROW_EXTRA_BYTES <= PAYLOAD_BYTES;
  }

  /** Adds a row. Returns the previous payload if it is full. */
  add(row: CopiedRow): Payload | undefined {
    const full = this.#rows > 0 && !this.fits(row) ? this.#close(false) : undefined;
    const rowBytes = row.bytes + ROW_EXTRA_BYTES;
    if (rowBytes > PAYLOAD_BYTES) {
      this.#bytes = new ByteWriter(FRAME_HEADER_BYTES_MAX + this.#head.length + rowBytes + TAIL_BYTES_MAX);
      this.#open(this.#bytes);
    }
    const { buffer, keyStart, keyEnd, dataStart, dataEnd } = row;
    const bytes = this.#bytes;
    if (this.#rows++ > 0) bytes.byte(COMMA);
    bytes.append(KEY);
    bytes.copy(buffer, keyStart, keyEnd);
    bytes.append(DATA);
    bytes.copy(buffer, dataStart, dataEnd);
    bytes.append(CLOSE);
    return full;
  }

  /** Returns the payload that ends the channel's snapshot. */
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
