/**
 * Payloads: JSON text as bytes, with free room in front. An encoding whose header fits into that
 * room sends a payload from where it lies, without a copy.
 */
import { Slab } from './arena.ts';

/** Bytes of the room in front of a payload: as many as the largest websocket header. */
export const HEADROOM_BYTES = 10;

declare const headroom: unique symbol;

/**
 * Only this file makes payloads: the bytes in front of any other buffer may belong to another one.
 * Only websocket/frame.ts writes into the room.
 */
export type Payload = Buffer & { readonly [headroom]: true };

/** Memory for payloads that are kept for long and dropped in the order of their creation. */
export class PayloadSlab {
  readonly #slab = new Slab();

  /** Returns a payload of this many bytes, with arbitrary content. */
  allocate(bytes: number): Payload {
    return this.#slab.allocate(bytes, HEADROOM_BYTES) as Payload;
  }

  /** Returns the text as a payload. */
  text(text: string): Payload {
    const payload = this.allocate(Buffer.byteLength(text));
    payload.write(text);
    return payload;
  }
}

/** Returns the buffer's bytes from HEADROOM_BYTES to `end` as a payload, without a copy. */
export function payloadIn(buffer: Buffer, end: number): Payload {
  return buffer.subarray(HEADROOM_BYTES, end) as Payload;
}

/** Copies a payload, for a short time, out of a buffer that is going to be reused. */
export function copyOf(payload: Payload): Payload {
  const end = HEADROOM_BYTES + payload.length;
  const copy = payloadIn(Buffer.allocUnsafe(end), end);
  payload.copy(copy);
  return copy;
}
