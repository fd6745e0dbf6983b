/**
 * The format in which steps travel to other processes.
 *
 * Steps that belong together are encoded into one buffer, which is cut into messages of limited
 * size. So neither a large commit nor a long list of definitions exceeds what a transport carries.
 * Each message starts with the version, and with a byte that marks the last message of the buffer.
 *
 * Numbers are little-endian. Counts and xids are 32-bit integers; LSNs, sequences, indexes and
 * times are doubles, as in memory. A string that recurs among the steps is written once.
 * Definitions are JSON.
 */
import { SnoError } from '../errors.ts';

/** Increased whenever older processes could not read what this one writes. */
const VERSION = 7;
export const HEADER_BYTES = 2;
const MORE = 0;
const LAST = 1;

/** A step's index in this list encodes its kind. */
export const STEP_KINDS = ['begin', 'append', 'marker', 'define', 'setKnown', 'head'] as const;
export type StepKind = (typeof STEP_KINDS)[number];
export const MARK_KINDS = [
  'truncate',
  'changed',
  'dropped',
  'recheck',
  'cut',
  'recheck-presence',
  'recheck-send',
  'touched',
] as const;

/**
 * Cuts steps into messages of at most `bytesMax` bytes. The first HEADER_BYTES of `steps` must be
 * unused: steps that fit into one message are then not copied.
 */
export function* messagesOf(steps: Buffer, bytesMax: number): Iterable<Buffer> {
  if (steps.length <= bytesMax) {
    yield withHeader(steps, LAST);
    return;
  }
  const pieceBytes = bytesMax - HEADER_BYTES;
  for (let start = HEADER_BYTES; start < steps.length; start += pieceBytes) {
    const end = Math.min(start + pieceBytes, steps.length);
    const message = Buffer.allocUnsafe(HEADER_BYTES + end - start);
    steps.copy(message, HEADER_BYTES, start, end);
    yield withHeader(message, end === steps.length ? LAST : MORE);
  }
}

function withHeader(message: Buffer, isLast: number): Buffer {
  message[0] = VERSION;
  message[1] = isLast;
  return message;
}

/** Joins messages to steps. */
export class MessageJoiner {
  #pieces: Buffer[] = [];

  /**
   * Takes the next message. Returns the steps, without header, once their last message has arrived.
   * Throws `relay_version` if the message has another version.
   */
  take(message: Buffer): Buffer | undefined {
    if (message[0] !== VERSION)
      throw new SnoError(
        'relay_version',
        `the message has version ${message[0]}, but this process reads version ${VERSION}`,
      );
    this.#pieces.push(message.subarray(HEADER_BYTES));
    if (message[1] === MORE) return undefined;
    const pieces = this.#pieces;
    this.#pieces = [];
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
  }
}
