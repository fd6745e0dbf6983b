/**
 * A socket that always reads into the same buffer. Node allocates a new one for each read. At a
 * thousand large reads a second, that memory causes collections, although nothing keeps it.
 *
 * Until `readInPlace` it is read like every socket, by its `data` events.
 */
import { Socket } from 'node:net';

/** Maximum bytes of one read, unless the socket is made for other ones. */
export const READ_BYTES_MAX = 64 * 1024;

/** The bytes read are `buffer[0, bytes)`, valid during the call only. */
export type ReadInPlace = (buffer: Buffer, bytes: number) => void;

export class InPlaceSocket extends Socket {
  readonly #reading: { take: ReadInPlace };

  /** `readBytesMax`: maximum bytes of one read. */
  constructor(readBytesMax = READ_BYTES_MAX) {
    const buffer = Buffer.allocUnsafeSlow(readBytesMax);
    const reading: { take: ReadInPlace } = { take: () => undefined };
    const callback = (bytes: number) => {
      reading.take(buffer, bytes);
      return true;
    };
    // The types know it for connect() only.
    super({ onread: { buffer, callback } } as ConstructorParameters<typeof Socket>[0]);
    this.#reading = reading;
    reading.take = (_buffer, bytes) => this.emit('data', Buffer.from(buffer.subarray(0, bytes)));
  }

  /** From now on there are no `data` events. */
  readInPlace(take: ReadInPlace): void {
    this.#reading.take = take;
  }
}
