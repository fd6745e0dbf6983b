import type { ByteWriter } from '../../memory/byte-writer.ts';

/**
 * Writes JSON strings like Postgres's escape_json: short escapes where JSON has them, lower-case
 * `\u00xx` for the other control characters, everything else unchanged.
 */
const QUOTE = 0x22;
const ESCAPES: readonly (Buffer | undefined)[] = Array.from({ length: 256 }, (_, byte) => {
  const short = { 8: '\\b', 9: '\\t', 10: '\\n', 12: '\\f', 13: '\\r', 34: '\\"', 92: '\\\\' }[byte];
  if (short !== undefined) return Buffer.from(short);
  return byte < 0x20 ? Buffer.from(`\\u00${byte.toString(16).padStart(2, '0')}`) : undefined;
});
const ESCAPED = Uint8Array.from(ESCAPES, (sequence) => (sequence === undefined ? 0 : 1));

/** Appends `buffer[start, end)`, UTF-8, as a JSON string. */
export function writeJsonString(buffer: Buffer, start: number, end: number, out: ByteWriter): void {
  out.reserve(end - start + 2);
  out.byte(QUOTE);
  let copied = start;
  for (let index = start; index < end; index++) {
    if (ESCAPED[buffer[index] as number] === 0) continue;
    out.copy(buffer, copied, index);
    out.append(ESCAPES[buffer[index] as number] as Buffer);
    copied = index + 1;
  }
  out.copy(buffer, copied, end);
  out.byte(QUOTE);
}
