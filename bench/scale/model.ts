/**
 * How much of each resource a number of connections takes, at each step of growth. Every formula is
 * a line here; docs/scale.md explains them. The constants are measured (constants.ts). The hardware
 * and the workloads are assumptions.
 */
import type { Constants } from './constants.ts';

export interface Workload {
  readonly name: string;
  /** Events that one connection receives a second. */
  readonly events: number;
  /** Connections that receive an event of one commit. */
  readonly audience: number;
}

export const WORKLOADS = [
  { name: 'quiet', events: 0.02, audience: 5 },
  { name: 'usual', events: 0.2, audience: 20 },
  { name: 'busy', events: 2, audience: 500 },
] as const satisfies readonly Workload[];

/** One machine. */
const MACHINE = { cores: 8, memoryGiB: 32, networkBytes: 1.25e9 } as const;
/** The part of a processor or of a network that is planned for: beyond it, delays grow quickly. */
const USABLE = 0.6;
/** Within this many seconds, all clients of a lost process or machine must be back. */
const BACK_SECONDS = 60;
/** Bytes of one event on the network, TLS included. */
const EVENT_BYTES = 350;
const PROCESS_GIB = 0.5;
/** Commits a second of one Postgres primary: an assumption, not a measurement. */
const POSTGRES_COMMITS = 20_000;
/** Replicas of the stream, each on a NATS server with a machine of its own. */
const REPLICAS = 3;
const MACHINES_MAX = 10_000;
/** From here on, plans are tried in steps of a fiftieth. */
const EXACT_MACHINES = 50;
/** Clients come back within this time, each at a random moment (src/client/backoff.ts). */
const FIRST_RETRY_SECONDS = 0.5;
const MICRO = 1e-6;
const GIB = 2 ** 30;

/** One resource: how much is needed, and how much there is. */
export interface Wall {
  readonly what: string;
  readonly used: number;
  readonly available: number;
}

export interface Plan {
  readonly machines: number;
  /** Processors that are busy on average, of all machines with Snö together. */
  readonly cores: number;
  readonly memoryGiB: number;
  /** Bytes a second that NATS sends to all machines together. */
  readonly natsBytes: number;
  readonly walls: readonly Wall[];
}

export const STEPS = ['one process', 'workers', 'machines', 'partitions'] as const;
export type Step = (typeof STEPS)[number];
/** Streams of the last step. */
const PARTITIONS = 16;

const commitsOf = (connections: number, { events, audience }: Workload): number => (connections * events) / audience;

/** The part of its resource that the wall takes. From 1 on, it does not hold. */
export const share = ({ used, available }: Wall): number => used / available;

/** The wall that is nearest. */
export const firstWall = ({ walls }: Plan): Wall =>
  walls.reduce((first, wall) => (share(wall) > share(first) ? wall : first));

export const holds = (plan: Plan): boolean => share(firstWall(plan)) <= 1;

/** The smallest plan at this step, or the one that comes nearest where none holds. */
export function planFor(step: Step, connections: number, workload: Workload, constants: Constants): Plan {
  const plan = snoFor(step, connections, workload, constants);
  const commits = commitsOf(connections, workload);
  return {
    ...plan,
    walls: [...plan.walls, { what: 'the commits of one Postgres', used: commits, available: POSTGRES_COMMITS }],
  };
}

function snoFor(step: Step, connections: number, workload: Workload, constants: Constants): Plan {
  switch (step) {
    case 'one process':
      return oneProcess(connections, workload, constants);
    case 'workers':
      return oneMachine(connections, workload, constants);
    case 'machines':
      return smallest((machines) => severalMachines(machines, 1, connections, workload, constants));
    case 'partitions':
      return smallest((machines) => severalMachines(machines, PARTITIONS, connections, workload, constants));
  }
}

/** The largest number of connections for which the step holds, to three digits. */
export function capacityOf(step: Step, workload: Workload, constants: Constants): number {
  let [low, high] = [1, 1];
  while (holds(planFor(step, high, workload, constants)) && high < 1e9) [low, high] = [high, high * 2];
  while (high / low > 1.005) {
    const middle = (low + high) / 2;
    if (holds(planFor(step, middle, workload, constants))) low = middle;
    else high = middle;
  }
  return low;
}

function oneProcess(connections: number, workload: Workload, constants: Constants): Plan {
  const { commit, write, login } = constants;
  const cores = (commitsOf(connections, workload) * commit + connections * workload.events * write) * MICRO;
  const memoryGiB = memoryOf(connections, 1, constants);
  return {
    machines: 1,
    cores,
    memoryGiB,
    natsBytes: 0,
    walls: [
      { what: 'the processor of the one process', used: cores, available: USABLE },
      backWall(connections, login, 1 - cores),
      { what: 'memory', used: memoryGiB, available: MACHINE.memoryGiB },
    ],
  };
}

function oneMachine(connections: number, workload: Workload, constants: Constants): Plan {
  const { main, worker, write, login } = constants;
  const workers = MACHINE.cores - 1;
  const commits = commitsOf(connections, workload);
  const deliveries = connections * workload.events;
  const each = (commits * worker + (deliveries / workers) * write) * MICRO;
  const first = commits * main * MICRO;
  const memoryGiB = memoryOf(connections, MACHINE.cores, constants);
  return {
    machines: 1,
    cores: first + workers * each,
    memoryGiB,
    natsBytes: 0,
    walls: [
      { what: 'the processor of each worker', used: each, available: USABLE },
      { what: 'the processor of the process that reads the WAL', used: first, available: USABLE },
      backWall(connections, login, workers * (1 - each)),
      { what: 'memory', used: memoryGiB, available: MACHINE.memoryGiB },
      networkWall("the machine's network", deliveries * EVENT_BYTES),
    ],
  };
}

/**
 * Machines that follow `streams` streams. Each machine reads a share of the commits that grows with
 * its channels: all of them with one stream, and one stream's with several, where clients are sent
 * to the machines of their channels.
 */
function severalMachines(
  machines: number,
  streams: number,
  connections: number,
  workload: Workload,
  constants: Constants,
): Plan {
  const { publish, receive, worker, write, login, broker, brokerMore, stream } = constants;
  const workers = MACHINE.cores - 1;
  const deliveries = connections * workload.events;
  // of one stream, whose readers are `readers` machines
  const commits = commitsOf(connections, workload) / streams;
  const readers = Math.max(1, machines / streams);
  // with fewer machines than streams, a machine reads several
  const read = commits * Math.max(1, streams / machines);
  const reading = read * receive * MICRO;
  const ingest = commits * publish * MICRO;
  const each = (read * worker + (deliveries / machines / workers) * write) * MICRO;
  const nats = (commits * (broker + brokerMore * (readers - 1)) * MICRO) / REPLICAS;
  const natsBytes = commits * stream * (readers + REPLICAS - 1);
  const memoryGiB = memoryOf(connections / machines, MACHINE.cores, constants);
  return {
    machines,
    cores: machines * (reading + workers * each) + streams * ingest,
    memoryGiB: machines * memoryGiB,
    natsBytes: natsBytes * streams,
    walls: [
      { what: 'the processor of each worker', used: each, available: USABLE },
      { what: 'the processor that reads the stream on each machine', used: reading, available: USABLE },
      { what: 'the processor of the ingest', used: ingest, available: USABLE },
      {
        what: 'the processors of a NATS server',
        used: nats,
        available: USABLE * MACHINE.cores,
      },
      networkWall('the network of a NATS server', natsBytes / REPLICAS),
      networkWall("each machine's network", (deliveries / machines) * EVENT_BYTES + read * stream),
      backWall(connections / machines, login, (machines - 1) * workers * (1 - each)),
      { what: 'memory', used: memoryGiB, available: MACHINE.memoryGiB },
    ],
  };
}

/** The fewest machines with which the plan holds. Walls that machines do not move stay. */
function smallest(planWith: (machines: number) => Plan): Plan {
  let best = planWith(2);
  for (let machines = 3; machines <= MACHINES_MAX && !holds(best); machines += step(machines)) {
    const plan = planWith(machines);
    if (share(firstWall(plan)) < share(firstWall(best))) best = plan;
  }
  return best;
}

const step = (machines: number): number => Math.max(1, Math.floor(machines / EXACT_MACHINES));

const memoryOf = (connections: number, processes: number, { connection }: Constants): number =>
  (connections * connection * 1_024) / GIB + processes * PROCESS_GIB;

const networkWall = (what: string, bytes: number): Wall => ({
  what,
  used: bytes,
  available: USABLE * MACHINE.networkBytes,
});

/**
 * `processors`: those that are free for clients that come back. If none is free, the wall of the
 * processors says so.
 */
function backWall(clients: number, loginMs: number, processors: number): Wall {
  return {
    what: 'the seconds until all clients of a lost machine are back',
    used: processors > 0 ? FIRST_RETRY_SECONDS + (clients * loginMs) / 1_000 / processors : 0,
    available: BACK_SECONDS,
  };
}
