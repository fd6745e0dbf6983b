/** A message of the stream. */
export interface StreamMessage {
  /** Its sequence in the stream. */
  readonly sequence: number;
  readonly bytes: Buffer;
}

/** A message that was asked for by itself. */
export interface StoredMessage extends StreamMessage {
  /** When it was stored, by the server's clock, in ms since 1970. */
  readonly storedAt: number;
}
