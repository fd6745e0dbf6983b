/**
 * The ids of event streams are true: a client that loses its connection after any byte, and comes
 * back with its last id, receives every event in order, or is told that it does not. It receives
 * none twice if it counts ids as the standard says, together with their events.
 */

import type { ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Deadlines } from '../../src/deadlines.ts';
import { SnoError } from '../../src/errors.ts';
import { EncodedForms } from '../../src/fanout/encoded-forms.ts';
import { Limits } from '../../src/gateway/limits.ts';
import { eventEncodings, type IdPlace } from '../../src/gateway/sse/encoding.ts';
import { EventStream, FINISHED, type StreamServices } from '../../src/gateway/sse/stream.ts';
import { createLogger } from '../../src/logger.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { comparePositions, type Position, parsePosition } from '../../src/position.ts';
import { PATTERN, Rig, room, turn } from '../fanout/rig.ts';
import { type Block, type Counting, EventParser } from '../support/event-parser.ts';
import { FUZZ_MS, fuzz } from '../support/fuzz.ts';
import { ManualClock } from './fixture.ts';

const ROOMS = [1, 2, 3];
const CHANNELS = ROOMS.map((id) => `room:${id}`);
const COMMIT_BYTES = 300;
const LONG_MS = 60_000;

interface Received {
  readonly type: string;
  readonly channel?: string;
  readonly position?: string;
  readonly last?: boolean;
  readonly recovered?: boolean;
  readonly data?: number;
  readonly events?: readonly { readonly n: number }[];
}

/** A kind of client, where its stream has the ids, and how often it receives each event. */
interface Kind {
  readonly counting: Counting;
  readonly ids: IdPlace;
  readonly receives: 'once' | 'at least once';
}

const KINDS: readonly Kind[] = [
  { counting: 'with its event', ids: 'with', receives: 'once' },
  { counting: 'with its event', ids: 'after', receives: 'at least once' },
  { counting: 'at once', ids: 'after', receives: 'at least once' },
];

const unused = () => expect.fail('event streams send nothing, and watch where they are asked to');

/** The service, and one client of it. */
class World {
  readonly rig = new Rig({ commitBytes: COMMIT_BYTES });
  readonly #clock = new ManualClock();
  readonly #services: StreamServices;
  readonly #denied = new Set<string>();
  #answers: (() => void)[] = [];
  #stream: EventStream | undefined;
  #socket = new PassThrough();
  #unread = '';
  #n = 0;
  #xid = 1_000;
  /** All that was ever sent to a channel, in order. */
  readonly #log = new Map<string, { readonly n: number; readonly at: Position }[]>(CHANNELS.map((name) => [name, []]));
  // The client:
  readonly #channels: readonly string[];
  readonly #kind: Kind;
  #parser: EventParser;
  /** Index in the log of the next event. Undefined: the client holds nothing of the channel. */
  readonly #next = new Map<string, number | undefined>();
  /** The channels that are not subscribed now. The client keeps what it holds of them. */
  readonly #refused = new Set<string>();
  #parts = new Map<string, number[]>();
  recovered = 0;
  /** How many events came again. */
  again = 0;

  constructor(channels: readonly string[], kind: Kind) {
    this.#channels = channels;
    this.#kind = kind;
    this.#parser = this.#parserFrom('');
    const metrics = createMetrics();
    const logger = createLogger('silent');
    this.#services = {
      events: eventEncodings(new EncodedForms(10_000), () => this.rig.hub.epoch ?? ''),
      fanout: this.rig.hub,
      tokens: { verify: async () => ({ claims: {}, expiresAt: undefined }) },
      access: {
        check: async ({ name }) => {
          await new Promise<void>((resolve) => this.#answers.push(resolve));
          return this.#denied.has(name) ? new SnoError('access_denied', 'no') : undefined;
        },
      },
      rights: { checkSend: unused, checkWatch: () => undefined, findMember: unused },
      exchange: { send: unused },
      presence: { enter: unused, leave: unused, watch: unused, unwatch: unused },
      sendsPerSecondMax: 0,
      channels: {
        version: 0,
        resolve: (name) => room(Number(name.slice(5))),
        known: undefined,
        meant: () => undefined,
        patternOf: () => undefined,
      },
      clock: this.#clock,
      deadlines: new Deadlines(this.#clock),
      limits: new Limits(metrics, logger, this.#clock),
      metrics,
      logger,
      tokenBytesMax: 1_000,
      channelBytesMax: 100,
      subscriptionsMax: 0,
    };
  }

  connect(): void {
    this.cut(1);
    const { lastEventId } = this.#parser;
    this.#parser = this.#parserFrom(lastEventId === FINISHED ? '' : lastEventId);
    this.#socket = new PassThrough({ highWaterMark: 1 << 20 });
    this.#socket.setEncoding('utf8').on('data', (text: string) => (this.#unread += text));
    const what = { snapshot: false, old: false, presence: false, ids: this.#kind.ids };
    const query = { channels: this.#channels, ...what, since: this.#parser.lastEventId || undefined };
    this.#stream = new EventStream(this.#socket as unknown as ServerResponse, query, '192.0.2.1', this.#services);
    this.#stream.open({ claims: {}, expiresAt: undefined }, 'e-1-1');
  }

  /** The client receives a part of what was sent, less some bytes, and loses the connection. */
  cut(part: number, less = 0): void {
    this.read(part, less);
    this.#stream?.end();
    this.#stream = undefined;
    this.#unread = '';
    this.#parts.clear();
  }

  read(part: number, less = 0): void {
    const length = Math.max(0, Math.ceil(this.#unread.length * part) - less);
    this.#parser.read(this.#unread.slice(0, length));
    this.#unread = this.#unread.slice(length);
  }

  answer(index: number): void {
    const [answer] = this.#answers.splice(index % Math.max(1, this.#answers.length), 1);
    answer?.();
  }

  async answerAll(): Promise<void> {
    do {
      for (const answer of this.#answers.splice(0)) answer();
      await turn();
      if (this.rig.emitted.length > 0) await this.rig.marker();
      this.#clock.advance(LONG_MS);
      await turn();
    } while (this.#answers.length > 0 || this.rig.emitted.length > 0);
  }

  commit(rooms: readonly number[], bytes: number): void {
    this.rig.begin(++this.#xid);
    const sent = rooms.map((id) => {
      this.rig.row(id, ++this.#n, bytes);
      this.rig.hub.flush();
      return [`room:${id}`, this.#n] as const;
    });
    this.rig.end();
    const at = this.rig.builder.head.head;
    for (const [channel, n] of sent) this.#log.get(channel)?.push({ n, at });
    this.rig.hub.flush();
  }

  notify(id: number): void {
    const n = ++this.#n;
    this.rig.builder.notification(PATTERN, `room:${id}`, 'e', String(n));
    this.#log.get(`room:${id}`)?.push({ n, at: this.rig.builder.head.head });
    this.rig.hub.flush();
  }

  /** Snö cannot tell what a commit does to the channel. */
  reset(id: number): void {
    this.rig.begin(++this.#xid);
    const name = new ByteWriter(32);
    name.ascii(`room:${id}`);
    this.rig.builder.incomplete(PATTERN, name);
    this.rig.end();
    this.rig.hub.flush();
  }

  /** Refuses the channel from the next attempt on, or no longer. */
  deny(id: number): void {
    if (!this.#denied.delete(`room:${id}`)) this.#denied.add(`room:${id}`);
  }

  heartbeat(): void {
    this.rig.hub.heartbeat();
  }

  /** Every channel that the client follows is complete. */
  expectComplete(): void {
    for (const [channel, next] of this.#next)
      if (next !== undefined && !this.#refused.has(channel))
        expect([channel, next]).toEqual([channel, this.#log.get(channel)?.length]);
  }

  #parserFrom(id: string): EventParser {
    return new EventParser(this.#kind.counting, id, (block) => this.#receive(block));
  }

  #receive({ data }: Block): void {
    if (data !== undefined) this.#apply(JSON.parse(data) as Received);
  }

  #apply({ type, channel = '', position = '', last, recovered, events, data }: Received): void {
    const log = this.#log.get(channel) ?? [];
    if (type === 'reset') this.#next.set(channel, undefined);
    if (type === 'error') this.#refused.add(channel);
    if (type === 'subscribed') this.#refused.delete(channel);
    if (type === 'subscribed' && recovered === true) {
      // Only a channel that the client holds can go on.
      expect([channel, this.#next.get(channel)]).not.toEqual([channel, undefined]);
      this.recovered++;
    } else if (type === 'subscribed') {
      const start = parsePosition(position) as Position;
      this.#next.set(channel, log.filter(({ at }) => comparePositions(at, start) <= 0).length);
    }
    if (type !== 'changes' && type !== 'message') return;
    const parts = [
      ...(this.#parts.get(channel) ?? []),
      ...(type === 'message' ? [data as number] : (events ?? []).map(({ n }) => n)),
    ];
    if (last === false) {
      this.#parts.set(channel, parts);
      return;
    }
    this.#parts.delete(channel);
    const next = this.#next.get(channel) as number;
    const from = this.#kind.receives === 'once' ? next : log.findIndex(({ n }) => n === parts[0]);
    expect(from).toBeLessThanOrEqual(next);
    expect([channel, parts]).toEqual([channel, log.slice(from, from + parts.length).map(({ n }) => n)]);
    if (from < next) this.again++;
    this.#next.set(channel, Math.max(next, from + parts.length));
  }
}

const part = fc.constantFrom(0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1, 1);
/** Bytes of what is nearly the end of an event, with its id. */
const less = fc.oneof(fc.constant(0), fc.nat(120));
const rooms = fc.array(fc.constantFrom(...ROOMS), { minLength: 1, maxLength: 4 });
const roomId = fc.constantFrom(...ROOMS);
/** A step: what happens, and with what. */
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('commit' as const), rooms, bytes: fc.constantFrom(0, 0, 0, 200) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('cut' as const), part, less }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('answer' as const), index: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('read' as const), part }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('notify' as const), id: roomId }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset' as const), id: roomId }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('deny' as const), id: roomId }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('heartbeat' as const) }) },
);

describe.each(KINDS)('a client that counts an id $counting, with ids=$ids', (kind) => {
  test(
    `receives each event ${kind.receives} if it is cut anywhere and resumes with its last id`,
    async () => {
      let recovered = 0;
      let again = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 3 }),
          fc.array(step, { minLength: 30, maxLength: 60 }),
          async (count, steps) => {
            const world = new World(CHANNELS.slice(0, count), kind);
            world.connect();
            for (const each of steps) {
              if (each.do === 'commit') world.commit(each.rooms, each.bytes);
              else if (each.do === 'answer') world.answer(each.index);
              else if (each.do === 'settle') await world.answerAll();
              else if (each.do === 'read') world.read(each.part);
              else if (each.do === 'notify') world.notify(each.id);
              else if (each.do === 'reset') world.reset(each.id);
              else if (each.do === 'deny') world.deny(each.id);
              else if (each.do === 'heartbeat') world.heartbeat();
              else {
                world.cut(each.part, each.less);
                world.connect();
              }
              await turn();
            }
            await world.answerAll();
            world.read(1);
            world.expectComplete();
            recovered += world.recovered;
            again += world.again;
          },
        ),
        fuzz(100),
      );
      expect(recovered).toBeGreaterThan(100);
      expect(again > 0).toBe(kind.receives === 'at least once');
    },
    FUZZ_MS,
  );
});
