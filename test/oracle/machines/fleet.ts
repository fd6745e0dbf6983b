/**
 * The environment of a run on several machines: Postgres, a cluster of three NATS servers, two
 * services that can read the WAL, and two that only serve clients. Where network namespaces are
 * permitted, each of them except Postgres runs on its own host, whose connections can be cut.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import type { Host, Hosts } from '../../support/hosts.ts';
import { type NatsCluster, startNatsCluster } from '../../support/nats/cluster.ts';
import type { Version } from '../../support/own-server.ts';
import { type ServiceProcess, signToken, startService } from '../../support/service.ts';
import { type Certificate, selfSigned } from '../../support/tls.ts';
import { until } from '../../support/wait.ts';
import { Crowd } from '../crowd.ts';
import type { Evidence, Incident } from '../evidence.ts';
import { lsnOf } from '../frame.ts';
import { History, SCHEMA } from '../model.ts';
import { DatabaseServer } from '../server.ts';
import type { Subscriber } from '../subscriber.ts';
import { Tap } from '../tap.ts';
import { bytesOf } from '../wal.ts';

export const NATS_NAMES = ['nats1', 'nats2', 'nats3'] as const;
export const SERVICE_NAMES = ['ingest1', 'ingest2', 'gateway1', 'gateway2'] as const;
export type FleetHosts = Hosts<(typeof NATS_NAMES)[number] | (typeof SERVICE_NAMES)[number]>;

export interface FleetOptions {
  readonly version: Version;
  readonly settings: Readonly<Record<string, string>>;
  /** Undefined: everything runs on 127.0.0.1. */
  readonly hosts: FleetHosts | undefined;
  /** Command line of another build than dist/cli/sno.js. */
  readonly build?: string | undefined;
  /** Whether a takeover or a close that takes too long is a violation. */
  readonly isTimed: boolean;
}

export interface Machine {
  readonly name: (typeof SERVICE_NAMES)[number];
  readonly service: ServiceProcess;
  /** Whether it can read the WAL. */
  readonly canRead: boolean;
  /** Number of log lines of earlier processes. */
  loggedBefore: number;
}

export const SILENCE_SECONDS = 10;
/** How long after SILENCE_SECONDS a process that is cut off may take to close its clients. */
const CLOSING_SECONDS = 6;
const TAKEOVER_SECONDS = 10;

const STREAMS = 'streaming from the WAL';
const READS = 'this process reads the WAL and publishes it';
const READS_NO_MORE = 'this process neither reads the WAL nor publishes';
const IS_CUT_OFF = 'this process is cut off from the stream';
const IS_BACK = 'the stream arrives again';

const SETTINGS = {
  SNO_NATS_REPLICAS: '3',
  SNO_NATS_SYNC_SECONDS: '60',
  SNO_RELAY_SILENCE_SECONDS: String(SILENCE_SECONDS),
  SNO_DRAIN_SECONDS: '2',
};

/** The time from a fault to its expected effect. */
interface Timing {
  readonly what: 'takeover' | 'cut off' | 'healed';
  readonly ms: number;
}

interface Parts {
  readonly server: DatabaseServer;
  readonly nats: NatsCluster;
  readonly machines: readonly Machine[];
  readonly tap: Tap;
  readonly certificate: Certificate;
  readonly token: string;
}

export class Fleet {
  readonly incidents: Incident[] = [];
  readonly timings: Timing[] = [];
  /** Violations that no frame shows. */
  readonly violations: string[] = [];
  readonly server: DatabaseServer;
  readonly nats: NatsCluster;
  readonly machines: readonly Machine[];
  readonly crowd: Crowd;
  readonly #options: FleetOptions;
  readonly #tap: Tap;
  readonly #certificate: Certificate;
  /** By subscriber: the machine that it connected to last. */
  readonly #at: Machine[] = [];

  private constructor(options: FleetOptions, { server, nats, machines, tap, certificate, token }: Parts) {
    this.#options = options;
    this.server = server;
    this.nats = nats;
    this.machines = machines;
    this.#tap = tap;
    this.#certificate = certificate;
    const attempts: number[] = [];
    this.crowd = new Crowd({
      connect: () => this.#connectWriter(),
      // Each connection goes to the next machine.
      url: (index) => {
        const attempt = (attempts[index] ?? -1) + 1;
        attempts[index] = attempt;
        const machine = machines[(index + attempt) % machines.length] as Machine;
        this.#at[index] = machine;
        return machine.service.url;
      },
      ca: certificate.cert,
      token,
    });
  }

  static async build(options: FleetOptions): Promise<Fleet> {
    const { version, hosts, build } = options;
    const ends: (() => Promise<unknown>)[] = [];
    try {
      const listen = hosts === undefined ? {} : { listen_addresses: '0.0.0.0' };
      const server = await DatabaseServer.start(version, listen);
      ends.push(() => server.stop());
      if (hosts !== undefined) await server.admit(hosts.networks);
      await server.query(SCHEMA);
      const tap = await Tap.open(server.url());
      ends.push(() => tap.close());
      const placed = (index: number) => {
        const host = hosts?.of[NATS_NAMES[index] as (typeof NATS_NAMES)[number]];
        return host === undefined ? {} : { host: host.address, launch: host.launch };
      };
      const nats = await startNatsCluster({}, placed);
      ends.push(() => nats.remove());
      // Clients trust one certificate, wherever they connect.
      const certificate = await selfSigned(SERVICE_NAMES.flatMap((name) => hosts?.of[name].address ?? []));
      ends.push(() => certificate.remove());
      const tls = { SNO_TLS_CERT: certificate.certFile, SNO_TLS_KEY: certificate.keyFile };
      const start = async (name: (typeof SERVICE_NAMES)[number]): Promise<Machine> => {
        const host = hosts?.of[name];
        const canRead = name.startsWith('ingest');
        const settings = {
          ...tls,
          ...SETTINGS,
          ...options.settings,
          SNO_SLOT: 'sno',
          SNO_ROLE: canRead ? 'all' : 'gateway',
          SNO_NATS_URL: nats.url,
          ...(host === undefined ? {} : { SNO_HOST: host.address }),
        };
        const place = host === undefined ? {} : { address: host.address, prefix: host.launch };
        const service = await startService(server.url(undefined, host?.outside), settings, { build, ...place });
        ends.push(() => service.remove());
        return { name, service, canRead, loggedBefore: 0 };
      };
      const machines = await Promise.all(SERVICE_NAMES.map(start));
      const token = await signToken({ sub: 'oracle' });
      return new Fleet(options, { server, nats, machines, tap, certificate, token });
    } catch (error) {
      for (const end of ends.reverse()) await end().catch(() => undefined);
      throw error;
    }
  }

  /** The hosts. Throws where everything runs on 127.0.0.1. */
  get hosts(): FleetHosts {
    if (this.#options.hosts === undefined) throw new Error('this fault needs hosts in network namespaces');
    return this.#options.hosts;
  }

  hostOf({ name }: Machine): Host {
    return this.hosts.of[name];
  }

  happened(kind: Incident['kind']): void {
    this.incidents.push({ kind, at: performance.now() });
  }

  /** The machine that reads the WAL, once one does. */
  async reader(): Promise<Machine> {
    // A former reader may not have noticed yet that another machine has taken over.
    const began = ({ service }: Machine) => String(service.log.findLast(({ msg }) => msg === READS)?.['time']);
    const newest = () => this.machines.filter(isReading).sort((a, b) => (began(a) < began(b) ? 1 : -1))[0];
    return until(newest, 'a machine reads the WAL', 120_000);
  }

  /** The clients that connected to the machine last. */
  clientsOf(machine: Machine): readonly Subscriber[] {
    return this.crowd.subscribers.filter((_, index) => this.#at[index] === machine);
  }

  /** Resolves when the other machine reads the WAL after `work`, and notes how long it took. */
  async takenOver(from: Machine, work: () => Promise<unknown>, secondsMax = TAKEOVER_SECONDS): Promise<void> {
    const other = this.machines.find((machine) => machine.canRead && machine !== from) as Machine;
    const logged = other.service.log.length;
    const began = performance.now();
    await work();
    const says = (text: string) => () => other.service.log.slice(logged).some(({ msg }) => msg === text);
    await until(says(STREAMS), `${other.name} reads the WAL`, 120_000);
    this.#time('takeover', secondsMax, performance.now() - began);
    await until(says(READS), `${other.name} has read the WAL to its end`, 120_000);
  }

  /** Resolves when the machine logs that it no longer reads the WAL. */
  async readsNoMore(machine: Machine, logged: number): Promise<void> {
    const says = () => logsSince(machine, logged, READS_NO_MORE);
    await until(says, 'the former reader says that it reads no more', 60_000);
  }

  /** Cuts the machine off from NATS until `healed`. Only its clients must be closed. */
  async cutOff(machine: Machine, meanwhile: () => Promise<unknown> = async () => undefined): Promise<void> {
    this.happened('cut off');
    const clients = this.clientsOf(machine);
    const others = this.crowd.subscribers.filter((each) => !clients.includes(each));
    const began = performance.now();
    // A machine without clients logs it too.
    const logged = machine.service.log.length;
    const { of, partition } = this.hosts;
    for (const name of NATS_NAMES) await partition(this.hostOf(machine), of[name]);
    const isClosed = ({ record }: Subscriber) =>
      record.some((note) => note.at > began && note.what === 'closed' && note.code === 1013);
    const isCutOff = () => logsSince(machine, logged, IS_CUT_OFF) && clients.every(isClosed);
    await Promise.all([
      meanwhile(),
      until(isCutOff, `${machine.name} is cut off and closes its clients with 1013`, 60_000).then(() => {
        this.#time('cut off', SILENCE_SECONDS + CLOSING_SECONDS, performance.now() - began);
      }),
    ]);
    await this.crowd.writers.more(20);
    await this.goesOn();
    for (const other of others)
      if (hasLostConnection(other, began))
        this.violations.push(`a client of another machine than ${machine.name} was closed`);
    await this.hosts.healAll();
    const healed = performance.now();
    await until(() => logsSince(machine, logged, IS_BACK), `${machine.name} serves again`, 120_000);
    this.timings.push({ what: 'healed', ms: Math.round(performance.now() - healed) });
  }

  /** Starts a machine's process again, as a supervisor does. */
  async restart(machine: Machine): Promise<void> {
    machine.loggedBefore = machine.service.log.length;
    await until(() => machine.service.restart().then(() => true), `${machine.name} serves again`, 120_000);
  }

  /** Resolves when every client has received all present commits. */
  async goesOn(): Promise<void> {
    const { rows } = await this.server.query<{ lsn: string }>('select pg_current_wal_lsn()::text as lsn');
    const lsn = bytesOf(rows[0]?.lsn ?? '0/0');
    const has = ({ record }: Subscriber) =>
      record.findLast((note) => note.what === 'frame' && lsnIn(note.frame) >= lsn) !== undefined;
    await until(() => this.crowd.subscribers.every(has), 'what is committed reaches every client', 120_000).catch(
      (error: Error) => {
        const late = this.crowd.subscribers.flatMap((each, index) =>
          has(each) ? [] : [`subscriber ${index} at ${this.#at[index]?.name}: ${each.standing}`],
        );
        throw new Error(`${error.message}; ${late.join('; ')}`);
      },
    );
  }

  /** Notes a crash if a process has ended by itself. */
  async supervise(): Promise<void> {
    for (const machine of this.machines) {
      if (machine.service.isRunning) continue;
      this.violations.push(`${machine.name} ended by itself: ${JSON.stringify(machine.service.log.at(-1))}`);
      await this.restart(machine);
    }
  }

  /** Ends the effects that a failed fault left behind. */
  async putRight(): Promise<void> {
    await this.#options.hosts?.healAll();
    for (const server of this.nats.servers) if (server.isRunning) server.thaw();
    await this.nats.start();
    if (!this.server.isRunning) await this.server.start();
    for (const machine of this.machines) {
      if (machine.service.isRunning) process.kill(machine.service.pid, 'SIGCONT');
      else await this.restart(machine);
    }
    for (const subscriber of this.crowd.subscribers) subscriber.comeBack();
  }

  /** Collects the evidence of the run, and ends nothing. */
  async evidence(): Promise<Evidence> {
    await this.#tap.drain();
    const infinite = Number.POSITIVE_INFINITY;
    return {
      histories: [new History(this.#tap.commits)],
      transactions: this.crowd.writers.transactions,
      incidents: this.incidents,
      // The stream keeps more than a run writes: each position can be resumed from. A connected
      // client reads from the journal of its machine.
      bounds: {
        commitBytes: Number(this.#options.settings['SNO_COMMIT_BYTES']),
        journalBytes: Number(this.#options.settings['SNO_REPLAY_BYTES']),
        replayBytes: infinite,
        replaySeconds: infinite,
        replayWalBytes: infinite,
      },
      subscribers: this.crowd.subscribers,
    };
  }

  /** Writes the log of each process into a file of this folder. */
  async writeLogs(folder: string): Promise<void> {
    for (const { name, service } of this.machines)
      await writeFile(join(folder, `${name}.log`), service.log.map((line) => JSON.stringify(line)).join('\n'));
    for (const { name, log } of this.nats.servers) await writeFile(join(folder, `${name}.log`), log.join('\n'));
  }

  async end(): Promise<void> {
    await this.#options.hosts?.healAll();
    await this.crowd.end();
    await this.#tap.close();
    await Promise.all(this.machines.map(({ service }) => service.remove()));
    await this.nats.remove();
    await this.#certificate.remove();
    await this.server.stop();
  }

  #time(what: Timing['what'], secondsMax: number, ms: number): void {
    this.timings.push({ what, ms: Math.round(ms) });
    if (this.#options.isTimed && ms > secondsMax * 1_000)
      this.violations.push(`${what}: ${Math.round(ms)} ms, not within ${secondsMax} s`);
  }

  /** Resolves once Postgres accepts writes. */
  async #connectWriter(): Promise<pg.Client> {
    return until(
      async () => {
        const client = await this.server.connect();
        await client.query('set deadlock_timeout = 100; set statement_timeout = 30000');
        return client;
      },
      'Postgres accepts writes',
      120_000,
    );
  }
}

/** Whether a line after the first `logged` ones starts with `text`. */
function logsSince({ service }: Machine, logged: number, text: string): boolean {
  return service.log.slice(logged).some(({ msg }) => msg.startsWith(text));
}

function isReading({ service, canRead, loggedBefore }: Machine): boolean {
  if (!canRead || !service.isRunning) return false;
  const lines = service.log.slice(loggedBefore).map(({ msg }) => msg);
  return lines.lastIndexOf(READS) > lines.findLastIndex((line) => line.startsWith(READS_NO_MORE));
}

/** Whether a connection that was open at the time `at` has ended since. */
export function hasLostConnection({ record }: Subscriber, at: number): boolean {
  let isOpen = false;
  for (const note of record) {
    if (note.what === 'opened') isOpen = note.at < at;
    else if (note.what === 'closed') {
      if (isOpen && note.at > at) return true;
      isOpen = false;
    }
  }
  return false;
}

const lsnIn = ({ position }: { readonly position?: string }): number => (position === undefined ? 0 : lsnOf(position));
