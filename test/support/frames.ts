import { constants, inflateRawSync } from 'node:zlib';

/**
 * Reads a server's text frames from a stream of bytes (RFC 6455, unmasked), including compressed
 * ones (RFC 7692).
 */
export class FrameReader {
  #rest = Buffer.alloc(0);
  /** Number of messages that were compressed. */
  compressed = 0;

  /** Returns the messages that are complete with these bytes. */
  push(bytes: Buffer): string[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const messages: string[] = [];
    for (;;) {
      const length = this.#length();
      if (length === undefined) return messages;
      const [header, payload] = length;
      if (this.#rest.length < header + payload) return messages;
      messages.push(this.#text(this.#rest.subarray(header, header + payload)).toString());
      this.#rest = this.#rest.subarray(header + payload);
    }
  }

  #text(payload: Buffer): Buffer {
    if (((this.#rest[0] as number) & 0x40) === 0) return payload;
    this.compressed++;
    const flushed = Buffer.concat([payload, Buffer.of(0x00, 0x00, 0xff, 0xff)]);
    return inflateRawSync(flushed, { finishFlush: constants.Z_SYNC_FLUSH });
  }

  #length(): readonly [header: number, payload: number] | undefined {
    const rest = this.#rest;
    if (rest.length < 2) return undefined;
    const short = (rest[1] as number) & 0x7f;
    if (short < 126) return [2, short];
    if (short === 126) return rest.length < 4 ? undefined : [4, rest.readUInt16BE(2)];
    return rest.length < 10 ? undefined : [10, Number(rest.readBigUInt64BE(2))];
  }
}
