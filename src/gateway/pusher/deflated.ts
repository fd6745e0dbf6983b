/**
 * Pusher's frames for clients that accept compressed ones (permessage-deflate). All such clients
 * that know a channel by the same name share the bytes. Each frame is compressed by itself: a
 * commit has several, and a client may begin with any.
 */
import type { Entry } from '../../commit/entry.ts';
import type { EncodedForms } from '../../fanout/encoded-forms.ts';
import type { Encoding, UnstoredType } from '../../fanout/encoding.ts';
import type { Payload } from '../../memory/payload.ts';
import type { ServerFrame } from '../../protocol.ts';
import { frameBytesAt } from '../../websocket/frame.ts';
import type { FrameDeflater } from '../sno/encodings.ts';

/** The plain form, whose calls answer at once. */
export interface PlainForm extends Encoding {
  snapshot(payload: Payload, channel: string): Buffer;
}

export class DeflatedPusher implements Encoding {
  readonly #plain: PlainForm;
  readonly #forms: EncodedForms;
  readonly #deflater: FrameDeflater;

  constructor(plain: PlainForm, forms: EncodedForms, deflater: FrameDeflater) {
    this.#plain = plain;
    this.#forms = forms;
    this.#deflater = deflater;
  }

  entry(entry: Entry): Buffer {
    const kept = this.#forms.of(entry, this);
    if (kept !== undefined) return kept;
    const plain = this.#plain.entry(entry);
    const made = this.#deflated(plain);
    if (made !== plain) this.#forms.keep(entry, this, made);
    return made;
  }

  snapshot(payload: Payload, channel: string): Buffer | Promise<Buffer> {
    const plain = this.#plain.snapshot(payload, channel);
    const frames = framesIn(plain);
    if (!frames.some((frame) => this.#deflater.isWorthLater(frame))) return plain;
    return Promise.all(frames.map(async (frame) => this.#deflater.later(frame))).then((made) => Buffer.concat(made));
  }

  /** Compressed at each call: the result is not stored. */
  unstored(type: UnstoredType, payload: Payload): Buffer {
    return this.#deflated(this.#plain.unstored(type, payload));
  }

  control(frame: ServerFrame): Buffer {
    return this.#plain.control(frame);
  }

  /**
   * The frames compressed, or the same bytes if none is worth it. All frames together take no
   * longer than the largest one that is compressed on this thread.
   */
  #deflated(plain: Buffer): Buffer {
    if (!this.#deflater.isWorthNow(plain)) return plain;
    const frames = framesIn(plain);
    if (!frames.some((frame) => this.#deflater.isWorthNow(frame))) return plain;
    return Buffer.concat(frames.map((frame) => this.#deflater.now(frame)));
  }
}

/** Splits adjacent frames. */
function framesIn(bytes: Buffer): readonly Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + frameBytesAt(bytes, at);
    frames.push(bytes.subarray(at, end));
    at = end;
  }
  return frames;
}
