/** The pgoutput plugin of pg-logical-replication, for tests that compare values as text. */
import { type Pgoutput, PgoutputPlugin } from 'pg-logical-replication';

/** Leaves each value as text, which the package would convert to numbers, dates and objects. */
export class TextPlugin extends PgoutputPlugin {
  readonly #onMessage: (message: Buffer) => void;

  /** `onMessage` is called with each message, whose bytes are valid during the call only. */
  constructor(publication: string, onMessage: (message: Buffer) => void = () => undefined) {
    super({ protoVersion: 1, publicationNames: [publication] });
    this.#onMessage = onMessage;
  }

  override parse(message: Buffer): Pgoutput.Message {
    this.#onMessage(message);
    const parsed = super.parse(message);
    // The plugin keeps this object, and reads the rows of the relation with its parsers.
    if (parsed.tag === 'relation') for (const column of parsed.columns) column.parser = (text) => text;
    return parsed;
  }
}
