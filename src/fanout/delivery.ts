/**
 * Writes new entries to the feeds that are live in their channels, once for all entries that
 * arrived together.
 *
 * 1. `queue` keeps an entry with its channel, if any subscription there is live.
 * 2. `write` looks which feeds are live in one of the channels with entries, and which in several.
 * 3. A channel's entries are joined into one buffer. Each feed that is live in this channel alone
 *    receives that same buffer.
 * 4. A feed that is live in several of the channels receives their entries in commit order.
 */
import type { Entry } from '../commit/entry.ts';
import type { SocketFeed } from './feed.ts';
import type { LiveChannel, LiveChannels } from './live-channels.ts';
import type { HubOptions } from './options.ts';

/**
 * Maximum bytes of a frame that is joined with others. A larger frame costs more to copy than to
 * write separately.
 */
const JOINED_FRAME_BYTES_MAX = 16 * 1_024;

export class Delivery {
  readonly #channels: LiveChannels;
  readonly #options: Pick<HubOptions, 'deflater' | 'events'>;
  /** The channels with pending entries. */
  #dirty: LiveChannel[] = [];
  #round = 0;

  constructor(channels: LiveChannels, options: Pick<HubOptions, 'deflater' | 'events'>) {
    this.#channels = channels;
    this.#options = options;
  }

  get isDirty(): boolean {
    return this.#dirty.length > 0;
  }

  queue(entry: Entry): void {
    const channel = this.#channels.get(entry.channel);
    if (channel === undefined || channel.liveCount === 0) return;
    if (channel.addPending(entry)) this.#dirty.push(channel);
  }

  /** Writes to every feed that is live in a channel with new entries. Returns these feeds. */
  write(): readonly SocketFeed[] {
    const dirty = this.#dirty;
    this.#dirty = [];
    const round = ++this.#round;
    const feeds: SocketFeed[] = [];
    if (dirty.length > 1) {
      for (const channel of dirty) {
        channel.all.forEach((feed, { state }) => {
          if (state !== 'live') return;
          feed.isMulti = feed.round === round;
          feed.round = round;
          if (feed.isMulti) feeds.push(feed);
        });
      }
      // So far `isMulti` is true only for feeds seen again in the last channel. Every feed in
      // `feeds` is in several.
      for (const feed of feeds) feed.isMulti = true;
    }
    const deflate = (entry: Entry) => this.#options.deflater.frameOf(entry);
    const several = new Map<SocketFeed, Entry[]>();
    const touched: SocketFeed[] = [];
    for (const channel of dirty) {
      const pending = channel.takePending();
      let frames: readonly Buffer[] | undefined;
      let deflated: readonly Buffer[] | undefined;
      let count = 0;
      channel.all.forEach((feed, { state }) => {
        if (state !== 'live') return;
        if (feed.isMulti) {
          const entries = several.get(feed);
          if (entries === undefined) several.set(feed, [...pending]);
          else entries.push(...pending);
          return;
        }
        if (feed.deflates) deflated ??= joined(pending.map(deflate));
        else frames ??= joined(pending.map(plain));
        for (const frame of (feed.deflates ? deflated : frames) as readonly Buffer[]) feed.outbox.write(frame);
        touched.push(feed);
        count++;
      });
      this.#options.events.delivered(count * pending.length);
    }
    for (const [feed, entries] of several) {
      entries.sort((a, b) => a.sequence - b.sequence);
      for (const frame of joined(entries.map(feed.deflates ? deflate : plain))) feed.outbox.write(frame);
      this.#options.events.delivered(entries.length);
      feed.isMulti = false;
      touched.push(feed);
    }
    return touched;
  }
}

const plain = ({ frame }: Entry): Buffer => frame;

/**
 * Joins adjacent small frames into one. Large frames stay separate and are shared by all
 * connections.
 */
function joined(all: readonly Buffer[]): readonly Buffer[] {
  const frames: Buffer[] = [];
  let small: Buffer[] = [];
  const join = () => {
    if (small.length > 0) frames.push(small.length === 1 ? (small[0] as Buffer) : Buffer.concat(small));
    small = [];
  };
  for (const frame of all) {
    if (frame.length <= JOINED_FRAME_BYTES_MAX) {
      small.push(frame);
    } else {
      join();
      frames.push(frame);
    }
  }
  join();
  return frames;
}
