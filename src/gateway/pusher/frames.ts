/**
 * The frames of Pusher's protocol 7, as bytes: `{"event":...,"channel":...,"data":"..."}`. The data
 * is JSON text within a JSON string, since clients expect that.
 */
import { FRAME_HEADER_BYTES_MAX, frameHeaderBytes, textFrame, writeFrameHeader } from '../../websocket/frame.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const END = Buffer.from('"}');
/** Maximum bytes of memory that is kept for the next frames. */
const KEPT_BYTES_MAX = 1024 * 1024;
const FIRST_BYTES = 16 * 1024;

/** A whole frame. `data`: becomes JSON text. Undefined: the frame has no data. */
export function frameOf(event: string, data?: unknown, channel?: string): Buffer {
  return textFrame(JSON.stringify({ event, channel, data: data === undefined ? undefined : JSON.stringify(data) }));
}

/** The text of a frame before its data. `user`: the one that has sent it, if a client has. */
export function headOf(event: string, channel: string, user?: string): Buffer {
  const sender = user === undefined ? '' : `"user_id":${JSON.stringify(user)},`;
  return Buffer.from(`{"event":${JSON.stringify(event)},"channel":${JSON.stringify(channel)},${sender}"data":"`);
}

/** Writes frames one behind the other. Their data is text that is JSON already. */
export class FrameWriter {
  #buffer = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;
  /** Where the current frame's text begins, behind room for its header. */
  #textAt = 0;

  /** Begins a frame, up to its data. */
  begin(head: Buffer): void {
    this.#textAt = this.#length + FRAME_HEADER_BYTES_MAX;
    this.#reserve(FRAME_HEADER_BYTES_MAX + head.length);
    head.copy(this.#buffer, this.#textAt);
    this.#length = this.#textAt + head.length;
  }

  /** Adds a part of the data: JSON text from `start` to `end`, or any piece of it. */
  data(text: Buffer, start: number, end: number): void {
    this.#reserve(2 * (end - start));
    const buffer = this.#buffer;
    let to = this.#length;
    for (let from = start; from < end; from++) {
      const byte = text[from] as number;
      if (byte === QUOTE || byte === BACKSLASH) {
        buffer[to++] = BACKSLASH;
        buffer[to++] = byte;
      } else {
        // JSON has control characters only between its tokens, where any white space will do.
        buffer[to++] = Math.max(byte, SPACE);
      }
    }
    this.#length = to;
  }

  /** Adds a short part of the data. */
  text(text: string): void {
    const bytes = Buffer.from(text);
    this.data(bytes, 0, bytes.length);
  }

  end(): void {
    this.#reserve(END.length);
    const buffer = this.#buffer;
    this.#length += END.copy(buffer, this.#length);
    const bytes = this.#length - this.#textAt;
    const start = this.#textAt - FRAME_HEADER_BYTES_MAX;
    const headerBytes = frameHeaderBytes(bytes);
    buffer.copyWithin(start + headerBytes, this.#textAt, this.#length);
    writeFrameHeader(buffer, start, bytes);
    this.#length = start + headerBytes + bytes;
  }

  /** Returns the frames, and begins anew. */
  take(): Buffer {
    const made = Buffer.from(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
    if (this.#buffer.length > KEPT_BYTES_MAX) this.#buffer = Buffer.allocUnsafe(FIRST_BYTES);
    return made;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
