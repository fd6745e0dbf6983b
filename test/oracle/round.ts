/** One run of the oracle: a world, a schedule of faults drawn from a seed, and the verdict. */
import type { Version } from '../support/own-server.ts';
import { FAULTS, type FaultName } from './faults.ts';
import { judge } from './judge.ts';
import { Random } from './random.ts';
import { World } from './world.ts';

export interface Round {
  readonly seed: number;
  readonly version: Version;
  /** Faults, which run one after the other. */
  readonly faults: readonly FaultName[];
  /** Settings beside the ones that the seed draws. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly build?: string;
  readonly writers?: number;
  readonly subscribers?: number;
  /** Services that clients connect to in turn (default 1). */
  readonly services?: number;
  /** A folder for the services' logs if the run finds a violation. */
  readonly logs?: string | undefined;
}

export interface Figures {
  readonly seed: number;
  readonly version: Version;
  readonly seconds: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly commits: number;
  readonly subscribers: number;
  readonly deliveries: number;
  readonly seams: number;
  readonly resets: Readonly<Record<string, number>>;
  readonly violations: readonly string[];
}

const WRITERS = 6;
const SUBSCRIBERS = 12;

/**
 * Settings that a seed draws from, so that parts, slow sockets and compressed frames of every size
 * occur.
 */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  SNO_COMMIT_BYTES: ['8388608', '2000', '300'],
  SNO_OUTBOUND_BYTES: ['1048576', '20000'],
  SNO_COMPRESS_BYTES: ['512', '1', '0'],
};

const MB = 1024 ** 2;

/**
 * Settings that a fault needs in order to happen, or to happen fast enough. The seed draws one of
 * several values.
 */
const NEEDED: Readonly<Partial<Record<FaultName, Readonly<Record<string, readonly string[]>>>>> = {
  // clients reconnect while others are still served
  'service rolled': { SNO_DRAIN_SECONDS: ['2', '0'] },
  'worker killed': { SNO_WORKERS: ['2'] },
  // a slot reaches a new standby only after the replay window has passed
  'standby promoted': { SNO_REPLAY_SECONDS: ['10'] },
  'replay bound reached': { SNO_REPLAY_WAL_BYTES: [String(32 * MB)] },
  'slot bound reached': {
    SNO_REPLAY_WAL_BYTES: [String(32 * MB)],
    SNO_SLOT_WAL_BYTES: [String(96 * MB)],
    SNO_SLOT_WAL_POLICY: ['give_up', 'hold'],
  },
};

/** Draws `count` faults from these names. */
export function schedule<Name>(seed: number, names: readonly Name[], count: number): Name[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => names[random.below(names.length)] as Name);
}

export async function play(round: Round): Promise<Figures> {
  const began = performance.now();
  const random = new Random(round.seed);
  const needed = round.faults.map((fault) => NEEDED[fault] ?? {});
  const drawn = Object.entries(Object.assign({}, VARIANTS, ...needed) as typeof VARIANTS).map(
    ([name, values]) => [name, values[random.below(values.length)] as string] as const,
  );
  const { seed, version, build, services = 1 } = round;
  const settings = {
    ...Object.fromEntries(drawn),
    ...round.settings,
  };
  const world = await World.build({ version, settings, services, ...(build !== undefined && { build }) });
  try {
    const faults: Record<string, number> = {};
    const found: string[] = [];
    try {
      await unfold(world, round, random, faults);
    } catch (error) {
      found.push(String(error));
      // The run did not reach its end. Without this, the judge would report the last commits as
      // missing at every subscriber.
      await world
        .putRight()
        .then(() => conclude(world))
        .catch((error: unknown) => found.push(String(error)));
    }
    await world.writers.stop();
    const { violations: judged, ...verdict } = judge(await world.evidence());
    const violations = [...found, ...judged, ...world.crashes, ...world.writers.faults];
    if (violations.length > 0 && round.logs !== undefined) await world.writeLogs(round.logs);
    return {
      seed,
      version,
      seconds: Math.round((performance.now() - began) / 1_000),
      settings,
      faults,
      commits: world.writers.committed,
      subscribers: world.subscribers.length,
      ...verdict,
      violations,
    };
  } finally {
    await world.end();
  }
}

/** Runs the faults, and counts each finished fault in `faults`. */
async function unfold(world: World, round: Round, random: Random, faults: Record<string, number>): Promise<void> {
  const { writers = WRITERS, subscribers = SUBSCRIBERS } = round;
  world.writers.start(Array.from({ length: writers }, () => new Random(random.below(2 ** 31))));
  for (let index = 0; index < subscribers / 2; index++) world.crowd.subscribe(random);
  await world.crowd.everybodyHasJoined();
  for (const name of round.faults) {
    // one more subscriber joins while everything goes on
    if (world.subscribers.length < subscribers) world.crowd.subscribe(random);
    await world.writers.more(15 + random.below(60));
    world.pickService(random);
    await FAULTS[name].run(world, random).catch((cause: unknown) => {
      throw new Error(`the fault '${name}' was not over: ${cause}`, { cause });
    });
    await world.superviseServices();
    faults[name] = (faults[name] ?? 0) + 1;
  }
  await world.writers.more(30);
  while (world.subscribers.length < subscribers) world.crowd.subscribe(random);
  await conclude(world);
}

async function conclude(world: World): Promise<void> {
  world.writers.slowDown();
  await world.crowd.everybodyHasJoined();
  await world.writers.stop();
  await world.crowd.finish();
}
