/** Takes text frames of a server (RFC 6455, unmasked) out of a stream of bytes. */
export class FrameReader {
  #rest = Buffer.alloc(0);

  /** The messages that are whole with these bytes. */
  push(bytes: Buffer): string[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const messages: string[] = [];
    for (;;) {
      const length = this.#length();
      if (length === undefined) return messages;
      const [header, payload] = length;
      if (this.#rest.length < header + payload) return messages;
      messages.push(this.#rest.toString('utf8', header, header + payload));
      this.#rest = this.#rest.subarray(header + payload);
    }
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
