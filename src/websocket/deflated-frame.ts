/**
 * Compressed websocket text frames, server to client (RFC 7692, permessage-deflate). No frame
 * refers to an earlier one (`server_no_context_takeover`). So a frame is compressed once and sent
 * to every client that accepts compressed frames.
 */
import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib';
import { assert } from '../errors.ts';
import type { Arena } from '../memory/arena.ts';
import { frameHeaderBytes, payloadOf, writeFrameHeader } from './frame.ts';

/** RSV1: the payload is compressed. */
const COMPRESSED = 0x40;
/** The end of each flush, omitted from the frame. The receiver appends it again. */
const FLUSH_TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);
/**
 * zlib's compression level. Results are nearly as small as with its default of 6, in half the time
 * or less.
 */
const LEVEL = 3;

/**
 * Returns the frame compressed, in `arena`, or the frame itself if compression makes it no smaller.
 */
export function deflatedFrame(frame: Buffer, arena: Arena): Buffer {
  const payload = payloadOf(frame);
  return framed(frame, deflateRawSync(payload, options(payload.length)), (bytes) => arena.allocate(bytes));
}

/** Like `deflatedFrame`, on another thread: for frames that would block the event loop. */
export function deflatedFrameLater(frame: Buffer): Promise<Buffer> {
  const payload = payloadOf(frame);
  return new Promise((resolve, reject) => {
    deflateRaw(payload, options(payload.length), (error, deflated) => {
      if (error === null) resolve(framed(frame, deflated, Buffer.allocUnsafe));
      else reject(error);
    });
  });
}

/**
 * Chooses window and tables for a payload of this size: setting up the largest ones costs more than
 * a small frame.
 */
function options(bytes: number): ZlibOptions {
  const bits = Math.ceil(Math.log2(bytes + 1));
  return {
    level: LEVEL,
    finishFlush: constants.Z_SYNC_FLUSH,
    windowBits: Math.min(15, Math.max(9, bits)),
    memLevel: Math.min(8, Math.max(1, bits - 6)),
    chunkSize: Math.min(64 * 1024, Math.max(64, bytes)),
  };
}

function framed(frame: Buffer, deflated: Buffer, allocate: (bytes: number) => Buffer): Buffer {
  const payloadBytes = deflated.length - FLUSH_TAIL.length;
  assert(deflated.subarray(payloadBytes).equals(FLUSH_TAIL), 'a flush of zlib ends with its tail');
  const headerBytes = frameHeaderBytes(payloadBytes);
  if (headerBytes + payloadBytes >= frame.length) return frame;
  const made = allocate(headerBytes + payloadBytes);
  writeFrameHeader(made, 0, payloadBytes);
  made[0] = (made[0] as number) | COMPRESSED;
  deflated.copy(made, headerBytes, 0, payloadBytes);
  return made;
}
