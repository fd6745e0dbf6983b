/** What one channel gets of the commit that is being read: its events, and the messages that come after them. */

/** No run. */
export const NONE = -1;

/** A message by `sno.publish`: its data is in the commit's bytes, from `start` to `end`. */
export interface Message {
  readonly event: string;
  readonly start: number;
  readonly end: number;
}

export class Share {
  readonly channel: string;
  readonly pattern: string;
  /** Of its runs (runs.ts) the first and the last; NONE while there are none. */
  first = NONE;
  last = NONE;
  /** Bytes of its events, each with a comma after it. */
  bytes = 0;
  messages: Message[] = [];
  /** Frames made so far. */
  index = 0;
  /** Parts made so far. */
  parts = 0;

  constructor(channel: string, pattern: string) {
    this.channel = channel;
    this.pattern = pattern;
  }

  /** Its events have gone into a frame, or never will. */
  clear(): void {
    this.first = NONE;
    this.last = NONE;
    this.bytes = 0;
  }
}
