/** A message of the stream. */
export interface StreamMessage {
  /** Its sequence in the stream. */
  readonly sequence: number;
  readonly bytes: Buffer;
}
