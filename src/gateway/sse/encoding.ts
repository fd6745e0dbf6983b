/**
 * The wire forms of event streams (server-sent events): without ids, and with the ids of a stream
 * of one channel. stream-encoding.ts has the ids of several.
 *
 * - An event is `event: <type>` and `data: <the frame of the websocket protocol>`.
 * - Line breaks in the data separate JSON tokens, since a JSON string has none. Each line becomes a
 *   `data:` line, and the client joins the lines again.
 */
import { type Entry, isUnfinished } from '../../commit/entry.ts';
import type { EncodedForms } from '../../fanout/encoded-forms.ts';
import type { Encoding, UnstoredType } from '../../fanout/encoding.ts';
import { type Payload, textOf } from '../../memory/payload.ts';
import { formatPosition } from '../../position.ts';
import type { ServerFrame } from '../../protocol.ts';
import { WithOldValues } from '../old-values.ts';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const NEXT_LINE = Buffer.from('\ndata: ');
const END = Buffer.from('\n\n');
const NOTHING = Buffer.alloc(0);
/** Minimum bytes of an event that is kept for later clients. Smaller ones are made again. */
const KEPT_BYTES_MIN = 16 * 1_024;
/** The place of the type's first letter in a payload: `{"type":"changes"`, or `message`. */
const TYPE_AT = '{"type":"'.length;
const LETTER_M = 0x6d;

/** Sets the client's last event id. The next event, if any, follows directly. */
export function idLine(position: string): Buffer {
  return Buffer.from(`id: ${position}\n`);
}

/** Sets the client's last event id, without an event. */
export function idOnly(position: string): Buffer {
  return Buffer.from(`id: ${position}\n\n`);
}

/** Sets how long the client waits before it reconnects, in ms. */
export function retryAfter(ms: number): Buffer {
  return Buffer.from(`retry: ${Math.round(ms)}\n\n`);
}

export function eventOf(frame: ServerFrame): Buffer {
  return Buffer.from(`event: ${frame.type}\ndata: ${JSON.stringify(frame)}\n\n`);
}

/** A comment, which keeps a connection open when there is nothing to send. */
export const COMMENT = Buffer.from(':\n\n');

/** Events without ids: no channel of the stream is in step yet. */
class EventEncoding implements Encoding {
  readonly #forms: EncodedForms;
  /** The last small entry, which the next connection probably needs too. */
  #last: Entry | undefined;
  #lastMade: Buffer = NOTHING;

  /** `forms`: keeps large events for later clients. */
  constructor(forms: EncodedForms) {
    this.#forms = forms;
  }

  entry(entry: Entry): Buffer {
    const kept = entry === this.#last ? this.#lastMade : this.#forms.of(entry, this);
    if (kept !== undefined) return kept;
    const text = textOf(entry.payload);
    const made = event(isMessage(text) ? 'message' : 'changes', text);
    if (made.length >= KEPT_BYTES_MIN) {
      this.#forms.keep(entry, this, made);
    } else {
      this.#last = entry;
      this.#lastMade = made;
    }
    return made;
  }

  snapshot(payload: Payload): Buffer {
    return event('snapshot', textOf(payload));
  }

  /** Without an id: unstored frames have no position. */
  unstored(type: UnstoredType | 'changes', payload: Payload): Buffer {
    return event(type, textOf(payload));
  }

  /** Heartbeats only move ids: the connection sends its own comments. */
  control(frame: ServerFrame): Buffer {
    return frame.type === 'heartbeat' ? NOTHING : eventOf(frame);
  }
}

/** Events with ids, for streams of one channel: the position of each event. */
class EventEncodingWithIds implements Encoding {
  readonly #plain: Encoding;
  readonly #epoch: () => string;

  /** `epoch`: returns the stream's current epoch, to which all entries belong. */
  constructor(plain: Encoding, epoch: () => string) {
    this.#plain = plain;
    this.#epoch = epoch;
  }

  entry(entry: Entry): Buffer {
    return this.#plain.entry(entry);
  }

  mark(entry: Entry, _endsCommit: boolean): Buffer | undefined {
    if (isUnfinished(entry)) return undefined;
    return idLine(formatPosition(this.#epoch(), entry.lsn, entry.index));
  }

  snapshot(payload: Payload, channel: string): Buffer | Promise<Buffer> {
    return this.#plain.snapshot(payload, channel);
  }

  unstored(type: UnstoredType | 'changes', payload: Payload): Buffer {
    return this.#plain.unstored(type, payload);
  }

  control(frame: ServerFrame): Buffer {
    return frame.type === 'heartbeat' ? idOnly(frame.position) : eventOf(frame);
  }
}

/** Events without ids, and with the ids of streams of one channel. */
export interface Events {
  readonly plain: Encoding;
  readonly withIds: Encoding;
}

export interface EventEncodings {
  readonly usual: Events;
  /** With the old values of rows. */
  readonly withOldValues: Events;
}

export function eventEncodings(forms: EncodedForms, epoch: () => string): EventEncodings {
  const usual = new EventEncoding(forms);
  const withOldValues = new WithOldValues(usual, forms);
  const both = (plain: Encoding): Events => ({ plain, withIds: new EventEncodingWithIds(plain, epoch) });
  return { usual: both(usual), withOldValues: both(withOldValues) };
}

/** Whether the text of an entry is a `message`. */
export function isMessage(text: Buffer): boolean {
  return text[TYPE_AT] === LETTER_M;
}

function event(type: string, text: Buffer): Buffer {
  const head = Buffer.from(`event: ${type}\ndata: `);
  const lines = text.includes(LINE_FEED) || text.includes(CARRIAGE_RETURN) ? inDataLines(text) : text;
  return Buffer.concat([head, lines, END], head.length + lines.length + END.length);
}

/** Begins a `data:` line after each line break: LF, CR or CRLF. */
function inDataLines(text: Buffer): Buffer {
  let breaks = 0;
  for (const byte of text) if (byte === LINE_FEED || byte === CARRIAGE_RETURN) breaks++;
  const made = Buffer.allocUnsafe(text.length + breaks * NEXT_LINE.length);
  let to = 0;
  for (let from = 0; from < text.length; from++) {
    const byte = text[from] as number;
    if (byte !== LINE_FEED && byte !== CARRIAGE_RETURN) {
      made[to++] = byte;
      continue;
    }
    if (byte === CARRIAGE_RETURN && text[from + 1] === LINE_FEED) from++;
    to += NEXT_LINE.copy(made, to);
  }
  return made.subarray(0, to);
}
