/**
 * The wire forms of Pusher's protocol: one encoding for each prefix of channel names, and each way
 * to write them, since the name is part of each frame. All clients that know a channel by the same
 * name share its bytes.
 *
 * - Each event of a commit is a frame of its own: its name is the operation, its data `key` and
 *   `data`. The frames of one commit and channel are one buffer.
 * - A message is a frame with the message's own event name.
 * - Pieces of a snapshot are `snapshot` events.
 * - Presence becomes `subscription_succeeded` with all members, `member_added`, `member_removed`.
 * - Control frames depend on what the client has asked for, so the connection makes them.
 */
import type { Entry } from '../../commit/entry.ts';
import type { EncodedForms } from '../../fanout/encoded-forms.ts';
import type { Encoding, UnstoredType } from '../../fanout/encoding.ts';
import { type Payload, textOf } from '../../memory/payload.ts';
import { type DeflatedOptions, FrameDeflater } from '../sno/encodings.ts';
import { DeflatedPusher, type PlainForm } from './deflated.ts';
import { FrameWriter, frameOf, headOf } from './frames.ts';
import { ALL_PREFIXES, nameOf, type Prefix, type PusherName } from './names.ts';

const NOTHING = Buffer.alloc(0);
const EVENTS = Buffer.from('"events":[');
const EVENT = Buffer.from('"event":');
const CHANNEL = Buffer.from('"channel":');
const FROM = Buffer.from('"from":');
const ROWS = Buffer.from('"rows":[');
const DATA_BYTES = ',"data":'.length;
/** The place of an event's operation, behind `{"op":"`. */
const OP_AT = '{"op":"'.length;
/** What stands before a list of members, between a member's parts, and in Pusher's members. */
const LIST = ':[';
const ID_AT = '{"id":'.length;
const INFO_BYTES = ',"info":'.length;
const USER_ID = '{"user_id":';
const USER_INFO = ',"user_info":';
const OPEN = Buffer.from('{');
/** Maximum bytes of a snapshot piece behind its rows. */
const TAIL_BYTES_MAX = 64;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

export const SUBSCRIPTION_SUCCEEDED = 'pusher_internal:subscription_succeeded';
const MEMBER_ADDED = 'pusher_internal:member_added';
const MEMBER_REMOVED = 'pusher_internal:member_removed';
const CACHE_MISS = 'pusher:cache_miss';
/** Clients treat events with these names as the protocol's own. */
const RESERVED = /^pusher(_internal)?:/;

/** A channel's encoding, for clients with and without compression. */
interface Forms {
  readonly plain: Encoding;
  readonly deflated: Encoding;
}

/** All encodings: one for each way in which clients form the name of a channel. */
export class PusherEncodings {
  readonly #all: ReadonlyMap<string, Forms>;

  constructor(options: DeflatedOptions) {
    const { forms } = options;
    const deflater = new FrameDeflater(options);
    const all = ALL_PREFIXES.flatMap((prefix) =>
      [false, true].map((isSpelled) => {
        const key = `${prefix} ${isSpelled}`;
        const plain = new PusherEncoding(prefix, isSpelled, forms);
        return [key, { plain, deflated: new DeflatedPusher(plain, forms, deflater) }] as const;
      }),
    );
    this.#all = new Map(all);
  }

  of({ prefix, isSpelled }: Pick<PusherName, 'prefix' | 'isSpelled'>, deflates: boolean): Encoding {
    const { plain, deflated } = this.#all.get(`${prefix} ${isSpelled}`) as Forms;
    return deflates ? deflated : plain;
  }
}

/** Whether an event may have this name. */
export function isReserved(event: string): boolean {
  return RESERVED.test(event);
}

class PusherEncoding implements PlainForm {
  readonly #prefix: Prefix;
  readonly #isSpelled: boolean;
  readonly #forms: EncodedForms;
  readonly #writer = new FrameWriter();

  constructor(prefix: Prefix, isSpelled: boolean, forms: EncodedForms) {
    this.#prefix = prefix;
    this.#isSpelled = isSpelled;
    this.#forms = forms;
  }

  entry(entry: Entry): Buffer {
    const kept = this.#forms.of(entry, this);
    if (kept !== undefined) return kept;
    const text = textOf(entry.payload);
    const name = nameOf(this.#prefix, entry.channel, this.#isSpelled);
    // Before its events, `changes` contains no text of the app.
    const eventsAt = isMessage(text) ? -1 : text.indexOf(EVENTS);
    const made = eventsAt === -1 ? this.#message(text, name) : this.#changes(text, eventsAt + EVENTS.length, name);
    this.#forms.keep(entry, this, made);
    return made;
  }

  /** The first piece comes with the event that says that the client is subscribed. */
  snapshot(payload: Payload, channel: string): Buffer {
    const text = textOf(payload);
    const name = nameOf(this.#prefix, channel, this.#isSpelled);
    const tail = text.toString('latin1', Math.max(0, text.length - TAIL_BYTES_MAX));
    const isFirst = /,"part":1,/.test(tail);
    // A presence channel sends it with the members.
    const isNews = isFirst && !this.#prefix.startsWith('presence-');
    const begin = isNews ? frameOf(SUBSCRIPTION_SUCCEEDED, {}, name) : NOTHING;
    const rowsAt = text.indexOf(ROWS);
    if (isFirst && text[rowsAt + ROWS.length] === CLOSE_BRACKET) return Buffer.concat([begin, cacheMiss(name)]);
    const writer = this.#writer;
    writer.begin(headOf('snapshot', name));
    writer.data(OPEN, 0, 1);
    writer.data(text, rowsAt, text.length);
    writer.end();
    return Buffer.concat([begin, writer.take()]);
  }

  unstored(type: UnstoredType, payload: Payload): Buffer {
    const text = textOf(payload);
    if (type === 'presence') return this.#presence(text);
    const channelAt = text.indexOf(CHANNEL) + CHANNEL.length;
    const channel = JSON.parse(text.toString('utf8', channelAt, endOfString(text, channelAt))) as string;
    return this.#message(text, nameOf(this.#prefix, channel, this.#isSpelled));
  }

  control(): Buffer {
    return NOTHING;
  }

  /** Copies the text of each member's info: the app chooses how deeply it nests. */
  #presence(text: Buffer): Buffer {
    const channelAt = text.indexOf(CHANNEL) + CHANNEL.length;
    const channelEnd = endOfString(text, channelAt);
    const channel = JSON.parse(text.toString('utf8', channelAt, channelEnd)) as string;
    const name = nameOf(this.#prefix, channel, this.#isSpelled);
    const partEnd = endOfString(text, channelEnd + 1);
    const part = text.toString('latin1', channelEnd + 2, partEnd - 1);
    const members = membersIn(text, partEnd + LIST.length);
    if (part === 'members') return this.#memberList(text, members, name);
    const isJoin = part === 'joined';
    const head = headOf(isJoin ? MEMBER_ADDED : MEMBER_REMOVED, name);
    const writer = this.#writer;
    for (const { idAt, idEnd, infoAt, infoEnd } of members) {
      writer.begin(head);
      writer.text(USER_ID);
      writer.data(text, idAt, idEnd);
      if (isJoin) {
        writer.text(USER_INFO);
        writer.data(text, infoAt, infoEnd);
      }
      writer.text('}');
      writer.end();
    }
    return writer.take();
  }

  #memberList(text: Buffer, members: readonly MemberPlace[], name: string): Buffer {
    const writer = this.#writer;
    writer.begin(headOf(SUBSCRIPTION_SUCCEEDED, name));
    writer.text(`{"presence":{"count":${members.length},"ids":[`);
    for (const [index, { idAt, idEnd }] of members.entries()) {
      if (index > 0) writer.text(',');
      writer.data(text, idAt, idEnd);
    }
    writer.text('],"hash":{');
    for (const [index, { idAt, idEnd, infoAt, infoEnd }] of members.entries()) {
      if (index > 0) writer.text(',');
      writer.data(text, idAt, idEnd);
      writer.text(':');
      writer.data(text, infoAt, infoEnd);
    }
    writer.text('}}}');
    writer.end();
    return writer.take();
  }

  #changes(text: Buffer, first: number, name: string): Buffer {
    const writer = this.#writer;
    const heads = new Map<string, Buffer>();
    for (let at = first; text[at] === OPEN_BRACE; ) {
      const opEnd = text.indexOf(QUOTE, at + OP_AT);
      const end = endOfObject(text, at);
      const op = text.toString('latin1', at + OP_AT, opEnd);
      let head = heads.get(op);
      if (head === undefined) {
        head = headOf(op, name);
        heads.set(op, head);
      }
      writer.begin(head);
      writer.data(OPEN, 0, 1);
      const restAt = opEnd + 1;
      writer.data(text, text[restAt] === COMMA ? restAt + 1 : restAt, end);
      writer.end();
      at = text[end] === COMMA ? end + 1 : end;
    }
    return writer.take();
  }

  #message(text: Buffer, name: string): Buffer {
    const eventAt = text.indexOf(EVENT) + EVENT.length;
    const eventEnd = endOfString(text, eventAt);
    const event = JSON.parse(text.toString('utf8', eventAt, eventEnd)) as string;
    if (isReserved(event)) return NOTHING;
    const writer = this.#writer;
    writer.begin(headOf(event, name, this.#prefix.startsWith('presence-') ? senderOf(text, eventAt) : undefined));
    writer.data(text, eventEnd + DATA_BYTES, text.length - 1);
    writer.end();
    return writer.take();
  }
}

/** Where the text of a member has its id, with the quotes, and its info. */
interface MemberPlace {
  readonly idAt: number;
  readonly idEnd: number;
  readonly infoAt: number;
  readonly infoEnd: number;
}

/** The members of a presence frame's list, which begins at `first`. */
function membersIn(text: Buffer, first: number): readonly MemberPlace[] {
  const places: MemberPlace[] = [];
  for (let at = first; text[at] === OPEN_BRACE; ) {
    const end = endOfObject(text, at);
    const idAt = at + ID_AT;
    const idEnd = endOfString(text, idAt);
    places.push({ idAt, idEnd, infoAt: idEnd + INFO_BYTES, infoEnd: end - 1 });
    at = text[end] === COMMA ? end + 1 : end;
  }
  return places;
}

/** The user that has sent a message. Undefined: no client has, or its token names no user. */
function senderOf(text: Buffer, eventAt: number): string | undefined {
  const at = text.subarray(0, eventAt).indexOf(FROM) + FROM.length;
  if (at < FROM.length || text[at] !== QUOTE) return undefined;
  return JSON.parse(text.toString('utf8', at, endOfString(text, at))) as string;
}

/** The event of a cache channel that has no rows. */
export function cacheMiss(name: string): Buffer {
  return frameOf(CACHE_MISS, undefined, name);
}

/** Whether the text of an entry is a `message`. */
function isMessage(text: Buffer): boolean {
  return text['{"type":"'.length] === 0x6d;
}

/** Returns the place behind the string that begins at `start`. */
function endOfString(text: Buffer, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== QUOTE) at += text[at] === BACKSLASH ? 2 : 1;
  return at + 1;
}

/** Returns the place behind the JSON object that begins at `start`. */
function endOfObject(text: Buffer, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const byte = text[at];
    if (byte === QUOTE) at = endOfString(text, at) - 1;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) return at + 1;
  }
  return text.length;
}
