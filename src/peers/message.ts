/**
 * The format of messages between processes that serve clients: the head, a JSON object on one line,
 * and then the body's bytes. Processes of other versions may take part: each ignores messages of a
 * version that it does not know.
 */

/** Increased whenever older processes could not read what this one writes. */
const VERSION = 1;
const LF = 0x0a;

export interface PeerMessage {
  /** The id of the process that sent it. */
  readonly from: string;
  /** The kind of message. Each kind has one listener in a process. */
  readonly kind: string;
  /** Its content depends on the kind. */
  readonly head: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

const NO_BODY = Buffer.alloc(0);

export function writeMessage({ from, kind, head = {}, body = NO_BODY }: Partial<PeerMessage>): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify({ v: VERSION, from, kind, head })}\n`), body]);
}

/** Reads a message. Undefined: it has another version, or the bytes are not a message. */
export function readMessage(bytes: Buffer): PeerMessage | undefined {
  const end = bytes.indexOf(LF);
  if (end === -1) return undefined;
  try {
    const { v, from, kind, head } = JSON.parse(bytes.toString('utf8', 0, end));
    if (v !== VERSION || typeof from !== 'string' || typeof kind !== 'string') return undefined;
    if (typeof head !== 'object' || head === null) return undefined;
    return { from, kind, head, body: bytes.subarray(end + 1) };
  } catch {
    return undefined;
  }
}
