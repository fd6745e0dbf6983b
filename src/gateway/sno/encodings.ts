/**
 * The wire forms of Snö's own protocol: websocket text frames, plain and compressed, each without
 * and with the old values of rows.
 */
import type { Entry } from '../../commit/entry.ts';
import type { EncodedForms } from '../../fanout/encoded-forms.ts';
import type { Encoding, UnstoredType } from '../../fanout/encoding.ts';
import { Arena } from '../../memory/arena.ts';
import { hasHeader, memoryOf, type Payload, roomOf } from '../../memory/payload.ts';
import type { ServerFrame } from '../../protocol.ts';
import { deflatedFrame, deflatedFrameLater } from '../../websocket/deflated-frame.ts';
import { textFrame, writeFrameHeader } from '../../websocket/frame.ts';
import { WithOldValues } from '../old-values.ts';

/**
 * The payload's frame, in the payload's own memory. The header is written once, so a frame that a
 * socket is still sending does not change.
 */
export function frameOf(payload: Payload): Buffer {
  const frame = memoryOf(payload);
  if (!hasHeader(payload)) writeFrameHeader(frame, 0, frame.length - roomOf(payload));
  return frame;
}

/** Plain frames. They lie in the memory of their payloads, so that nothing is copied or kept. */
export const PLAIN: Encoding = {
  entry: ({ payload }) => frameOf(payload),
  snapshot: frameOf,
  unstored: (_type, payload) => frameOf(payload),
  control: (frame) => textFrame(JSON.stringify(frame)),
};

export interface DeflaterOptions {
  /** Minimum bytes of a frame to compress. 0: no frame is compressed. */
  readonly bytesMin: number;
  /** Called after a frame was compressed. */
  readonly deflated: (bytesBefore: number, bytesAfter: number) => void;
}

export interface DeflatedOptions extends DeflaterOptions {
  /** Keeps compressed entries for later clients. */
  readonly forms: EncodedForms;
}

/** Maximum bytes of a frame compressed on this thread. Takes about a millisecond. */
const ON_THIS_THREAD_BYTES_MAX = 64 * 1024;
/**
 * Maximum bytes of a frame compressed on another thread. A larger frame would need as much memory
 * again, and occupy a thread for long.
 */
const ON_ANOTHER_THREAD_BYTES_MAX = 8 * 1024 ** 2;

/**
 * Compresses frames for which that pays. Small frames are not compressed. Large ones are only if
 * they can wait for another thread: live clients must not wait, and other clients must not wait for
 * this thread.
 */
export class FrameDeflater {
  readonly #options: DeflaterOptions;
  readonly #arena = new Arena();

  constructor(options: DeflaterOptions) {
    this.#options = options;
  }

  isWorthNow(frame: Buffer): boolean {
    return this.#isWorthIt(frame, ON_THIS_THREAD_BYTES_MAX);
  }

  isWorthLater(frame: Buffer): boolean {
    return this.#isWorthIt(frame, ON_ANOTHER_THREAD_BYTES_MAX);
  }

  /** Returns the frame compressed, or the frame itself. */
  now(frame: Buffer): Buffer {
    return this.isWorthNow(frame) ? this.#counted(frame, deflatedFrame(frame, this.#arena)) : frame;
  }

  /** Like `now`, on another thread. */
  later(frame: Buffer): Buffer | Promise<Buffer> {
    if (!this.isWorthLater(frame)) return frame;
    return deflatedFrameLater(frame).then((made) => this.#counted(frame, made));
  }

  #isWorthIt({ length }: Buffer, bytesMax: number): boolean {
    const { bytesMin } = this.#options;
    return bytesMin > 0 && length >= bytesMin && length <= bytesMax;
  }

  #counted(frame: Buffer, made: Buffer): Buffer {
    this.#options.deflated(frame.length, made.length);
    return made;
  }
}

/** Kept for an entry that compression makes no smaller. */
const NO_GAIN = Buffer.alloc(0);

/**
 * Frames for clients that accept compressed ones. An entry is compressed once, when the first such
 * client is to receive it. Pieces of snapshots are compressed on another thread.
 */
export class Deflated implements Encoding {
  readonly #forms: EncodedForms;
  readonly #deflater: FrameDeflater;

  constructor(options: DeflatedOptions) {
    this.#forms = options.forms;
    this.#deflater = new FrameDeflater(options);
  }

  entry(entry: Entry): Buffer {
    const frame = frameOf(entry.payload);
    if (!this.#deflater.isWorthNow(frame)) return frame;
    const kept = this.#forms.of(entry, this);
    if (kept !== undefined) return kept === NO_GAIN ? frame : kept;
    const made = this.#deflater.now(frame);
    this.#forms.keep(entry, this, made === frame ? NO_GAIN : made);
    return made;
  }

  snapshot(payload: Payload): Buffer | Promise<Buffer> {
    return this.#deflater.later(frameOf(payload));
  }

  /** Compressed at each call: the result is not stored. */
  unstored(_type: UnstoredType | 'changes', payload: Payload): Buffer {
    return this.#deflater.now(frameOf(payload));
  }

  /** Control frames are small, so they are not compressed. */
  control(frame: ServerFrame): Buffer {
    return PLAIN.control(frame);
  }
}

/** Frames without, and with, the old values of rows. */
export interface Frames {
  readonly usual: Encoding;
  readonly withOldValues: Encoding;
}

/** All wire forms. Each connection has plain frames, or compressed ones. */
export interface FrameEncodings {
  readonly plain: Frames;
  readonly deflated: Frames;
}

export function frameEncodings(options: DeflatedOptions): FrameEncodings {
  const deflated = new Deflated(options);
  return {
    plain: { usual: PLAIN, withOldValues: new WithOldValues(PLAIN, options.forms) },
    deflated: { usual: deflated, withOldValues: new WithOldValues(deflated, options.forms) },
  };
}
