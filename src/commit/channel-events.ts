/** One channel's share of the current commit: its events, and the messages that follow them. */

/** No run. */
export const NONE = -1;

/** A message sent by `sno.publish`. Its data is in the commit's bytes, from `start` to `end`. */
export interface Message {
  readonly event: string;
  readonly start: number;
  readonly end: number;
  /** The connection that does not receive it. Undefined: all do. */
  readonly except: string | undefined;
}

/** A channel's runs in the bytes of a commit (runs.ts). */
export class Chain {
  /** Its first and last run. NONE: no run yet. */
  first = NONE;
  last = NONE;
  bytes = 0;

  clear(): void {
    this.first = NONE;
    this.last = NONE;
    this.bytes = 0;
  }
}

export class Share {
  readonly channel: string;
  readonly pattern: string;
  /** Its events, each with a comma after it. */
  readonly events = new Chain();
  /** The records of their old values. Undefined: no event has old values. */
  old: Chain | undefined;
  messages: Message[] = [];
  /** Number of parts made so far. */
  parts = 0;
  /** Number of entries made before the commit's end. */
  #early = 0;
  /** Number of messages made so far. */
  #messages = 0;
  /** Number of entries with rows at the commit's end: none, or one. */
  #rows = 0;

  constructor(channel: string, pattern: string) {
    this.channel = channel;
    this.pattern = pattern;
  }

  /**
   * At the commit's end, indexes do not depend on the size of parts: 1 for the rows, and the next
   * ones for messages. Clients resume in other processes and after a restart, where the commit may
   * be whole or have other parts. Entries before the end are counted apart, since they have an LSN
   * of their own.
   */
  indexOfChanges(isLast: boolean): number {
    if (!isLast) return ++this.#early;
    this.#rows = 1;
    return this.#rows;
  }

  indexOfMessage(isLast: boolean): number {
    this.#messages++;
    return isLast ? this.#rows + this.#messages : ++this.#early;
  }

  /** Drops its events: they are in an entry, or are not needed. */
  clear(): void {
    this.events.clear();
    this.old = undefined;
  }
}
