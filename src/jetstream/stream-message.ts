/** A message of the stream. */
export interface StreamMessage {
  /** Its sequence in the stream. */
  readonly sequence: number;
  readonly bytes: Buffer;
}

/** A message that a reader of the stream receives. */
export interface ReceivedMessage extends StreamMessage {
  /** Number of messages that the server is about to send after it. */
  readonly pending: number;
}

/** A message that was asked for by itself. */
export interface StoredMessage extends StreamMessage {
  /** When it was stored, by the server's clock, in ms since 1970. */
  readonly storedAt: number;
}
