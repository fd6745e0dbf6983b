/**
 * The environment of one run: a Postgres server, `sno start` as a process, proxies on both sides of
 * it, writers, subscribers, and the tap that reads the commits. All are real, and no other run uses
 * them.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import type { Version } from '../support/own-server.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { type Certificate, selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';
import { Crowd } from './crowd.ts';
import type { Bounds, Evidence, Incident } from './evidence.ts';
import { History, SCHEMA } from './model.ts';
import { TcpProxy } from './proxy.ts';
import type { Random } from './random.ts';
import { DatabaseServer } from './server.ts';
import type { Subscriber } from './subscriber.ts';
import { Tap } from './tap.ts';
import { bytesOf, type WalCommit } from './wal.ts';
import type { Writers } from './writers.ts';

export interface WorldOptions {
  readonly version: Version;
  /** Settings of the service. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Command line of another build than dist/cli/sno.js. */
  readonly build?: string;
  /**
   * Number of services (default 1), each with a slot of its own on the same publication. Clients
   * connect to each in turn.
   */
  readonly services?: number;
}

const MB = 1024 ** 2;
/** The first version that can send each change of a transaction in progress at once. */
const AT_ONCE_FROM = 16;
const SLOTS = ['sno', 'sno_2', 'sno_3', 'sno_4'];

export class World {
  readonly version: Version;
  readonly incidents: Incident[] = [];
  readonly crashes: string[] = [];
  readonly crowd: Crowd;
  readonly databaseSide: TcpProxy;
  readonly clientSide: TcpProxy;
  readonly services: readonly ServiceProcess[];
  server: DatabaseServer;
  readonly #options: WorldOptions;
  readonly #certificate: Certificate;
  #tap: Tap;
  /**
   * Histories that ended by a promotion: all their commits, and the LSN where the next one forked.
   */
  readonly #ended: { readonly commits: readonly WalCommit[]; readonly fork: number }[] = [];
  /** Commits of earlier timelines. The tap reads those of the present one. */
  #inherited: readonly WalCommit[] = [];
  #isMoving = false;
  #picked = 0;

  private constructor(
    options: WorldOptions,
    parts: {
      readonly server: DatabaseServer;
      readonly databaseSide: TcpProxy;
      readonly clientSide: TcpProxy;
      readonly services: readonly ServiceProcess[];
      readonly tap: Tap;
      readonly token: string;
      readonly certificate: Certificate;
    },
  ) {
    this.version = options.version;
    this.#options = options;
    this.server = parts.server;
    this.databaseSide = parts.databaseSide;
    this.clientSide = parts.clientSide;
    this.services = parts.services;
    this.#tap = parts.tap;
    this.#certificate = parts.certificate;
    const { clientSide, certificate, token } = parts;
    this.crowd = new Crowd({
      connect: () => this.#connectWriter(),
      url: () => `wss://localhost:${clientSide.port}/v1`,
      ca: certificate.cert,
      token,
    });
  }

  static async build(options: WorldOptions): Promise<World> {
    const server = await DatabaseServer.start(options.version, serverSettings(options));
    // proxies look up their targets for each connection
    const ends: { database: () => number; clients: () => number } = { database: () => server.port, clients: () => 0 };
    const databaseSide = await TcpProxy.listen(() => ends.database());
    const clientSide = await TcpProxy.listen(() => ends.clients());
    await server.query(SCHEMA);
    const tap = await Tap.open(server.url());
    // Clients trust one certificate, wherever they connect.
    const certificate = await selfSigned();
    const tls = { SNO_TLS_CERT: certificate.certFile, SNO_TLS_KEY: certificate.keyFile };
    const services = await Promise.all(
      SLOTS.slice(0, options.services ?? 1).map((SNO_SLOT) =>
        startService(
          server.url(databaseSide.port),
          { ...tls, ...options.settings, SNO_SLOT },
          { build: options.build },
        ),
      ),
    );
    const token = await signToken({ sub: 'oracle' });
    const world = new World(options, { server, databaseSide, clientSide, services, tap, token, certificate });
    ends.database = () => world.server.port;
    let connections = 0;
    ends.clients = () => (services[connections++ % services.length] as ServiceProcess).port;
    return world;
  }

  get subscribers(): readonly Subscriber[] {
    return this.crowd.subscribers;
  }

  get writers(): Writers {
    return this.crowd.writers;
  }

  /** The service that faults affect: the one that was picked last. */
  get service(): ServiceProcess {
    return this.services[this.#picked] as ServiceProcess;
  }

  /** The slot of that service. */
  get slotName(): string {
    return SLOTS[this.#picked] as string;
  }

  /** Picks the service that the next fault affects, at random. */
  pickService(random: Random): void {
    if (this.services.length > 1) this.#picked = random.below(this.services.length);
  }

  get bounds(): Bounds {
    const of = (name: string, fallback: number) => Number(this.#options.settings?.[name] ?? fallback);
    const bytes = of('SNO_REPLAY_BYTES', 64 * MB);
    return {
      commitBytes: of('SNO_COMMIT_BYTES', 8 * MB),
      journalBytes: bytes,
      replayBytes: bytes,
      replaySeconds: of('SNO_REPLAY_SECONDS', 300),
      replayWalBytes: of('SNO_REPLAY_WAL_BYTES', 256 * MB),
    };
  }

  /** Bytes of WAL that the slot may retain. `slotPolicy`: what happens beyond them. */
  get slotBytes(): number {
    return Number(this.#options.settings?.['SNO_SLOT_WAL_BYTES']);
  }

  get slotPolicy(): string | undefined {
    return this.#options.settings?.['SNO_SLOT_WAL_POLICY'];
  }

  happened(kind: Incident['kind']): void {
    this.incidents.push({ kind, at: performance.now() });
  }

  /** Restarts the service until it serves, as a supervisor does. */
  restartService(): Promise<void> {
    return restart(this.service);
  }

  /** Notes a crash if a service has ended by itself, and restarts it. */
  async superviseServices(): Promise<void> {
    for (const service of this.services) {
      if (service.isRunning) continue;
      this.crashes.push(`the service ended by itself: ${service.log.at(-1)?.msg}`);
      await restart(service);
    }
  }

  /** Ends the effects that a failed fault left behind. */
  async putRight(): Promise<void> {
    this.databaseSide.isDown = false;
    for (const link of [...this.databaseSide.links, ...this.clientSide.links]) link.slow(Number.POSITIVE_INFINITY);
    this.#isMoving = false;
    if (!this.server.isRunning) await this.server.start();
    await this.server.reset('all');
    for (const service of this.services) {
      if (service.isRunning) process.kill(service.pid, 'SIGCONT');
      else await restart(service);
    }
    for (const subscriber of this.subscribers) subscriber.comeBack();
  }

  /** Writes the services' logs and Postgres's replication views into this folder. */
  async writeLogs(folder: string): Promise<void> {
    for (const [index, { log }] of this.services.entries())
      await writeFile(join(folder, `service${index}.log`), log.map((line) => JSON.stringify(line)).join('\n'));
    const tables = ['pg_replication_slots', 'pg_stat_replication', 'pg_stat_activity'];
    for (const table of tables) {
      const { rows } = await this.server.query(`select * from ${table}`);
      await writeFile(join(folder, `${table}.json`), JSON.stringify(rows, null, 2));
    }
  }

  /** The service's slot according to Postgres. */
  async slot(): Promise<{ readonly pid: number | null; readonly status: string | null } | undefined> {
    const { rows } = await this.server.query<{ pid: number | null; status: string | null }>(
      'select active_pid as pid, wal_status as status from pg_replication_slots where slot_name = $1',
      [this.slotName],
    );
    return rows[0];
  }

  /** Resolves when the service reads a slot again, through another walsender than `before`. */
  async streamsAgain(before: number | null | undefined): Promise<void> {
    await until(
      async () => {
        const slot = await this.slot();
        return slot !== undefined && slot.pid !== null && slot.pid !== before;
      },
      'the slot is read again',
      150_000,
    );
  }

  /** Writes WAL that belongs to no channel, which only the service's slot may need. */
  async burst(bytes: number): Promise<void> {
    const client = await this.server.connect();
    try {
      for (let written = 0; written < bytes; written += 4 * MB)
        await client.query("select pg_logical_emit_message(false, 'nobody', repeat('x', 4 * 1024 * 1024))");
      await this.#tap.release(client);
    } finally {
      await client.end();
    }
  }

  /**
   * Kills the primary and promotes the standby. No connection reaches either server until it is
   * done. The old primary's commits form a history that has ended.
   */
  async promote(standby: DatabaseServer): Promise<void> {
    const old = this.server;
    this.#isMoving = true;
    this.databaseSide.isDown = true;
    await old.kill();
    this.happened('promoted');
    for (const link of this.databaseSide.links) link.cut();
    const fork = bytesOf(await standby.promote());
    // the old primary's commits are read after its death
    await old.start();
    await this.#tap.drain();
    await this.#tap.close();
    const all = [...this.#inherited, ...this.#tap.commits];
    this.#ended.push({ commits: all, fork });
    this.#inherited = all.filter(({ lsn }) => lsn <= fork);
    await old.stop();
    this.#tap = await Tap.open(standby.url());
    this.server = standby;
    this.databaseSide.isDown = false;
    this.#isMoving = false;
  }

  /** Collects the evidence of the run, and ends nothing. */
  async evidence(): Promise<Evidence> {
    await this.#tap.drain();
    const present = new History([...this.#inherited, ...this.#tap.commits]);
    return {
      histories: [...this.#ended.map(({ commits }) => new History(commits)), present],
      transactions: this.writers.transactions,
      incidents: this.incidents,
      bounds: this.bounds,
      subscribers: this.subscribers,
    };
  }

  async end(): Promise<void> {
    await this.crowd.end();
    await this.#tap.close();
    await Promise.all(this.services.map((service) => service.remove()));
    await this.#certificate.remove();
    await this.databaseSide.close();
    await this.clientSide.close();
    await this.server.stop();
  }

  /** Resolves once a primary accepts writes. */
  async #connectWriter(): Promise<pg.Client> {
    return until(
      async () => {
        if (this.#isMoving) return undefined;
        const client = await this.server.connect();
        await client.query('set deadlock_timeout = 100; set statement_timeout = 30000');
        return client;
      },
      'there is a primary',
      120_000,
    );
  }
}

async function restart(service: ServiceProcess): Promise<void> {
  await until(() => service.restart().then(() => true), 'the service serves again', 120_000);
}

/** If the service reads transactions in progress, makes the server send each change at once. */
function serverSettings({ version, settings = {} }: WorldOptions): Readonly<Record<string, string>> {
  const isWanted = settings['SNO_SPOOL_BYTES'] !== undefined && version >= AT_ONCE_FROM;
  return isWanted ? { debug_logical_replication_streaming: 'immediate' } : {};
}
