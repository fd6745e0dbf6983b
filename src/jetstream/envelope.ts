/**
 * The head of each message in the stream. It has what a follower must know before it reads the
 * steps: which process published them, and between which places of the history they lie.
 *
 * Steps that do not fit into one message are cut into pieces. All pieces of the same steps carry
 * the same head, except for their number, and are applied together when the last one has arrived.
 *
 * Layout, little-endian: version (1 byte), kind (1), whether it is the last piece (1), length of
 * the epoch (1), piece (4), term (8, two integers), number, state, then the places from and to
 * (LSN, index: 8 bytes each, parts: 4), all numbers as doubles unless said. Then the owner (5
 * bytes), its tenure (1) and `cut` (2). The epoch's text and the steps follow.
 */
import type { Batch } from '../commit/entry.ts';
import { SnoError } from '../errors.ts';
import { COMMIT_END_INDEX, comparePositions, type Position } from '../position.ts';
import { OWNER_BYTES, type Ownership } from '../relay/installation.ts';

/** A place in a history, within commits in parts too. */
export interface Place extends Position {
  /** Number of parts of an open commit that lie before it. */
  readonly parts: number;
}

/**
 * - state: everything that a follower needs to join here. A follower of the same history that has
 *   read up to here skips it.
 * - steps: the steps of the stream.
 */
const KINDS = ['state', 'steps'] as const;
export type Kind = (typeof KINDS)[number];

export interface Envelope extends Ownership {
  /** The rule by which the publisher cuts large commits into parts; see `cutOf`. 0: unknown. */
  readonly cut: number;
  readonly kind: Kind;
  /** Whether this is the last piece of its steps. */
  readonly isLast: boolean;
  /** The piece's number among those of its steps, from 0. */
  readonly piece: number;
  /** Identifies the time during which one process published: 64 random bits, as hex. */
  readonly term: string;
  /** The message's number within its term, from 1. */
  readonly number: number;
  /** The stream's sequence of the newest state. A follower can join there. 0: unknown. */
  readonly state: number;
  readonly epoch: string;
  /** The places in the history before these steps and after them. */
  readonly from: Place;
  readonly to: Place;
}

/** Increased whenever older processes could not read what this one writes. */
const VERSION = 1;
export const HEAD_BYTES = 80;
/** The smallest printable character. */
const FIRST_TEXT_BYTE = 0x20;

export function comparePlaces(a: Place, b: Place): number {
  return comparePositions(a, b) || a.parts - b.parts;
}

/** Returns the place in the history after a batch. */
export function placeOfBatch({ part, entries, marks }: Batch): Place {
  const { lsn, index } = entries[0] ?? (marks[0] as { readonly lsn: number; readonly index: number });
  return { lsn, index: Math.max(index, COMMIT_END_INDEX), parts: part };
}

/**
 * Whether another program wrote a message: it is too short, or begins with text. Such messages are
 * skipped. Versions of Snö are small numbers.
 */
export function isStray(message: Uint8Array): boolean {
  return message.length < HEAD_BYTES || message[0] === 0 || (message[0] as number) >= FIRST_TEXT_BYTE;
}

/**
 * Identifies the value of SNO_COMMIT_BYTES in a message, from 1. A process with another value cuts
 * an open commit at other rows, and cannot continue its parts.
 */
export function cutOf(commitBytes: number): number {
  // The modulus is prime, so multiples of powers of two differ.
  return 1 + (commitBytes % 65_521);
}

/** Encodes a message: the head, then `steps`. */
export function sealed(envelope: Envelope, steps: Uint8Array): Buffer {
  const { kind, isLast, piece, term, number, state, epoch, from, to, owner, tenure, cut } = envelope;
  const message = Buffer.allocUnsafe(HEAD_BYTES + epoch.length + steps.length);
  message[0] = VERSION;
  message[1] = KINDS.indexOf(kind);
  message[2] = Number(isLast);
  message[3] = epoch.length;
  message.writeUInt32LE(piece, 4);
  message.write(term, 8, 'hex');
  message.writeDoubleLE(number, 16);
  message.writeDoubleLE(state, 24);
  writePlace(message, 32, from);
  writePlace(message, 52, to);
  message.write(owner, 72, 'hex');
  message[72 + OWNER_BYTES] = tenure;
  message.writeUInt16LE(cut, 73 + OWNER_BYTES);
  message.write(epoch, HEAD_BYTES, 'latin1');
  message.set(steps, HEAD_BYTES + epoch.length);
  return message;
}

/** Reads the head of a message. Throws `relay_version` if another version wrote it. */
export function envelopeOf(message: Buffer): Envelope {
  const kind = KINDS[message[1] ?? KINDS.length];
  if (message.length < HEAD_BYTES || message[0] !== VERSION || kind === undefined)
    throw new SnoError(
      'relay_version',
      `a message of the stream has version ${message[0]}, but this process reads version ${VERSION}`,
    );
  return {
    kind,
    isLast: message[2] === 1,
    piece: message.readUInt32LE(4),
    term: message.toString('hex', 8, 16),
    number: message.readDoubleLE(16),
    state: message.readDoubleLE(24),
    epoch: message.toString('latin1', HEAD_BYTES, HEAD_BYTES + (message[3] as number)),
    from: readPlace(message, 32),
    to: readPlace(message, 52),
    owner: message.toString('hex', 72, 72 + OWNER_BYTES),
    tenure: message[72 + OWNER_BYTES] as number,
    cut: message.readUInt16LE(73 + OWNER_BYTES),
  };
}

/** The steps of a message, without copying. */
export function stepsOf(message: Buffer): Buffer {
  return message.subarray(HEAD_BYTES + (message[3] as number));
}

function writePlace(message: Buffer, at: number, { lsn, index, parts }: Place): void {
  message.writeDoubleLE(lsn, at);
  message.writeDoubleLE(index, at + 8);
  message.writeUInt32LE(parts, at + 16);
}

function readPlace(message: Buffer, at: number): Place {
  return { lsn: message.readDoubleLE(at), index: message.readDoubleLE(at + 8), parts: message.readUInt32LE(at + 16) };
}
