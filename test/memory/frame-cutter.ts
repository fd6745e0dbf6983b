/**
 * Cuts a server's bytes into frames (RFC 6455, section 5.2; unmasked, not fragmented). Only the
 * beginning of a large frame is kept.
 */

export interface Piece {
  readonly opcode: number;
  /** Compressed according to RFC 7692. */
  readonly isDeflated: boolean;
  /** The payload, or only its beginning if it is longer than KEPT_BYTES_MAX. */
  readonly payload: Buffer;
  readonly length: number;
}

const KEPT_BYTES_MAX = 1 << 20;
const BEGINNING_BYTES = 1_024;

export class FrameCutter {
  readonly #take: (piece: Piece) => void;
  #head = Buffer.alloc(0);
  #opcode = 0;
  #isDeflated = false;
  #length = 0;
  /** Missing bytes of the payload. Undefined within a header. */
  #missing: number | undefined;
  #kept: Buffer[] = [];
  #keptBytes = 0;

  constructor(take: (piece: Piece) => void) {
    this.#take = take;
  }

  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0 || this.#missing === 0)
      rest = this.#missing === undefined ? this.#header(rest) : this.#payload(rest);
  }

  #header(chunk: Buffer): Buffer {
    const bytes = Buffer.concat([this.#head, chunk]);
    const short = bytes.length < 2 ? 0 : (bytes[1] as number) & 0x7f;
    const headerBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length < headerBytes) {
      this.#head = bytes;
      return Buffer.alloc(0);
    }
    this.#head = Buffer.alloc(0);
    this.#opcode = (bytes[0] as number) & 0x0f;
    this.#isDeflated = ((bytes[0] as number) & 0x40) !== 0;
    this.#length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    this.#missing = this.#length;
    return bytes.subarray(headerBytes);
  }

  #payload(chunk: Buffer): Buffer {
    const piece = chunk.subarray(0, this.#missing);
    const keptMax = this.#length <= KEPT_BYTES_MAX ? KEPT_BYTES_MAX : BEGINNING_BYTES;
    if (this.#keptBytes < keptMax) {
      const kept = piece.subarray(0, keptMax - this.#keptBytes);
      // a copy, since a part of a chunk would keep the whole chunk alive
      this.#kept.push(piece.length === this.#length ? kept : Buffer.from(kept));
      this.#keptBytes += kept.length;
    }
    this.#missing = (this.#missing as number) - piece.length;
    if (this.#missing === 0) this.#end();
    return chunk.subarray(piece.length);
  }

  #end(): void {
    const piece = {
      opcode: this.#opcode,
      isDeflated: this.#isDeflated,
      payload: Buffer.concat(this.#kept),
      length: this.#length,
    };
    this.#missing = undefined;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#take(piece);
  }
}
