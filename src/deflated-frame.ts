/**
 * Compressed websocket text frames, server to client (RFC 7692, permessage-deflate). No frame refers to one before it
 * (`server_no_context_takeover`), so that one is made once and sent to every client that takes compressed frames.
 */
import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib';
import { assert } from './errors.ts';
import { frameHeaderBytes, payloadOf, writeFrameHeader } from './frame.ts';
import type { Slab } from './slab.ts';

/** RSV1: the payload is compressed. */
const COMPRESSED = 0x40;
/** What a flush ends with; the receiver puts it back. */
const FLUSH_TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);
/** Nearly as small as by zlib's default of 6, in half the time or less. */
const LEVEL = 3;

/** The same frame compressed, in `slab`; the frame itself where that makes it no smaller. */
export function deflatedFrame(frame: Buffer, slab: Slab): Buffer {
  const payload = payloadOf(frame);
  return framed(frame, deflateRawSync(payload, options(payload.length)), (bytes) => slab.allocate(bytes));
}

/** As `deflatedFrame`, on another thread: for frames that would hold the loop up. */
export function deflatedFrameLater(frame: Buffer): Promise<Buffer> {
  const payload = payloadOf(frame);
  return new Promise((resolve, reject) => {
    deflateRaw(payload, options(payload.length), (error, deflated) => {
      if (error === null) resolve(framed(frame, deflated, Buffer.allocUnsafe));
      else reject(error);
    });
  });
}

/** The window and tables that a payload of this size has use for: to set up those of the largest costs more than a small frame. */
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
