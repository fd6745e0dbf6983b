/**
 * Streams the frames of one channel as lines of JSON while they arrive. The journal is polled four
 * times a second while a stream is open, so that making a frame costs nothing more.
 */
import type { ServerResponse } from 'node:http';
import type { FrameReader, FreshFrames } from './source.ts';
import type { FrameLine, LiveEvent, LiveFrame } from './types.ts';

/** How often the journal is polled, in ms. */
const POLL_MS = 250;
/** Maximum frames shown at a time. */
const SHOWN_MAX = 20;
/** Maximum events shown of a frame. */
const EVENTS_MAX = 20;
/** Maximum time between two lines, in ms. */
const ALIVE_MS = 5_000;
/** How long a stream may last, in ms. */
const DURATION_MS = 600_000;
/** Maximum open streams. */
const STREAMS_MAX = 10;

export class FrameStreams {
  readonly #open = new Set<ServerResponse>();

  get isFull(): boolean {
    return this.#open.size >= STREAMS_MAX;
  }

  /** Answers with lines until the client leaves. `isShown`: with the values of rows. */
  serve(response: ServerResponse, read: FrameReader, isShown: boolean): void {
    this.#open.add(response);
    response.writeHead(200, {
      'content-type': 'application/x-ndjson; charset=utf-8',
      'cache-control': 'no-store',
      // makes nginx pass each line on at once
      'x-accel-buffering': 'no',
    });
    const endsAt = Date.now() + DURATION_MS;
    let sentAt = 0;
    const poll = () => {
      // A slow reader misses frames. A `skipped` line says how many.
      if (response.writableNeedDrain) return;
      const lines = linesOf(read(SHOWN_MAX), isShown);
      const now = Date.now();
      if (lines.length === 0 && now - sentAt >= ALIVE_MS) lines.push({ kind: 'alive', at: now });
      if (now >= endsAt) lines.push({ kind: 'end', reason: 'the stream is ten minutes old' });
      if (lines.length === 0) return;
      sentAt = now;
      response.write(lines.map(jsonOf).join(''));
      if (now >= endsAt) response.end();
    };
    const timer = setInterval(poll, POLL_MS);
    response.on('error', () => response.destroy());
    response.on('close', () => {
      clearInterval(timer);
      this.#open.delete(response);
    });
    poll();
  }
}

/** Returns a line as JSON. Data that nests too deeply for JSON.stringify is not shown. */
export function jsonOf(line: FrameLine): string {
  try {
    return `${JSON.stringify(line)}\n`;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return `${JSON.stringify({ ...line, events: null })}\n`;
  }
}

function linesOf({ frames, skipped }: FreshFrames, isShown: boolean): FrameLine[] {
  const lines: FrameLine[] = skipped === 0 ? [] : [{ kind: 'skipped', frames: skipped }];
  for (const { position, bytes, text } of frames) lines.push(lineOf(position, bytes, text, isShown));
  return lines;
}

/** The members of a frame's JSON that this file reads. */
interface Read {
  readonly type: LiveFrame['type'];
  readonly committed_at?: string;
  readonly lsn?: string;
  readonly xid?: number;
  readonly event?: string;
  readonly data?: unknown;
  readonly events?: readonly { readonly op: LiveEvent['op']; readonly key?: unknown; readonly data?: unknown }[];
}

/** Returns a frame as a line. `text`: the frame's JSON. Undefined: it is too large to be shown. */
export function lineOf(position: string, bytes: number, text: Buffer | undefined, isShown: boolean): LiveFrame {
  const read = text === undefined ? undefined : (JSON.parse(withExactNumbers(text.toString())) as Read);
  const events = read === undefined ? undefined : (read.events ?? [{ op: 'message' as const, data: read.data }]);
  return {
    kind: 'frame',
    type: read?.type ?? 'changes',
    position,
    bytes,
    committedAt: read?.committed_at ?? null,
    lsn: read?.lsn ?? null,
    xid: read?.xid ?? null,
    event: read?.event ?? null,
    count: events?.length ?? null,
    events: events?.slice(0, EVENTS_MAX).map((event) => eventOf(event, isShown)) ?? null,
  };
}

function eventOf({ op, key, data }: NonNullable<Read['events']>[number], isShown: boolean): LiveEvent {
  const columns = [...new Set([...namesOf(key), ...namesOf(data)])];
  if (!isShown) return { op, columns };
  return { op, columns, ...(key === undefined ? {} : { key }), ...(data === undefined ? {} : { data }) };
}

function namesOf(value: unknown): readonly string[] {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
}

/** A string, or a number of at least 16 characters. */
const STRING_OR_LONG_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]{15,}/g;

/** Numbers that JavaScript would round become strings, so that an operator sees their digits. */
function withExactNumbers(json: string): string {
  return json.replace(STRING_OR_LONG_NUMBER, (token) =>
    token.startsWith('"') || String(Number(token)) === token ? token : `"${token}"`,
  );
}
