/**
 * The real client against the model of world.ts. Numbers in brackets are the numbers in
 * docs/client-states.md.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Channel, connect, type LiveView, type SnoClient, type SnoClientError } from '../../src/client/index.ts';
import { type Operation, sequenceOf, type Table, type Task, World } from './world.ts';

const CHANNELS = ['project:1', 'project:2'] as const;
const BACKOFF_MS_MAX = 16_000;

interface Watched {
  readonly view: Channel<Task> | LiveView<Task>;
  /** Throws if the handle was told something that did not happen. */
  finish(): void;
}

const operation: fc.Arbitrary<Operation> = fc.record({
  op: fc.constantFrom('put', 'put', 'put', 'delete', 'truncate'),
  id: fc.integer({ min: 1, max: 5 }),
  title: fc.string({ maxLength: 3 }),
});
const channel = fc.constantFrom(...CHANNELS);

const COMMANDS = {
  commit: fc.record({
    channel,
    operations: fc.array(operation, { minLength: 1, maxLength: 5 }),
    parts: fc.integer({ min: 1, max: 3 }),
  }),
  part: fc.constant(undefined),
  publish: channel,
  toServer: fc.integer({ min: 1, max: 4 }),
  toClient: fc.integer({ min: 1, max: 6 }),
  openSocket: fc.constant(undefined),
  cut: fc.constantFrom(1001, 1006, 1013, 4429),
  heartbeat: fc.constant(undefined),
  timer: fc.nat({ max: 5 }),
  live: channel,
  listen: fc.record({ channel, snapshot: fc.boolean() }),
  reached: fc.record({ nth: fc.nat({ max: 10 }), ahead: fc.integer({ min: -2, max: 2 }), isXid: fc.boolean() }),
  shut: fc.nat({ max: 10 }),
  reset: channel,
  toggle: channel,
  forget: fc.constant(undefined),
  restart: fc.constant(undefined),
  expire: fc.constant(undefined),
  lag: fc.integer({ min: 0, max: 3 }),
  trouble: fc.integer({ min: 1, max: 2 }),
  calm: fc.constant(undefined),
} as const satisfies Record<string, fc.Arbitrary<unknown>>;

type Command = {
  [Name in keyof typeof COMMANDS]: { name: Name; argument: ValueOf<(typeof COMMANDS)[Name]> };
}[keyof typeof COMMANDS];
type ValueOf<A> = A extends fc.Arbitrary<infer T> ? T : never;

const WEIGHTS: Partial<Record<keyof typeof COMMANDS, number>> = {
  commit: 8,
  part: 5,
  toServer: 8,
  toClient: 12,
  openSocket: 3,
  live: 3,
  reached: 4,
  listen: 2,
  calm: 2,
  timer: 3,
};
const command = fc.oneof(
  ...Object.entries(COMMANDS).map(([name, argument]) => ({
    weight: WEIGHTS[name as keyof typeof COMMANDS] ?? 1,
    arbitrary: fc.record({
      name: fc.constant(name),
      argument: argument as fc.Arbitrary<unknown>,
    }) as fc.Arbitrary<Command>,
  })),
);

/** A subscriber's rows, compared with the table. */
const sorted = (rows: Iterable<Task>): Task[] => [...rows].sort((a, b) => a.id - b.id);
const asRows = (table: Table): Task[] => sorted(table.values());

class Run {
  readonly world = new World();
  readonly client: SnoClient;
  readonly watched: Watched[] = [];
  readonly views = new Map<Watched['view'], LiveView<Task>>();
  /** Commits that views wait for, by the sequence number of the commit. */
  readonly waits = new Set<{ readonly view: LiveView<Task>; readonly target: number }>();
  /** Failures in listeners, where an exception would go unnoticed. */
  readonly failures: unknown[] = [];

  constructor() {
    const { SocketClass, timers, server } = this.world;
    this.client = connect('ws://model', {
      WebSocket: SocketClass,
      timers,
      random: () => 0.5,
      token: () => server.token,
    });
  }

  check(assertion: () => void): void {
    try {
      assertion();
    } catch (error) {
      this.failures.push(error);
    }
  }

  live(name: string): void {
    const { server } = this.world;
    const view = this.client.live<Task>(name);
    this.views.set(view, view);
    let cursor: number | undefined;
    view.subscribe(({ reason, commit, rows }) => {
      if (reason === 'status') return;
      // [3] Whole commits, none twice, none left out: the rows are always of exactly one commit,
      // and never go back.
      this.check(() => {
        const at = sequenceOf(commit?.position ?? view.position);
        if (commit !== undefined && cursor !== undefined) expect(at).toBeGreaterThan(cursor);
        cursor = at;
        expect(sorted(rows)).toEqual(asRows(server.tableAt(name, at)));
      });
    });
    this.watched.push({
      view,
      finish: () => {
        expect(view.status).toBe('live');
        expect(sorted(view.rows)).toEqual(asRows(server.tableAt(name, server.head)));
        for (const row of view.rows) expect(view.get({ id: row.id })).toBe(row);
      },
    });
  }

  /** [12] */
  reached(nth: number, ahead: number, isXid: boolean): void {
    const { server } = this.world;
    const views = [...this.views.values()];
    const view = views[nth % Math.max(views.length, 1)];
    if (view === undefined) return;
    const target = Math.max(1, server.head + ahead);
    const wait = { view, target };
    this.waits.add(wait);
    view.reached(isXid ? { xid: target } : `0/${target}`).then(
      () => {
        this.waits.delete(wait);
        this.check(() => {
          expect(target).toBeLessThanOrEqual(server.head);
          const shown = sorted(view.rows);
          const at = server.log.findLastIndex(
            ({ channel, sequence }) => channel === view.channel && sequence <= target,
          );
          const tables = server.log.slice(Math.max(at, 0)).filter(({ channel }) => channel === view.channel);
          const possible =
            at < 0
              ? [asRows(new Map()), ...tables.map(({ table }) => asRows(table))]
              : tables.map(({ table }) => asRows(table));
          expect(possible).toContainEqual(shown);
        });
      },
      (error: unknown) => {
        this.waits.delete(wait);
        this.check(() => {
          const { code } = error as SnoClientError;
          expect(['closed', 'channel_dropped', 'channel_unavailable']).toContain(code);
          if (code === 'closed') expect(view.status).toBe('closed');
        });
      },
    );
  }

  listen(name: string, snapshot: boolean): void {
    const { server } = this.world;
    const view = this.client.channel<Task>(name, { snapshot });
    let cursor: number | undefined;
    const advance = (position: string) =>
      this.check(() => {
        const at = sequenceOf(position);
        // [4] The next entry of the channel: nothing left out, nothing twice.
        if (cursor !== undefined) expect(at).toBe(server.entries(name, cursor)[0]?.sequence);
        cursor = at;
      });
    view.on('change', ({ position, events }) => {
      advance(position);
      this.check(() => {
        const entry = server.log.find(({ sequence }) => sequence === sequenceOf(position));
        expect(events).toEqual(entry?.frames.flatMap((frame) => (frame.type === 'changes' ? frame.events : [])));
      });
    });
    view.on('message', ({ position }) => advance(position as string));
    view.on('reset', () => {
      cursor = undefined;
    });
    view.on('status', ({ status }) => {
      if (status === 'live') this.check(() => (cursor ??= sequenceOf(view.position)));
    });
    this.watched.push({
      view,
      finish: () => {
        expect(view.status).toBe('live');
        if (cursor !== undefined) expect(server.entries(name, cursor)).toEqual([]);
      },
    });
  }

  readonly #doing: {
    readonly [Name in keyof typeof COMMANDS]: (argument: ValueOf<(typeof COMMANDS)[Name]>) => unknown;
  } = {
    commit: ({ channel: name, operations, parts }) => this.world.server.commit(name, operations, parts),
    part: () => this.world.server.sendPart(),
    publish: (name) => this.world.server.publish(name),
    toServer: (count) => this.#move(count, 'arriveAtServer'),
    toClient: (count) => this.#move(count, 'arriveAtClient'),
    openSocket: () => this.world.openSocket(),
    cut: (code) => {
      for (const peer of [...this.world.server.peers]) peer.cut(code);
    },
    heartbeat: () => this.world.server.heartbeat(),
    timer: (nth) => this.world.timers.fire(nth),
    live: (name) => this.live(name),
    listen: ({ channel: name, snapshot }) => this.listen(name, snapshot),
    reached: ({ nth, ahead, isXid }) => this.reached(nth, ahead, isXid),
    shut: (nth) => this.watched.splice(nth % Math.max(this.watched.length, 1), 1)[0]?.view.close(),
    reset: (name) => this.world.server.reset(name),
    toggle: (name) => this.world.server.toggle(name),
    forget: () => {
      this.world.server.floor = this.world.server.head;
    },
    restart: () => this.world.server.restart(),
    expire: () => this.world.server.expireTokens(),
    lag: (count) => {
      this.world.server.snapshotLag = count;
    },
    trouble: (count) => {
      this.world.server.troubles += count;
    },
    calm: () => {
      // The client retries for as long as a view is missing.
      this.world.server.gone.clear();
      return this.world.calm(BACKOFF_MS_MAX);
    },
  };

  async do({ name, argument }: Command): Promise<void> {
    await this.#doing[name](argument as never);
    await this.world.settle();
    this.#rethrow();
  }

  async finish(): Promise<void> {
    this.world.server.finish();
    this.world.server.gone.clear();
    for (const { target } of this.waits) while (this.world.server.head < target) this.world.server.publish(CHANNELS[0]);
    await this.world.calm(BACKOFF_MS_MAX);
    this.#rethrow();
    expect(this.waits.size).toBe(0);
    // [9]
    expect(this.client.status).toBe('open');
    for (const { finish } of this.watched) finish();
    // [2] `since` is always the position of a whole commit.
    for (const frame of this.world.server.said)
      if (frame.type === 'subscribe' && frame.since !== undefined) sequenceOf(frame.since);
    await this.close();
  }

  /** Closes the client at a random moment. */
  async close(): Promise<void> {
    // [11]
    await this.client.close();
    await this.world.settle();
    this.#rethrow();
    expect(this.waits.size).toBe(0);
    expect(this.world.timers.pending.size).toBe(0);
    expect(this.world.server.peers.size).toBe(0);
    for (const { view } of this.watched) expect(view.status).toBe('closed');
  }

  #move(count: number, way: 'arriveAtServer' | 'arriveAtClient'): void {
    for (const peer of [...this.world.server.peers]) for (let moved = 0; moved < count; moved++) peer[way]();
  }

  #rethrow(): void {
    if (this.failures.length > 0) throw this.failures[0];
  }
}

const RUNS = Number(process.env['CLIENT_RUNS'] ?? 200);
const commands = fc.array(command, { minLength: 20, maxLength: 120 });

test('handles hold what the table held, whatever happens', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (all) => {
      const run = new Run();
      for (const next of all) await run.do(next);
      await run.finish();
    }),
    { numRuns: RUNS },
  );
}, 120_000);

test('a client that is closed at any moment leaves nothing behind', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 30 }), async (all) => {
      const run = new Run();
      for (const next of all) await run.do(next);
      await run.close();
    }),
    { numRuns: RUNS },
  );
}, 120_000);
