/**
 * Faults of several machines. Each resolves once the fault is over and all machines serve again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../random.ts';
import { type Fleet, hasLostConnection, type Machine, SILENCE_SECONDS } from './fleet.ts';

export interface MachineFault {
  /** Whether it cuts connections between hosts. */
  readonly cuts: boolean;
  readonly run: (fleet: Fleet, random: Random) => Promise<unknown>;
}

const STREAM = 'SNO';
/** Longer than a process that is cut off waits before it closes its clients, in ms. */
const OUTAGE_MS = (SILENCE_SECONDS + 4) * 1_000;

/** A reader publishes for up to 4 s without hearing from Postgres. */
const UNHEARD_TAKEOVER_SECONDS = 15;

/** By the names that the figures of a run use. */
export const MACHINE_FAULTS = {
  'ingest killed': {
    cuts: false,
    async run(fleet) {
      const reader = await fleet.reader();
      await fleet.takenOver(reader, () => reader.service.kill());
      await fleet.restart(reader);
    },
  },
  'ingest stopped and woken': {
    cuts: false,
    async run(fleet, random) {
      const reader = await fleet.reader();
      await fleet.takenOver(reader, async () => process.kill(reader.service.pid, 'SIGSTOP'));
      await fleet.crowd.writers.more(random.below(40));
      const logged = reader.service.log.length;
      process.kill(reader.service.pid, 'SIGCONT');
      await fleet.readsNoMore(reader, logged);
    },
  },
  'NATS node killed': {
    cuts: false,
    async run({ nats, crowd }, random) {
      await nats.servers[random.below(nats.servers.length)]?.kill();
      await crowd.writers.more(20 + random.below(40));
      await nats.start();
    },
  },
  'leader of the stream killed': {
    cuts: false,
    async run({ nats, crowd }, random) {
      await (await nats.leaderOf(STREAM)).kill();
      await crowd.writers.more(20 + random.below(40));
      await nats.start();
    },
  },
  'all NATS killed': {
    cuts: false,
    async run(fleet) {
      const { nats, crowd, violations } = fleet;
      fleet.happened('stream away');
      const began = performance.now();
      await nats.kill();
      await delay(OUTAGE_MS);
      await crowd.writers.more(20);
      for (const [index, subscriber] of crowd.subscribers.entries())
        if (hasLostConnection(subscriber, began))
          violations.push(`subscriber ${index} was closed while all NATS servers were down`);
      await nats.start();
    },
  },
  'stream lost its tail': {
    cuts: false,
    async run(fleet, random) {
      const { nats, crowd } = fleet;
      fleet.happened('stream away');
      await Promise.all(nats.servers.map((server) => server.stop()));
      const copies = await Promise.all(nats.servers.map((server) => server.copyStore()));
      await nats.start();
      await fleet.goesOn();
      await crowd.writers.more(random.below(40));
      await nats.kill();
      await Promise.all(nats.servers.map((server, index) => server.restoreStore(copies[index])));
      await nats.start();
    },
  },
  'ingest cut off from NATS': {
    cuts: true,
    async run(fleet) {
      const reader = await fleet.reader();
      await fleet.cutOff(reader, () => fleet.takenOver(reader, async () => undefined));
    },
  },
  'gateway cut off from NATS': {
    cuts: true,
    async run(fleet, random) {
      await fleet.cutOff(await another(fleet, random));
    },
  },
  'ingest cut off from Postgres': {
    cuts: true,
    async run(fleet, random) {
      fleet.happened('database away');
      const reader = await fleet.reader();
      const cut = () => fleet.hosts.cutOutside(fleet.hostOf(reader));
      await fleet.takenOver(reader, cut, UNHEARD_TAKEOVER_SECONDS);
      await fleet.crowd.writers.more(random.below(40));
      await fleet.hosts.healAll();
    },
  },
  'gateway killed': {
    cuts: false,
    async run(fleet, random) {
      const machine = await another(fleet, random);
      await machine.service.kill();
      await fleet.crowd.writers.more(random.below(60));
      await fleet.restart(machine);
    },
  },
  'everything rolled': {
    cuts: false,
    async run(fleet) {
      for (const server of fleet.nats.servers) {
        await server.stop();
        await fleet.nats.start();
      }
      for (const machine of fleet.machines) {
        const code = await machine.service.terminate();
        if (code !== 0) fleet.violations.push(`${machine.name} ended with ${code}`);
        await fleet.restart(machine);
      }
    },
  },
} as const satisfies Readonly<Record<string, MachineFault>>;

export type MachineFaultName = keyof typeof MACHINE_FAULTS;

/** A machine that does not read the WAL. */
async function another(fleet: Fleet, random: Random): Promise<Machine> {
  const reader = await fleet.reader();
  const others = fleet.machines.filter((machine) => machine !== reader);
  return others[random.below(others.length)] as Machine;
}
