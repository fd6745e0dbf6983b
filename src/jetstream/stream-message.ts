/** A message of the stream. */
export interface StreamMessage {
  /** Its sequence in the stream. */
  readonly sequence: number;
  readonly bytes: Buffer;
}

/** A message that a reader of the stream receives. */
export interface ReceivedMessage extends StreamMessage {
  /** Number of messages that the server still has for this reader. */
  readonly pending: number;
}

/** A message that was read by its sequence, or as the newest one. */
export interface StoredMessage extends StreamMessage {
  /** When it was stored, by the server's clock, in ms since 1970. */
  readonly storedAt: number;
}
