/** Faults. Each resolves once it is over, or will end by itself. */
import { readMetric } from '../service/stage.ts';
import { until } from '../support/wait.ts';
import { workersOf } from '../support/workers.ts';
import type { Random } from './random.ts';
import type { World } from './world.ts';

const MB = 1024 ** 2;

export interface Fault {
  /** The fast faults: a run of several takes seconds. */
  readonly cost: 'cheap' | 'dear';
  readonly run: (world: World, random: Random) => Promise<void>;
}

/** By the names that the figures of a run use. */
export const FAULTS = {
  'service killed': {
    cost: 'cheap',
    async run({ service }, _random) {
      await service.kill();
      await service.restart();
    },
  },
  'worker killed': {
    cost: 'cheap',
    async run({ service }, random) {
      const workers = await until(async () => {
        const living = await workersOf(service.pid);
        return living.length > 0 && living;
      }, 'there is a worker');
      process.kill(workers[random.below(workers.length)] as number, 'SIGKILL');
    },
  },
  'service stopped': {
    cost: 'cheap',
    async run({ service, writers }, random) {
      process.kill(service.pid, 'SIGSTOP');
      await writers.more(10 + random.below(30));
      process.kill(service.pid, 'SIGCONT');
    },
  },
  'service killed twice': {
    cost: 'cheap',
    async run(world, random) {
      const { service } = world;
      await service.kill();
      const starting = service.restart().catch(() => undefined);
      // while the service still reads the same WAL again
      await until(async () => (await world.slot())?.pid, 'the slot is read');
      if (random.chance(0.5)) await world.writers.more(1 + random.below(10));
      await service.kill();
      await starting;
      await world.restartService();
    },
  },
  'service killed while clients are away': {
    cost: 'cheap',
    async run({ service, services, subscribers, server, writers }, random) {
      const away = subscribers.filter(() => random.chance(0.7));
      for (const subscriber of away) subscriber.leave();
      await writers.more(20);
      const { rows } = await server.query<{ end: string }>('select pg_current_wal_lsn()::text as end');
      await until(async () => {
        const { rowCount } = await server.query(
          "select from pg_stat_replication where application_name = 'sno replication' and write_lsn >= $1",
          [rows[0]?.end],
        );
        return rowCount === services.length;
      }, 'the service has told how far it has read');
      await service.kill();
      await service.restart();
      for (const subscriber of away) subscriber.comeBack();
    },
  },
  'walsender terminated': {
    cost: 'cheap',
    async run(world) {
      await terminate(world, "application_name = 'sno replication'");
    },
  },
  'connections terminated': {
    cost: 'cheap',
    async run(world) {
      world.happened('database away');
      await terminate(world, "application_name like 'sno %'");
    },
  },
  'clients cut': {
    cost: 'cheap',
    async run({ clientSide }, random) {
      for (const link of clientSide.links) if (random.chance(0.5)) link.cut();
    },
  },
  'clients cut in a frame': {
    cost: 'cheap',
    async run({ clientSide }, random) {
      for (const link of clientSide.links) if (random.chance(0.5)) link.cutAfter(1 + random.below(3_000));
    },
  },
  'clients away': {
    cost: 'cheap',
    async run({ subscribers, writers }, random) {
      const away = subscribers.filter(() => random.chance(0.4));
      for (const subscriber of away) subscriber.leave();
      await writers.more(20 + random.below(60));
      for (const subscriber of away) subscriber.comeBack();
    },
  },
  'clients rejoin': {
    cost: 'cheap',
    async run({ subscribers, writers }) {
      for (const subscriber of subscribers) subscriber.rejoin();
      await writers.more(10);
    },
  },
  'clients slow': {
    cost: 'cheap',
    async run({ clientSide, writers }, random) {
      const slow = clientSide.links.filter(() => random.chance(0.4));
      for (const link of slow) link.slow(30_000 + random.below(200_000));
      await writers.more(30 + random.below(60));
      for (const link of slow) link.slow(Number.POSITIVE_INFINITY);
    },
  },
  'clients half-open': {
    cost: 'dear',
    async run({ clientSide, service, subscribers, writers }, random) {
      const openings = () => subscribers.reduce((sum, { openings }) => sum + openings, 0);
      const before = openings();
      const dead = clientSide.links.filter(() => random.chance(0.4));
      for (const link of dead) link.swallow();
      await writers.more(20);
      // clients on silent connections reconnect by themselves
      await until(() => openings() >= before + dead.length, 'everybody is back', 60_000);
      // and the service drops the silent connections
      await until(
        async () => (await readMetric(service, 'sno_connections')) <= subscribers.length,
        'the service has closed the dead connections',
        150_000,
      );
    },
  },
  'database cut': {
    cost: 'cheap',
    async run(world, random) {
      const { databaseSide, writers } = world;
      world.happened('database away');
      databaseSide.isDown = true;
      for (const link of databaseSide.links) link.cut();
      await writers.more(1 + random.below(30));
      databaseSide.isDown = false;
    },
  },
  'database slow': {
    cost: 'cheap',
    async run(world, random) {
      const { databaseSide, writers } = world;
      const links = databaseSide.links;
      for (const link of links) link.slow(100_000 + random.below(400_000));
      await writers.more(20 + random.below(60));
      for (const link of links) link.slow(Number.POSITIVE_INFINITY);
    },
  },
  'database half-open': {
    cost: 'dear',
    async run(world) {
      world.happened('database away');
      const before = await world.slot();
      for (const link of world.databaseSide.links) link.swallow();
      await world.streamsAgain(before?.pid);
    },
  },
  'postgres killed': {
    cost: 'cheap',
    async run(world) {
      world.happened('database away');
      await world.server.kill();
      await world.server.start();
    },
  },
  'both killed': {
    cost: 'cheap',
    async run(world) {
      world.happened('database away');
      await Promise.all([world.server.kill(), world.service.kill()]);
      await world.server.start();
      await world.restartService();
    },
  },
  'slot dropped': {
    cost: 'cheap',
    async run(world) {
      world.happened('slot lost');
      const before = await world.slot();
      await until(async () => {
        await terminate(world, "application_name = 'sno replication'");
        const { rowCount } = await world.server.query(
          'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active',
          [world.slotName],
        );
        return rowCount === 1;
      }, 'the slot is dropped');
      await world.streamsAgain(before?.pid);
    },
  },
  'slot dropped while away': {
    cost: 'cheap',
    async run(world, random) {
      world.happened('slot lost');
      await world.service.kill();
      await until(async () => (await world.slot())?.pid === null, 'the slot is not read');
      await world.server.query('select pg_drop_replication_slot($1)', [world.slotName]);
      await world.writers.more(random.below(20));
      await world.restartService();
    },
  },
  'slot invalidated': {
    cost: 'dear',
    async run(world, random) {
      world.happened('slot lost');
      const isStopped = random.chance(0.5);
      if (isStopped) process.kill(world.service.pid, 'SIGSTOP');
      else await world.service.kill();
      await world.burst(80 * MB);
      await world.server.set('max_slot_wal_keep_size', '32MB');
      await until(async () => {
        await world.server.query('checkpoint');
        return (await world.slot())?.status === 'lost';
      }, 'the slot is lost');
      await world.server.reset('max_slot_wal_keep_size');
      if (isStopped) process.kill(world.service.pid, 'SIGCONT');
      else await world.restartService();
      await world.streamsAgain(undefined);
    },
  },
  'publication altered': {
    cost: 'cheap',
    async run(world, random) {
      world.happened('publication altered');
      const table = random.chance(0.5) ? 'items' : 'ledger';
      await world.server.query(`alter publication sno drop table ${table}`);
      await world.writers.more(random.below(20));
      await world.server.query(`alter publication sno add table ${table}`);
    },
  },
  'replay bound reached': {
    cost: 'dear',
    async run(world, random) {
      const away = world.subscribers.filter(() => random.chance(0.5));
      for (const subscriber of away) subscriber.leave();
      await world.burst(world.bounds.replayWalBytes * 1.5);
      await until(async () => {
        const { rows } = await world.server.query<{ held: string }>(
          'select pg_current_wal_lsn() - confirmed_flush_lsn as held from pg_replication_slots where slot_name = $1',
          [world.slotName],
        );
        return Number(rows[0]?.held) < world.bounds.replayWalBytes * 1.1;
      }, 'the WAL beyond the bound is given up');
      await world.service.kill();
      await world.service.restart();
      for (const subscriber of away) subscriber.comeBack();
    },
  },
  'slot bound reached': {
    cost: 'dear',
    async run(world, random) {
      const { service, writers, slotPolicy } = world;
      const givesUp = slotPolicy === 'give_up';
      if (givesUp) world.happened('slot lost');
      await service.kill();
      await world.burst(world.slotBytes * 1.3);
      await writers.more(random.below(20));
      await world.restartService();
      await world.streamsAgain(undefined);
      const given = await readMetric(service, 'sno_slot_given_up_total');
      if (given !== Number(givesUp)) throw new Error(`with the policy ${slotPolicy}, ${given} slots were given up`);
    },
  },
  'standby promoted': {
    cost: 'dear',
    async run(world, random) {
      world.happened('database away');
      const standby = await world.server.makeStandby();
      const bringsSlot = world.version >= 17 && random.chance(0.8);
      if (bringsSlot) await until(() => standby.hasSlot(world.slotName), 'the slot is on the standby', 180_000);
      else world.happened('slot lost');
      await world.writers.more(5 + random.below(30));
      await world.promote(standby);
      await world.streamsAgain(undefined);
    },
  },
  'service rolled': {
    cost: 'cheap',
    async run(world) {
      const sentAway = () => world.subscribers.reduce((sum, { sentAway }) => sum + sentAway, 0);
      await world.streamsAgain(undefined);
      const before = sentAway();
      const exitCode = await world.service.roll();
      if (exitCode !== 0) throw new Error(`the old process ended with ${exitCode}`);
      // with several services, it may have no client at that moment
      if (sentAway() === before && world.services.length === 1) throw new Error('no client was asked to reconnect');
    },
  },
} as const satisfies Readonly<Record<string, Fault>>;

export type FaultName = keyof typeof FAULTS;

async function terminate({ server }: World, which: string): Promise<void> {
  await server.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${which}`);
}
