/**
 * Several rosters over a network that loses messages, with processes that die and start: what each
 * one shows equals the truth in the end, and a member that stays is never shown as gone.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LEASE_TICKS, Roster, type RosterMessage } from '../../src/presence/roster.ts';

const GRACE_TICKS = 5;
/** Processes and members are few, so that they meet. */
const PROCESSES = 4;
const MEMBERS = ['ada', 'bob', 'cy'];
const CHANNELS = ['room:1', 'room:2'];

interface Process {
  readonly id: string;
  readonly roster: Roster;
  /** What it has, by its own account. */
  readonly own: Map<string, string>;
  /** What its watchers have been shown. */
  readonly shown: Map<string, string>;
}

class World {
  readonly processes: (Process | undefined)[] = [];
  /** Messages on their way, in order for each pair. */
  readonly #queues = new Map<string, (readonly [string, RosterMessage])[]>();
  /** Members that were shown as gone though a living process has them. */
  readonly lost: string[] = [];
  #started = 0;

  start(place: number): void {
    const id = `p${this.#started++}`;
    const shown = new Map<string, string>();
    const roster = new Roster({
      self: id,
      graceTicks: GRACE_TICKS,
      listBytesMax: 100,
      send: (message) => this.#send(id, structuredClone(message)),
      joined: (channel, { id: member, info }, wasThere) => {
        expect(shown.has(`${channel} ${member}`)).toBe(wasThere);
        shown.set(`${channel} ${member}`, info);
      },
      left: (channel, { id: member }) => {
        expect(shown.delete(`${channel} ${member}`)).toBe(true);
        if (this.truth.has(`${channel} ${member}`)) this.lost.push(`${channel} ${member} at ${id}`);
      },
    });
    this.processes[place] = { id, roster, own: new Map(), shown };
    roster.start();
  }

  /** The process is killed: what it has said before still arrives. */
  kill(place: number): Process | undefined {
    const killed = this.processes[place];
    this.processes[place] = undefined;
    return killed;
  }

  set(place: number, channel: string, member: string, info: string): void {
    const at = this.processes[place];
    at?.own.set(`${channel} ${member}`, info);
    at?.roster.set(channel, { id: member, info });
  }

  delete(place: number, channel: string, member: string): void {
    const at = this.processes[place];
    at?.own.delete(`${channel} ${member}`);
    at?.roster.delete(channel, member);
  }

  /** Delivers the messages from one process to another. `lose`: how many are lost first. */
  deliver(from: string, to: Process, lose = 0): void {
    const queue = this.#queues.get(`${from} ${to.id}`) ?? [];
    queue.splice(0, lose);
    for (const [sender, message] of queue.splice(0)) to.roster.receive(sender, message);
  }

  deliverAll(): void {
    for (let rounds = 0; rounds < 10; rounds++)
      for (const to of this.living) for (const [pair] of this.#queues) this.deliver(pair.split(' ')[0] as string, to);
  }

  tick(): void {
    for (const { roster } of this.living) roster.tick();
  }

  get living(): readonly Process[] {
    return this.processes.filter((process) => process !== undefined);
  }

  get truth(): ReadonlySet<string> {
    return new Set(this.living.flatMap(({ own }) => [...own.keys()]));
  }

  /** All that a process says of its own end. */
  end(process: Process): void {
    for (const { roster } of this.living) roster.receive(process.id, { kind: 'end' });
  }

  #send(from: string, message: RosterMessage): void {
    for (const to of this.living) {
      if (to.id === from) continue;
      const pair = `${from} ${to.id}`;
      this.#queues.set(pair, [...(this.#queues.get(pair) ?? []), [from, message]]);
    }
  }
}

const place = fc.nat(PROCESSES - 1);
const member = fc.constantFrom(...MEMBERS);
const channel = fc.constantFrom(...CHANNELS);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constant('set' as const), place, channel, member, fc.constantFrom('{}', '{"n":1}')),
  },
  { weight: 4, arbitrary: fc.tuple(fc.constant('delete' as const), place, channel, member) },
  { weight: 6, arbitrary: fc.tuple(fc.constant('deliver' as const), place, place, fc.nat(2)) },
  { weight: 3, arbitrary: fc.constant(['tick' as const] as const) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('kill' as const), place, fc.boolean()) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('start' as const), place) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

function run(world: World, steps: readonly Step[], lossy: boolean): void {
  for (const each of steps) {
    switch (each[0]) {
      case 'set':
        world.set(each[1], each[2], each[3], each[4]);
        break;
      case 'delete':
        world.delete(each[1], each[2], each[3]);
        break;
      case 'deliver': {
        const [from, to] = [world.processes[each[1]], world.processes[each[2]]];
        if (from !== undefined && to !== undefined) world.deliver(from.id, to, lossy ? each[3] : 0);
        break;
      }
      case 'tick':
        world.tick();
        break;
      case 'kill': {
        const killed = world.kill(each[1]);
        if (killed !== undefined && each[2]) world.end(killed);
        break;
      }
      case 'start':
        if (world.processes[each[1]] === undefined) world.start(each[1]);
        break;
    }
    if (!lossy) world.deliverAll();
  }
}

function settle(world: World): void {
  for (let ticks = 0; ticks <= LEASE_TICKS + GRACE_TICKS; ticks++) {
    world.deliverAll();
    world.tick();
  }
  world.deliverAll();
}

function worldOf(processes: number): World {
  const world = new World();
  for (let at = 0; at < processes; at++) world.start(at);
  world.deliverAll();
  return world;
}

test('whatever message is lost and whichever process dies, each process shows the right members within the lease', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const world = worldOf(PROCESSES);
      run(world, steps, true);
      settle(world);
      for (const { shown } of world.living) expect(new Set(shown.keys())).toEqual(world.truth);
    }),
    { numRuns: 100 },
  );
});

test('a member that a living process has is never shown as gone, while messages arrive', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const world = worldOf(PROCESSES);
      run(world, steps, false);
      settle(world);
      expect(world.lost).toEqual([]);
    }),
    { numRuns: 100 },
  );
});

test('all processes show the same of a member in the end, if all have asked the view again', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const world = worldOf(PROCESSES);
      run(world, steps, true);
      settle(world);
      for (const [at, process] of world.processes.entries())
        for (const key of process?.own.keys() ?? []) {
          const [where, id] = key.split(' ') as [string, string];
          world.set(at, where, id, '{"new":true}');
        }
      settle(world);
      for (const { shown } of world.living) expect([...new Set(shown.values())].join()).toMatch(/^(\{"new":true\})?$/);
    }),
    { numRuns: 100 },
  );
});

test('the members of a process that ended stay for the grace, those of a silent one for the lease', () => {
  const world = worldOf(3);
  world.set(0, 'room:1', 'ada', '{}');
  world.set(1, 'room:1', 'bob', '{}');
  world.deliverAll();
  const watching = (world.processes[2] as Process).shown;
  const ended = world.kill(0) as Process;
  world.end(ended);
  world.kill(1);
  const goneAfter = new Map<string, number>();
  for (let ticks = 1; ticks <= LEASE_TICKS + 1; ticks++) {
    world.tick();
    for (const id of ['ada', 'bob']) if (!watching.has(`room:1 ${id}`) && !goneAfter.has(id)) goneAfter.set(id, ticks);
  }
  expect(Object.fromEntries(goneAfter)).toEqual({ ada: GRACE_TICKS + 1, bob: LEASE_TICKS + 1 });
});

test('while the network of machines is down, no process is dropped; afterwards each has a new lease', () => {
  const world = worldOf(2);
  world.set(0, 'room:1', 'ada', '{}');
  world.deliverAll();
  const { roster, shown } = world.processes[1] as Process;
  world.kill(0);
  roster.setDown(true);
  for (let ticks = 0; ticks < 3 * LEASE_TICKS; ticks++) world.tick();
  expect([...shown.keys()]).toEqual(['room:1 ada']);
  roster.setDown(false);
  for (let ticks = 0; ticks < LEASE_TICKS; ticks++) world.tick();
  expect([...shown.keys()]).toEqual(['room:1 ada']);
  world.tick();
  expect([...shown.keys()]).toEqual([]);
});
