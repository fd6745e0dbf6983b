/**
 * The ids of an event stream. `<position>`: every channel is complete up to it. Otherwise
 * `<position>!<channels>.<absent>.<ahead>`:
 *
 * - `channels`: a digest of the names, so that an id of other channels is detected.
 * - `absent`: a bit for each channel, in the order of the names, that the id does not count for.
 *   Such a channel starts anew when the stream resumes.
 * - `ahead`: the channels that are complete beyond the position, each as `<number>-<lsn>-<index>`
 *   in base 36. They have received their part of a commit that concerns several channels.
 */
import { createHash } from 'node:crypto';
import { formatPosition, type Position, parsePosition } from '../../position.ts';

const DIGEST_CHARACTERS = 8;

/** What a client of a stream holds. */
export interface StreamState {
  readonly position: string;
  readonly absent: ReadonlySet<string>;
  readonly ahead: ReadonlyMap<string, Position>;
}

/** Writes and reads the ids of streams with these channels. */
export class StreamIds {
  readonly #channels: readonly string[];
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #digest: string;

  constructor(channels: readonly string[]) {
    this.#channels = [...channels].sort();
    this.#numbers = new Map(this.#channels.map((channel, number) => [channel, number]));
    const digest = createHash('sha256').update(this.#channels.join('\n')).digest('base64url');
    this.#digest = digest.slice(0, DIGEST_CHARACTERS);
  }

  write({ position, absent, ahead }: StreamState): string {
    if (absent.size === 0 && ahead.size === 0) return position;
    const bits = Buffer.alloc(Math.ceil(this.#channels.length / 8));
    for (const channel of absent) {
      const number = this.#numbers.get(channel) as number;
      bits[number >> 3] = (bits[number >> 3] as number) | (1 << (number & 7));
    }
    const places = [...ahead].map(([channel, { lsn, index }]) =>
      [this.#numbers.get(channel) as number, lsn, index].map((part) => part.toString(36)).join('-'),
    );
    return `${position}!${this.#digest}.${bits.toString('base64url')}.${places.join('_')}`;
  }

  /** Returns undefined for an id that no stream with these channels has sent. */
  read(id: string): StreamState | undefined {
    const [, position = '', suffix] = /^([^!]*)(?:!(.*))?$/s.exec(id) ?? [];
    const parsed = parsePosition(position);
    if (parsed === undefined) return undefined;
    if (suffix === undefined) return { position, absent: new Set(), ahead: new Map() };
    const [, digest, bits = '', places = ''] = /^([\w-]+)\.([\w-]+)\.([\da-z_-]*)$/.exec(suffix) ?? [];
    const bytes = Buffer.from(bits, 'base64url');
    if (digest !== this.#digest || bytes.length !== Math.ceil(this.#channels.length / 8)) return undefined;
    const isAbsent = (number: number) => ((bytes[number >> 3] as number) & (1 << (number & 7))) !== 0;
    const ahead = new Map<string, Position>();
    for (const place of places === '' ? [] : places.split('_')) {
      const [number, lsn, index] = place.split('-').map((part) => Number.parseInt(part, 36));
      const channel = this.#channels[number ?? -1];
      if (channel === undefined || !Number.isSafeInteger(lsn) || !Number.isSafeInteger(index)) return undefined;
      // Only a text that is a position may go on to the fan-out.
      if (parsePosition(formatPosition(parsed.epoch, lsn as number, index as number)) === undefined) return undefined;
      ahead.set(channel, { lsn: lsn as number, index: index as number });
    }
    return { position, absent: new Set(this.#channels.filter((_channel, number) => isAbsent(number))), ahead };
  }
}

/** Where a channel resumes. Undefined: it starts anew. */
export function resumptionOf({ position, absent, ahead }: StreamState, channel: string): string | undefined {
  if (absent.has(channel)) return undefined;
  const place = ahead.get(channel);
  if (place === undefined) return position;
  return formatPosition(parsePosition(position)?.epoch ?? '', place.lsn, place.index);
}
