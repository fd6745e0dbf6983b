/**
 * Writes bytes into a buffer that grows by doubling and is reused. The hot path writes JSON through
 * it, without strings.
 */
export class ByteWriter {
  buffer: Buffer;
  length = 0;

  constructor(capacity = 4_096) {
    this.buffer = Buffer.allocUnsafeSlow(capacity);
  }

  /** Makes room for `count` more bytes. Afterwards `buffer` may be another one. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer = grown;
  }

  byte(value: number): void {
    if (this.length === this.buffer.length) this.reserve(1);
    this.buffer[this.length++] = value;
  }

  /** Copies `source[start, end)`. */
  copy(source: Buffer, start: number, end: number): void {
    const count = end - start;
    this.reserve(count);
    const { buffer } = this;
    if (count < 32) {
      let to = this.length;
      for (let from = start; from < end; from++) buffer[to++] = source[from] as number;
    } else {
      source.copy(buffer, this.length, start, end);
    }
    this.length += count;
  }

  append(source: Buffer): void {
    this.copy(source, 0, source.length);
  }

  /** Writes a string that has no character beyond U+007F. */
  ascii(text: string): void {
    this.reserve(text.length);
    this.buffer.write(text, this.length, 'latin1');
    this.length += text.length;
  }

  /** Writes each character of a binary string as one byte. */
  binary(text: string): void {
    const { length } = text;
    this.reserve(length);
    const { buffer } = this;
    if (length < 32) {
      let to = this.length;
      for (let from = 0; from < length; from++) buffer[to++] = text.charCodeAt(from);
    } else {
      buffer.write(text, this.length, 'latin1');
    }
    this.length += length;
  }

  utf8(text: string): void {
    this.reserve(text.length * 3);
    this.length += this.buffer.write(text, this.length, 'utf8');
  }

  /** Drops the content. A buffer that grew beyond `capacityMax` is replaced by a smaller one. */
  clear(capacityMax = 1 << 20): void {
    this.length = 0;
    if (this.buffer.length > capacityMax) this.buffer = Buffer.allocUnsafeSlow(capacityMax);
  }
}

export function sameBytes(a: ByteWriter, b: ByteWriter): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a.buffer[index] !== b.buffer[index]) return false;
  return true;
}
