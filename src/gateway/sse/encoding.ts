/**
 * The wire forms of event streams (server-sent events): without ids, and with the ids of a stream
 * of one channel. stream-encoding.ts has the ids of several.
 *
 * - An event is `event: <type>` and `data: <the frame of the websocket protocol>`.
 * - An id stands behind the data of its event (`IdPlace`). Many clients count an id as soon as its
 *   line is there. In front of the data it would count before its event, and a client that is cut
 *   in between would lose the event.
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
const LINE_END = Buffer.alloc(1, '\n');
/** Ends an event whose last line has ended. */
export const BLANK_LINE = LINE_END;
const EVENT_END = Buffer.from('\n\n');
const NOTHING = Buffer.alloc(0);
/** Minimum bytes of an event that is kept for later clients. Smaller ones are made again. */
const KEPT_BYTES_MIN = 16 * 1_024;
/** The place of the type's first letter in a payload: `{"type":"changes"`, or `message`. */
const TYPE_AT = '{"type":"'.length;
const LETTER_M = 0x6d;

/**
 * Where the id of an event stands.
 *
 * - with: it is the event's last line. By the standard, the id counts together with its event.
 * - after: it follows the blank line that ends the event. A client that counts an id at once cannot
 *   count it before the event, wherever the connection ends. By the standard, it counts together
 *   with the next event.
 */
export type IdPlace = 'with' | 'after';

/** Ends an event whose last line has ended, and sets the client's last event id. */
export function idTail(position: string, place: IdPlace): Buffer {
  return Buffer.from(tailText(position, place));
}

/** Sets the client's last event id, without an event. */
export function idOnly(position: string, place: IdPlace): Buffer {
  return Buffer.from(place === 'with' ? `id: ${position}\n\n` : `id: ${position}\n`);
}

/**
 * Sets how long the client waits before it reconnects, in ms. It counts without a blank line. After
 * one, some clients would show their app an event without data.
 */
export function retryAfter(ms: number): Buffer {
  return Buffer.from(`retry: ${Math.round(ms)}\n`);
}

export function eventOf(frame: ServerFrame): Buffer {
  return Buffer.from(`${linesOf(frame)}\n`);
}

/**
 * A comment, which keeps a connection open when there is nothing to send. Without a blank line, as
 * `retryAfter`. It must not be sent within an event.
 */
export const COMMENT = Buffer.from(':\n');

/** Events without ids: no channel of the stream is in step yet. Their tail is a blank line. */
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
    const made = event(isMessage(text) ? 'message' : 'changes', text, LINE_END);
    if (made.length >= KEPT_BYTES_MIN) {
      this.#forms.keep(entry, this, made);
    } else {
      this.#last = entry;
      this.#lastMade = made;
    }
    return made;
  }

  tail(): Buffer {
    return BLANK_LINE;
  }

  snapshot(payload: Payload): Buffer {
    return event('snapshot', textOf(payload), EVENT_END);
  }

  /** Without an id: unstored frames have no position. */
  unstored(type: UnstoredType | 'changes', payload: Payload): Buffer {
    return event(type, textOf(payload), type === 'changes' ? LINE_END : EVENT_END);
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
  readonly #place: IdPlace;

  /** `epoch`: returns the stream's current epoch, to which all entries belong. */
  constructor(plain: Encoding, epoch: () => string, place: IdPlace) {
    this.#plain = plain;
    this.#epoch = epoch;
    this.#place = place;
  }

  entry(entry: Entry): Buffer {
    return this.#plain.entry(entry);
  }

  tail(entry: Entry, _endsCommit: boolean): Buffer {
    if (isUnfinished(entry)) return BLANK_LINE;
    return idTail(formatPosition(this.#epoch(), entry.lsn, entry.index), this.#place);
  }

  snapshot(payload: Payload, channel: string): Buffer | Promise<Buffer> {
    return this.#plain.snapshot(payload, channel);
  }

  unstored(type: UnstoredType | 'changes', payload: Payload): Buffer {
    return this.#plain.unstored(type, payload);
  }

  /** `subscribed` has an id too: the client is complete up to its position. */
  control(frame: ServerFrame): Buffer {
    if (frame.type === 'heartbeat') return idOnly(frame.position, this.#place);
    if (frame.type !== 'subscribed') return eventOf(frame);
    return Buffer.from(linesOf(frame) + tailText(frame.position, this.#place));
  }
}

/** Events without ids, and with the ids of streams of one channel. */
export interface Events {
  readonly plain: Encoding;
  readonly withIds: Readonly<Record<IdPlace, Encoding>>;
}

export interface EventEncodings {
  readonly usual: Events;
  /** With the old values of rows. */
  readonly withOldValues: Events;
}

export function eventEncodings(forms: EncodedForms, epoch: () => string): EventEncodings {
  const usual = new EventEncoding(forms);
  const withOldValues = new WithOldValues(usual, forms);
  const withIds = (plain: Encoding, place: IdPlace) => new EventEncodingWithIds(plain, epoch, place);
  const all = (plain: Encoding): Events => ({
    plain,
    withIds: { with: withIds(plain, 'with'), after: withIds(plain, 'after') },
  });
  return { usual: all(usual), withOldValues: all(withOldValues) };
}

/** Whether the text of an entry is a `message`. */
export function isMessage(text: Buffer): boolean {
  return text[TYPE_AT] === LETTER_M;
}

function tailText(position: string, place: IdPlace): string {
  return place === 'with' ? `id: ${position}\n\n` : `\nid: ${position}\n`;
}

/** An event's lines, without the blank line that ends it. */
function linesOf(frame: ServerFrame): string {
  return `event: ${frame.type}\ndata: ${JSON.stringify(frame)}\n`;
}

/** `end`: what stands behind the data. */
function event(type: string, text: Buffer, end: Buffer): Buffer {
  const head = Buffer.from(`event: ${type}\ndata: `);
  const lines = text.includes(LINE_FEED) || text.includes(CARRIAGE_RETURN) ? inDataLines(text) : text;
  return Buffer.concat([head, lines, end], head.length + lines.length + end.length);
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
