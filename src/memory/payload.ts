/**
 * Payloads: JSON text as bytes, with room in front for the header of a websocket frame of this
 * text. So Snö's own encoding sends the memory of a payload as it is, without a copy.
 */
import { frameBytes, frameHeaderBytes } from '../websocket/frame.ts';
import { Arena } from './arena.ts';

declare const payload: unique symbol;

/** Opaque: only the functions of this file read it. It is a Buffer: the room, then the text. */
export interface Payload {
  readonly [payload]: true;
}

/** The first byte of a room without a header. No frame begins with it. */
const EMPTY = 0;
const LARGEST_OF_ROOM_2 = frameBytes(125);
const LARGEST_OF_ROOM_4 = frameBytes(65_535);

/**
 * The payload's memory, with the room. Only gateway/sno/encodings.ts writes into the room, and only
 * this header.
 */
export function memoryOf(payload: Payload): Buffer {
  return payload as unknown as Buffer;
}

/** Whether a header has been written into the room. */
export function hasHeader(payload: Payload): boolean {
  return memoryOf(payload)[0] !== EMPTY;
}

/** Number of bytes in front of the text. */
export function roomOf(payload: Payload): number {
  const { length } = memoryOf(payload);
  return length <= LARGEST_OF_ROOM_2 ? 2 : length <= LARGEST_OF_ROOM_4 ? 4 : 10;
}

/** The text, in the payload's own memory. */
export function textOf(payload: Payload): Buffer {
  return memoryOf(payload).subarray(roomOf(payload));
}

/** Memory for payloads that are kept for long and dropped in the order of their creation. */
export class PayloadArena {
  readonly #arena = new Arena();

  /** Returns a payload for a text of this many bytes. The text is arbitrary until it is written. */
  allocate(textBytes: number): Payload {
    const memory = this.#arena.allocate(frameBytes(textBytes));
    memory[0] = EMPTY;
    return memory as unknown as Payload;
  }

  copy(payload: Payload): Payload {
    const from = memoryOf(payload);
    const memory = this.#arena.allocate(from.length);
    from.copy(memory);
    return memory as unknown as Payload;
  }

  text(text: string): Payload {
    const made = this.allocate(Buffer.byteLength(text));
    memoryOf(made).write(text, roomOf(made));
    return made;
  }
}

/**
 * Makes a payload of the text in `buffer` from `start` on, without a copy. The bytes before `start`
 * become its room.
 */
export function payloadIn(buffer: Buffer, start: number, end: number): Payload {
  const memory = buffer.subarray(start - frameHeaderBytes(end - start), end);
  memory[0] = EMPTY;
  return memory as unknown as Payload;
}

/** Copies a payload out of a buffer that is going to be reused. */
export function copyOf(payload: Payload): Payload {
  return Buffer.from(memoryOf(payload)) as unknown as Payload;
}
