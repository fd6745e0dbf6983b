/** Reads the text of an event stream, in pieces of any size. */

/** What stands between two blank lines. */
export interface Block {
  /** `message`, unless the block names another type. */
  readonly type: string;
  /** Undefined: the block has no data. By the standard it is no event. */
  readonly data: string | undefined;
}

/**
 * When a client counts an id.
 *
 * - with its event: at the blank line, as the HTML standard says. So do browsers and the package
 *   `eventsource` from version 3 on.
 * - at once: when the id's line ends. So do `@microsoft/fetch-event-source` 2.0.1 and the package
 *   `eventsource` 2. The former hands each block to the app, also without data.
 */
export type Counting = 'with its event' | 'at once';

export class EventParser {
  /** The id with which the client would reconnect. */
  lastEventId: string;
  /** In ms, as the stream has set it. */
  retry: number | undefined;
  comments = 0;
  readonly #counting: Counting;
  readonly #onBlock: (block: Block) => void;
  #line = '';
  #type = 'message';
  #data: string[] = [];
  #id: string;

  constructor(counting: Counting, lastEventId: string, onBlock: (block: Block) => void) {
    this.#counting = counting;
    this.lastEventId = lastEventId;
    this.#id = lastEventId;
    this.#onBlock = onBlock;
  }

  /** Throws at a line that is no field. Lines end with LF, as Snö's do. */
  read(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop() as string;
    for (const line of lines) {
      if (line === '') this.#endBlock();
      else this.#readField(line);
    }
  }

  #readField(line: string): void {
    const colon = line.indexOf(':');
    const [field, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
    if (colon === 0) this.comments++;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#type = value;
    else if (field === 'retry') this.retry = Number(value);
    else if (field === 'id') this.#id = value;
    else throw new Error(`a line that is not a field: ${line.slice(0, 200)}`);
    if (this.#counting === 'at once') this.lastEventId = this.#id;
  }

  #endBlock(): void {
    this.lastEventId = this.#id;
    const block = { type: this.#type, data: this.#data.length === 0 ? undefined : this.#data.join('\n') };
    this.#type = 'message';
    this.#data = [];
    this.#onBlock(block);
  }
}
