/**
 * Websocket text frames (RFC 6455, section 5.2), server to client: unmasked, never fragmented.
 * A frame is made once and written to every socket that wants it.
 */

/** Maximum bytes of an unmasked frame's header. */
export const FRAME_HEADER_BYTES_MAX = 10;

const TEXT_FINAL = 0x81;

/** Number of header bytes for a payload of this length. */
export function frameHeaderBytes(payloadBytes: number): number {
  return payloadBytes < 126 ? 2 : payloadBytes < 65_536 ? 4 : 10;
}

/** Writes a text frame's header at `offset`; returns the offset after it. */
export function writeFrameHeader(target: Buffer, offset: number, payloadBytes: number): number {
  target[offset] = TEXT_FINAL;
  if (payloadBytes < 126) {
    target[offset + 1] = payloadBytes;
    return offset + 2;
  }
  if (payloadBytes < 65_536) {
    target[offset + 1] = 126;
    target.writeUInt16BE(payloadBytes, offset + 2);
    return offset + 4;
  }
  target[offset + 1] = 127;
  target.writeUInt32BE(Math.floor(payloadBytes / 0x1_0000_0000), offset + 2);
  target.writeUInt32BE(payloadBytes % 0x1_0000_0000, offset + 6);
  return offset + 10;
}

/** The payload of an unmasked frame, in the frame's own memory. */
export function payloadOf(frame: Buffer): Buffer {
  const short = frame[1] as number;
  return frame.subarray(short < 126 ? 2 : short === 126 ? 4 : 10);
}

/** Number of bytes of the unmasked frame that begins at this place. */
export function frameBytesAt(bytes: Buffer, at: number): number {
  const short = bytes[at + 1] as number;
  if (short < 126) return 2 + short;
  if (short === 126) return 4 + bytes.readUInt16BE(at + 2);
  return 10 + bytes.readUInt32BE(at + 2) * 0x1_0000_0000 + bytes.readUInt32BE(at + 6);
}

/** Number of bytes of a frame with a payload of this length. */
export function frameBytes(payloadBytes: number): number {
  return frameHeaderBytes(payloadBytes) + payloadBytes;
}

/** A whole text frame for one message. */
export function textFrame(message: string): Buffer {
  const payloadBytes = Buffer.byteLength(message);
  const frame = Buffer.allocUnsafe(frameBytes(payloadBytes));
  frame.write(message, writeFrameHeader(frame, 0, payloadBytes));
  return frame;
}
