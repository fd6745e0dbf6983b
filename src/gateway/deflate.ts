/**
 * permessage-deflate (RFC 7692): what is answered to an offer, and how a client's compressed frames are read.
 *
 * Without context takeover both ways. To the client, because a frame is compressed once for all (fanout/deflater.ts); from it, because
 * a window kept for each connection would take more memory than all the rest of it. `ws` could do both, but keeps that window, and inflates
 * on other threads.
 */
import { constants, inflateRawSync } from 'node:zlib';

/** The one answer that is given. */
export const DEFLATE_ANSWER = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

const FLUSH_TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);

const WINDOW_BITS = /^(8|9|1[0-5])$/;
/** Which values each parameter of an offer may have; undefined: it has none. */
const PARAMETERS: Readonly<Record<string, (value: string | undefined) => boolean>> = {
  server_no_context_takeover: (value) => value === undefined,
  client_no_context_takeover: (value) => value === undefined,
  // whatever the client's window is, it is read with the largest
  client_max_window_bits: (value) => value === undefined || WINDOW_BITS.test(value),
  // what is made for all may refer back as far as a window goes: who has only a smaller one gets it as it is
  server_max_window_bits: (value) => value === '15',
};

/** Whether the header Sec-WebSocket-Extensions has an offer that DEFLATE_ANSWER accepts. Of no other extension anything is known. */
export function offersDeflate(header: string | undefined): boolean {
  return (header ?? '').split(',').some((offer) => {
    const [name = '', ...parameters] = offer.split(';').map((part) => part.trim());
    const names = new Set<string>();
    return (
      name.toLowerCase() === 'permessage-deflate' &&
      parameters.every((parameter) => {
        const [key = '', value] = parameter.split('=', 2).map((part) => part.trim());
        const isNew = !names.has(key);
        names.add(key);
        return isNew && Object.hasOwn(PARAMETERS, key) && PARAMETERS[key]?.(value?.replace(/^"(.*)"$/, '$1')) === true;
      })
    );
  });
}

type Callback = (error: Error | null, data?: Buffer) => void;

/** Inflates the messages of one client, in the place of the extension that `ws` has. */
export class Inflater {
  readonly #bytesMax: number;
  readonly #onFault: (fault: 'malformed' | 'too-large') => void;
  /** Of a message in fragments, those that have come; `ws` bounds their bytes and their number. */
  #fragments: Buffer[] = [];

  /** No message may have more than `bytesMax` bytes: nothing beyond is unpacked. */
  constructor(bytesMax: number, onFault: (fault: 'malformed' | 'too-large') => void) {
    this.#bytesMax = bytesMax;
    this.#onFault = onFault;
  }

  /** Called by the receiver of `ws` for each fragment; it wants its answer in another turn. */
  decompress(data: Buffer, isLast: boolean, callback: Callback): void {
    this.#fragments.push(data);
    if (!isLast) {
      queueMicrotask(() => callback(null, Buffer.alloc(0)));
      return;
    }
    const deflated = Buffer.concat([...this.#fragments.splice(0), FLUSH_TAIL]);
    let message: Buffer;
    try {
      message = inflateRawSync(deflated, { maxOutputLength: this.#bytesMax, finishFlush: constants.Z_SYNC_FLUSH });
    } catch (error) {
      const isLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
      this.#onFault(isLarge ? 'too-large' : 'malformed');
      queueMicrotask(() => callback(error as Error));
      return;
    }
    queueMicrotask(() => callback(null, message));
  }

  /** Called by `ws` when the connection is over. */
  cleanup(): void {
    this.#fragments = [];
  }
}
