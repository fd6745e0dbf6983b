/** One run of the oracle on several machines: faults drawn from a seed, and the verdict. */
import { createHosts } from '../../support/hosts.ts';
import type { Version } from '../../support/own-server.ts';
import { judge } from '../judge.ts';
import { Random } from '../random.ts';
import type { Figures } from '../round.ts';
import { MACHINE_FAULTS, type MachineFaultName } from './faults.ts';
import { Fleet, type FleetHosts, NATS_NAMES, SERVICE_NAMES } from './fleet.ts';

export interface MachinesRound {
  readonly seed: number;
  readonly version: Version;
  /** Faults, which run one after the other. */
  readonly faults: readonly MachineFaultName[];
  /** Undefined: everything runs on 127.0.0.1, and no fault may cut connections. */
  readonly hosts: FleetHosts | undefined;
  /** Settings beside the ones that the seed draws. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly build?: string;
  /** Whether a takeover or a close that takes too long is a violation (default: no). */
  readonly isTimed?: boolean;
  /** Receives the processes' logs if the run finds a violation. */
  readonly logs?: string | undefined;
  readonly writers?: number;
  readonly subscribers?: number;
}

export interface MachinesFigures extends Figures {
  readonly takeoversMs: readonly number[];
  readonly cutOffMs: readonly number[];
  /** Time from the end of a cut until the machine serves clients again. */
  readonly healedMs: readonly number[];
}

const WRITERS = 3;
const SUBSCRIBERS = 10;
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  SNO_COMMIT_BYTES: ['8388608', '2000', '300'],
  SNO_COMPRESS_BYTES: ['512', '0'],
  // With a small journal, clients resume from the stream.
  SNO_REPLAY_BYTES: ['67108864', '2000000'],
};

/** Makes the hosts of a fleet. Undefined where namespaces are not permitted. */
export async function fleetHosts(): Promise<FleetHosts | undefined> {
  try {
    return await createHosts([...NATS_NAMES, ...SERVICE_NAMES]);
  } catch {
    return undefined;
  }
}

export async function playMachines(round: MachinesRound): Promise<MachinesFigures> {
  const began = performance.now();
  const { seed, version, hosts, build, isTimed = false } = round;
  const random = new Random(seed);
  const drawn = Object.entries(VARIANTS).map(([name, values]) => [name, values[random.below(values.length)] as string]);
  const settings = { ...(Object.fromEntries(drawn) as Record<string, string>), ...round.settings };
  const fleet = await Fleet.build({ version, settings, hosts, build, isTimed });
  try {
    const faults: Record<string, number> = {};
    const found: string[] = [];
    try {
      await unfold(fleet, round, random, faults);
    } catch (error) {
      found.push(String(error));
      await fleet
        .putRight()
        .then(() => conclude(fleet))
        .catch((error: unknown) => found.push(String(error)));
    }
    const { crowd, timings } = fleet;
    const times = (wanted: string) => timings.filter(({ what }) => what === wanted).map(({ ms }) => ms);
    await crowd.writers.stop();
    const { violations: judged, ...verdict } = judge(await fleet.evidence());
    const violations = [...found, ...judged, ...fleet.violations, ...crowd.writers.faults];
    if (violations.length > 0 && round.logs !== undefined) await fleet.writeLogs(round.logs);
    return {
      seed,
      version,
      seconds: Math.round((performance.now() - began) / 1_000),
      settings,
      faults,
      commits: crowd.writers.committed,
      subscribers: crowd.subscribers.length,
      takeoversMs: times('takeover'),
      cutOffMs: times('cut off'),
      healedMs: times('healed'),
      ...verdict,
      violations,
    };
  } finally {
    await fleet.end();
  }
}

/** Runs the faults, and counts each finished fault in `faults`. */
async function unfold(
  fleet: Fleet,
  round: MachinesRound,
  random: Random,
  faults: Record<string, number>,
): Promise<void> {
  const { writers = WRITERS, subscribers = SUBSCRIBERS } = round;
  const { crowd } = fleet;
  crowd.writers.start(Array.from({ length: writers }, () => new Random(random.below(2 ** 31))));
  for (let index = 0; index < subscribers / 2; index++) crowd.subscribe(random);
  await crowd.everybodyHasJoined();
  for (const name of round.faults) {
    // one more subscriber joins while everything goes on
    if (crowd.subscribers.length < subscribers) crowd.subscribe(random);
    await crowd.writers.more(15 + random.below(40));
    await MACHINE_FAULTS[name].run(fleet, random).catch((cause: unknown) => {
      throw new Error(`the fault '${name}' was not over: ${cause}`, { cause });
    });
    await fleet.supervise();
    await fleet.goesOn().catch((cause: unknown) => {
      throw new Error(`after the fault '${name}': ${cause}`, { cause });
    });
    faults[name] = (faults[name] ?? 0) + 1;
  }
  while (crowd.subscribers.length < subscribers) crowd.subscribe(random);
  await conclude(fleet);
}

async function conclude({ crowd }: Fleet): Promise<void> {
  crowd.writers.slowDown();
  await crowd.everybodyHasJoined();
  await crowd.writers.stop();
  await crowd.finish();
}
