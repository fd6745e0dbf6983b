/** One channel's share of the current commit: its events, and the messages that follow them. */

/** No run. */
export const NONE = -1;

/** A message sent by `sno.publish`. Its data is in the commit's bytes, from `start` to `end`. */
export interface Message {
  readonly event: string;
  readonly start: number;
  readonly end: number;
}

export class Share {
  readonly channel: string;
  readonly pattern: string;
  /** Its first and last run (runs.ts). NONE: no run yet. */
  first = NONE;
  last = NONE;
  /** Bytes of its events, each with a comma after it. */
  bytes = 0;
  messages: Message[] = [];
  /** Number of entries made so far. */
  index = 0;
  /** Number of parts made so far. */
  parts = 0;

  constructor(channel: string, pattern: string) {
    this.channel = channel;
    this.pattern = pattern;
  }

  /** Forgets its events: they are in an entry, or never will be. */
  clear(): void {
    this.first = NONE;
    this.last = NONE;
    this.bytes = 0;
  }
}
