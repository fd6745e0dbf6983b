/**
 * A socket that reads into one buffer, over and over. Node makes a new one for each read: at a thousand large reads a second that is
 * memory which the collector is called for, though nobody keeps it.
 *
 * Until `readInPlace` it is read as every socket is, by its `data` events.
 */
import { Socket } from 'node:net';

/** A read takes no more. */
export const READ_BYTES_MAX = 64 * 1024;

/** What was read is `buffer[0, bytes)`, valid during the call only. */
export type ReadInPlace = (buffer: Buffer, bytes: number) => void;

export class InPlaceSocket extends Socket {
  readonly #reading: { take: ReadInPlace };

  constructor() {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES_MAX);
    const reading: { take: ReadInPlace } = { take: () => undefined };
    const callback = (bytes: number) => {
      reading.take(buffer, bytes);
      return true;
    };
    // the types know it of connect() only
    super({ onread: { buffer, callback } } as ConstructorParameters<typeof Socket>[0]);
    this.#reading = reading;
    reading.take = (_buffer, bytes) => this.emit('data', Buffer.from(buffer.subarray(0, bytes)));
  }

  /** From now on there are no `data` events. */
  readInPlace(take: ReadInPlace): void {
    this.#reading.take = take;
  }
}
