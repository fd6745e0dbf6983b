/**
 * permessage-deflate (RFC 7692): answers offers, and reads clients' compressed frames.
 *
 * Both directions work without context takeover. Frames to clients are compressed once for all
 * (encodings.ts). With it, frames from clients would need a window per connection, which takes more
 * memory than the rest of the connection. The extension of `ws` keeps that window, and inflates on
 * other threads.
 */
import { constants, inflateRawSync } from 'node:zlib';

/** The only answer to an offer. */
export const DEFLATE_ANSWER = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

const FLUSH_TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);

const WINDOW_BITS = /^(8|9|1[0-5])$/;
/** Tests each parameter's value in an offer. Undefined: the parameter has no value. */
const PARAMETERS: Readonly<Record<string, (value: string | undefined) => boolean>> = {
  server_no_context_takeover: (value) => value === undefined,
  client_no_context_takeover: (value) => value === undefined,
  // The client's frames are read with the largest window, whatever its own window is.
  client_max_window_bits: (value) => value === undefined || WINDOW_BITS.test(value),
  // Shared frames may refer back over a whole window. A client with a smaller window receives
  // uncompressed frames.
  server_max_window_bits: (value) => value === '15',
};

/**
 * Whether the header Sec-WebSocket-Extensions has an offer that DEFLATE_ANSWER accepts. Other
 * extensions are unknown.
 */
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

/** Inflates the messages of one client, in place of the extension in `ws`. */
export class Inflater {
  readonly #bytesMax: number;
  readonly #onFault: (fault: 'malformed' | 'too-large') => void;
  /** The received fragments of the current message. `ws` limits their bytes and their number. */
  #fragments: Buffer[] = [];

  /** `bytesMax`: maximum bytes of an inflated message. Nothing beyond is inflated. */
  constructor(bytesMax: number, onFault: (fault: 'malformed' | 'too-large') => void) {
    this.#bytesMax = bytesMax;
    this.#onFault = onFault;
  }

  /** Called by the receiver of `ws` for each fragment. It expects its answer in another turn. */
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

  /** Called by `ws` when the connection has ended. */
  cleanup(): void {
    this.#fragments = [];
  }
}
