/**
 * The SNO_WORKERS processes that own the client sockets, as seen from main, which reads the WAL.
 * Each worker receives the whole stream, in turns, and serves clients by itself; see
 * docs/decisions/0026-workers.md.
 *
 * Main keeps the journal too. A worker that ends is replaced, and the new worker starts with the
 * journal's content. While a worker's backlog is too large, main holds the stream. A worker that
 * makes no progress for long is killed, so that it delays no other worker.
 */
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { Catalog } from '../channels/catalog/catalog.ts';
import { systemClock } from '../clock.ts';
import type { Batch } from '../commit/entry.ts';
import type { Settings } from '../config/config.ts';
import type { Downstream } from '../downstream.ts';
import { SnoError } from '../errors.ts';
import { Admission } from '../gateway/accept/admission.ts';
import { clientSocketsMax } from '../gateway/accept/descriptors.ts';
import { drainSeconds } from '../gateway/drain.ts';
import { Limits } from '../gateway/limits.ts';
import type { Certificate } from '../http/tls.ts';
import type { Logger } from '../logger.ts';
import type { Metrics, MetricValues } from '../metrics.ts';
import type { ResetReason } from '../protocol.ts';
import { steadyNow } from '../steady-clock.ts';
import { Acceptor } from './acceptor.ts';
import { type Exit, Member } from './process.ts';
import { shareOf } from './share.ts';
import { added, sumOf } from './sums.ts';
import { Turns, type TurnsOptions } from './turns.ts';

export interface FleetOptions extends TurnsOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly certificate: Certificate | undefined;
  /** Number of files that this process may open beside client connections. */
  readonly otherFilesMax: number;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
  /** Pauses the stream until `release`. */
  readonly hold: () => void;
  readonly release: () => void;
  /** A worker ended because of a bug. */
  readonly onBug: (error: SnoError) => void;
}

const WORKER_FILE = fileURLToPath(new URL('./worker.js', import.meta.url));
const CHECK_MS = 1_000;
/** Number of checks without a message after which a worker is asked for its metrics. */
const MEASURE_CHECKS = 5;
const EVICT_MS = 1_000;
/** Files that main opens per worker: its channel, and the connection being passed to it. */
const FILES_PER_WORKER = 3;
/** Maximum bytes of the stream that wait for one worker before the stream is held. */
const WAITING_BYTES_MAX = 8 * 1024 ** 2;
/** Maximum checks without progress before the stream is no longer held for a worker. */
const PATIENCE_CHECKS = 2;
/**
 * A stalled worker is killed when its backlog exceeds this plus SNO_REPLAY_BYTES, and in any case
 * after STALLED_CHECKS_MAX.
 */
const STALLED_BYTES_MAX = 64 * 1024 ** 2;
const STALLED_CHECKS_MAX = 10;
/** Maximum checks without a message before a worker is killed. */
const SILENT_CHECKS_MAX = 60;
/** If a worker ran longer than this, in ms, it is restarted without backoff. */
const WELL_MS = 30_000;
/** How long a worker may take to end after its last client was sent away, in ms. */
const END_MS = 10_000;

export class Fleet implements Downstream {
  readonly #options: FleetOptions;
  /** The settings of one worker: overall limits are divided among the workers. */
  readonly #settings: Settings;
  readonly #admission: Admission;
  readonly #members = new Set<Member>();
  readonly #turns: Turns;
  /** Counters of the workers that have ended. */
  #departed: Promise<MetricValues> = Promise.resolve([]);
  readonly #acceptor: Acceptor;
  #port = 0;
  #isOpen = false;
  #isStopping = false;
  #isHeld = false;
  #timers: NodeJS.Timeout[] = [];
  readonly contentType: string;

  constructor(options: FleetOptions) {
    const { settings, metrics, certificate, journal } = options;
    this.#options = options;
    this.contentType = metrics.contentType;
    this.#settings = shareOf(settings);
    this.#turns = new Turns(options);
    this.#admission = new Admission(settings.SNO_MAX_CONNECTIONS, settings.SNO_MAX_CONNECTIONS_PER_ADDRESS);
    this.#acceptor = new Acceptor({
      host: settings.SNO_HOST,
      port: settings.SNO_PORT,
      waitingMax: clientSocketsMax(
        { reserved: options.otherFilesMax + settings.SNO_WORKERS * FILES_PER_WORKER, clientsMax: 0 },
        options.logger,
      ),
      limits: new Limits(metrics, options.logger, systemClock),
      logger: options.logger,
    });
    if (certificate !== undefined)
      certificate.onTicketKeys = (keys) => {
        for (const member of this.#members) member.send({ kind: 'ticket-keys', keys });
      };
    certificate?.watch();
    metrics.observe({
      workers: () => this.#serving,
      workersWaitingBytes: () => Math.max(0, ...[...this.#members].map(({ waitingBytes }) => waitingBytes)),
      journalBytes: () => journal.bytes,
      journalEntries: () => journal.entryCount,
    });
  }

  /** Why no client is served. Undefined: at least one worker serves clients. */
  get unready(): string | undefined {
    return this.#serving > 0 ? undefined : 'no worker serves clients';
  }

  get #serving(): number {
    return [...this.#members].filter(({ isOpen, isListening }) => isOpen && isListening).length;
  }

  /** A new worker has the journal's content in its backlog. */
  get #stalledBytesMax(): number {
    return STALLED_BYTES_MAX + this.#options.settings.SNO_REPLAY_BYTES;
  }

  /**
   * Takes the port and starts the workers. Resolves once all accept connections. Throws the error
   * that prevents it.
   */
  async listen(): Promise<number> {
    const { SNO_WORKERS: count } = this.#options.settings;
    this.#port = await this.#acceptor.listen();
    cluster.setupPrimary({ exec: WORKER_FILE, args: [], serialization: 'advanced' });
    await Promise.all(Array.from({ length: count }, (_, index) => this.#start(index + 1, 0)));
    this.#timers.push(setInterval(() => this.#check(), CHECK_MS));
    this.#timers.push(setInterval(() => this.#options.journal.evict(steadyNow()), EVICT_MS));
    return this.#port;
  }

  /** Lets clients in. */
  async open(): Promise<void> {
    this.#isOpen = true;
    // A worker that is still starting opens by itself when it has started.
    await Promise.all([...this.#members].filter(({ isFollowing }) => isFollowing).map((member) => member.open()));
  }

  /** Tells each worker to send its clients away over the same time, and to end. */
  async drain(): Promise<void> {
    this.#isStopping = true;
    this.#acceptor.close();
    const seconds = drainSeconds(this.#options.settings.SNO_DRAIN_SECONDS, this.#admission.count);
    for (const member of this.#members) {
      if (member.isListening) member.send({ kind: 'drain', seconds });
      else member.kill();
    }
    const force = setTimeout(
      () => {
        for (const member of this.#members) member.kill();
      },
      seconds * 1_000 + END_MS,
    );
    await Promise.all([...this.#members].map(({ ended }) => ended));
    clearTimeout(force);
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#acceptor.close();
    for (const member of this.#members) member.kill();
    await Promise.all([...this.#members].map(({ ended }) => ended));
  }

  // Called by the stream:

  append(batch: Batch): void {
    this.#options.journal.append(batch);
    this.#turns.batch(batch);
  }

  knows(channel: string): boolean {
    return this.#options.journal.knows(channel) || [...this.#members].some((member) => member.holds.has(channel));
  }

  begin(reason: ResetReason): void {
    this.#turns.begin(reason);
  }

  defined(catalog: Catalog): void {
    this.#turns.defined(catalog);
  }

  known(isKnown: boolean): void {
    this.#turns.known(isKnown);
  }

  marker(id: string): void {
    this.#turns.marker(id);
  }

  flush(): void {
    const turn = this.#turns.take();
    if (turn === undefined) return;
    for (const member of this.#members) if (member.isFollowing) member.turn(turn);
    this.#options.journal.evict(steadyNow());
    this.#pace();
  }

  // Metrics:

  /** The metrics of this process and all workers together. */
  async text(): Promise<string> {
    const own = await this.#options.metrics.values();
    const all = await Promise.all([...this.#members].map((member) => member.measure()));
    return added([own, await this.#departed, ...all]).metrics();
  }

  async #start(number: number, attempt: number): Promise<void> {
    const { certificate, settings, onBug } = this.#options;
    const member = new Member(cluster.fork(), {
      admission: this.#admission,
      onFree: (free) => this.#acceptor.free(free),
      onTaken: () => this.#pace(),
    });
    this.#members.add(member);
    const startedAt = Date.now();
    void member.ended.then((how) => {
      this.#members.delete(member);
      this.#acceptor.forget(member);
      this.#options.metrics.workerExits.inc(this.#isStopping ? 0 : 1);
      this.#departed = this.#departed.then((before) => sumOf([before, member.counters]));
      this.#pace();
      if (this.#isStopping) return;
      // After a bug, a replacement would meet the same bug.
      if (how.isBug) onBug(new SnoError('worker_failed', `worker ${number} has ended with ${how.code}, at a bug`));
      else if (member.isListening) this.#ended(number, how, Date.now() - startedAt > WELL_MS ? 0 : attempt + 1);
    });
    await member.ready;
    member.send({
      kind: 'start',
      number,
      settings: { ...this.#settings, SNO_PORT: this.#port },
      clientsMax: Math.ceil(settings.SNO_MAX_CONNECTIONS / settings.SNO_WORKERS),
      ticketKeys: certificate?.options.ticketKeys,
    });
    // The first workers tell clients that the service is starting. A later worker accepts
    // connections only once it can serve them.
    if (!this.#isOpen) await member.listen();
    this.#follow(member);
    if (!this.#isOpen) return;
    await member.open();
    await member.listen();
  }

  #ended(number: number, how: Exit, attempt: number): void {
    this.#options.logger.error({ worker: number, ...how }, 'a worker has ended: another takes its place');
    void this.#replace(number, attempt);
  }

  async #replace(number: number, attempt: number): Promise<void> {
    for (let failed = attempt; !this.#isStopping; failed++) {
      if (failed > 0) await this.#options.pause(failed);
      if (this.#isStopping) return;
      try {
        return await this.#start(number, failed);
      } catch (error) {
        this.#options.logger.error(
          { worker: number, error: String(error) },
          'a worker could not be started, it is tried again',
        );
      }
    }
  }

  /** The member receives the stream from now on, starting with the journal's content. */
  #follow(member: Member): void {
    // Pending steps are in the journal already: the other workers receive them first.
    this.flush();
    member.isFollowing = true;
    for (const turn of this.#turns.sinceBeginning()) member.turn(turn);
  }

  /**
   * Holds the stream while a worker's backlog is too large and the worker makes progress. A
   * replacement worker may have a larger backlog.
   */
  #pace(): void {
    const isBehind = [...this.#members].some(
      ({ waitingBytes, stalledChecks, isOpen }) =>
        stalledChecks < PATIENCE_CHECKS &&
        waitingBytes > (isOpen === this.#isOpen ? WAITING_BYTES_MAX : this.#stalledBytesMax),
    );
    if (isBehind === this.#isHeld) return;
    this.#isHeld = isBehind;
    if (isBehind) this.#options.hold();
    else this.#options.release();
  }

  #check(): void {
    for (const member of this.#members) {
      if (!member.isFollowing) continue;
      member.check();
      const { stalledChecks, silentChecks, waitingBytes } = member;
      const isStalled = stalledChecks > (waitingBytes > this.#stalledBytesMax ? PATIENCE_CHECKS : STALLED_CHECKS_MAX);
      if (!isStalled && silentChecks <= SILENT_CHECKS_MAX) {
        if (silentChecks >= MEASURE_CHECKS) void member.measure();
        continue;
      }
      this.#options.logger.error({ pid: member.pid }, 'a worker does not answer: it is ended');
      member.kill();
    }
    this.#pace();
  }
}
