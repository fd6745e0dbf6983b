/**
 * Unstored frames: sends of clients, and presence. They are not in the journal, are not replayed,
 * and have no position.
 */
import { memoryOf, type Payload } from '../memory/payload.ts';
import type { Encoding, UnstoredType } from './encoding.ts';

/** One such frame, for any number of connections. Each encoding makes its bytes once. */
export class UnstoredFrame {
  readonly type: UnstoredType;
  readonly channel: string;
  readonly #payload: Payload;
  #forms: Map<Encoding, Buffer> | undefined;

  /** `payload`: the frame as JSON text. docs/protocol.md describes it. */
  constructor(type: UnstoredType, channel: string, payload: Payload) {
    this.type = type;
    this.channel = channel;
    this.#payload = payload;
  }

  get bytes(): number {
    return memoryOf(this.#payload).length;
  }

  in(encoding: Encoding): Buffer {
    let bytes = this.#forms?.get(encoding);
    if (bytes === undefined) {
      bytes = encoding.unstored(this.type, this.#payload);
      this.#forms ??= new Map();
      if (encoding.isPrivate !== true) this.#forms.set(encoding, bytes);
    }
    return bytes;
  }
}
