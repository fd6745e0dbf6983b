/**
 * Websocket text frames (RFC 6455, section 5.2), server to client: unmasked, never fragmented.
 * A frame is made once and written to every socket that wants it.
 */
import type { Payload } from '../memory/payload.ts';

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

/** Number of bytes of a frame with a payload of this length. */
export function frameBytes(payloadBytes: number): number {
  return frameHeaderBytes(payloadBytes) + payloadBytes;
}

/**
 * The payload's frame, in the payload's own memory: the header goes into the room in front of it.
 * Each call writes the same header, so a frame that a socket is still sending does not change.
 */
export function frameOf(payload: Payload): Buffer {
  const { buffer, byteOffset, length } = payload;
  const headerBytes = frameHeaderBytes(length);
  const frame = Buffer.from(buffer, byteOffset - headerBytes, headerBytes + length);
  writeFrameHeader(frame, 0, length);
  return frame;
}

/** A whole text frame for one message. */
export function textFrame(message: string): Buffer {
  const payloadBytes = Buffer.byteLength(message);
  const frame = Buffer.allocUnsafe(frameBytes(payloadBytes));
  frame.write(message, writeFrameHeader(frame, 0, payloadBytes));
  return frame;
}
