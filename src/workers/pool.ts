/**
 * The worker processes (SNO_WORKERS), which own the client sockets, seen from main, which reads the
 * WAL. Each worker receives the whole stream, step by step, and serves clients by itself. See
 * docs/decisions/0026-workers.md.
 *
 * Main keeps the journal too. A worker that ends is replaced, and the new worker starts with the
 * journal's content. While a worker's backlog is too large, main holds the stream. A worker that
 * makes no progress for long is killed, so that it delays no other worker.
 */

import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { pauseBefore } from '../backoff.ts';
import type { ServedDefinitions } from '../channels/served/served.ts';
import { systemClock } from '../clock.ts';
import type { Batch } from '../commit/entry.ts';
import type { Settings } from '../config/settings.ts';
import { SnoError } from '../errors.ts';
import { Admission } from '../gateway/accept/admission.ts';
import { clientSocketsMax } from '../gateway/accept/descriptors.ts';
import { drainSeconds } from '../gateway/drain.ts';
import { Limits } from '../gateway/limits.ts';
import type { Certificate } from '../http/tls.ts';
import type { Logger } from '../logger.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { Metrics, MetricValues } from '../metrics/metrics.ts';
import type { PeerSwitch } from '../peers/peer-switch.ts';
import { type BacklogSource, backlogOf } from '../relay/backlog.ts';
import type { Beginning } from '../relay/follower.ts';
import { messagesOf } from '../relay/format.ts';
import { StepWriter } from '../relay/step-writer.ts';
import type { Gateways } from '../roles/gateways.ts';
import type { AskGateways } from '../roles/inspect/questions.ts';
import type { WorkerView } from '../roles/inspect/view.ts';
import { steadyNow } from '../steady-clock.ts';
import type { Unready } from '../unready.ts';
import { ConnectionDispatcher } from './dispatcher.ts';
import { type Exit, WorkerProcess } from './process.ts';
import { shareOf } from './share.ts';
import { added, sumOf } from './sums.ts';

const ENDED_HINT = 'Its clients reconnect. After SIGKILL, look for the out-of-memory killer.';
const START_HINT = 'Do what the error says: the lines before it may tell more.';
const SILENT_HINT = 'Its clients reconnect. See whether the machine has enough processors and memory.';

export interface WorkerPoolOptions {
  /** What a worker that starts later receives from ingest, and the stream's head. */
  readonly source: BacklogSource;
  readonly settings: Settings;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly certificate: Certificate | undefined;
  /** Number of files that this process may open beside client connections. */
  readonly otherFilesMax: number;
  /** Pauses the stream until `release`. */
  readonly hold: () => void;
  readonly release: () => void;
  /** Recent faults of this process. */
  readonly incidents: Incidents;
  /** Passes messages between the workers and the processes of other machines. */
  readonly peers: PeerSwitch;
  /** A worker ended because of a bug. */
  readonly onBug: (error: SnoError) => void;
}

const WORKER_FILE = fileURLToPath(new URL('./worker.js', import.meta.url));
/** Bytes of events that are passed to the workers together. */
const BURST_BYTES = 64 * 1024;
/** Maximum bytes of a message to a worker: small, so that progress in a large commit shows. */
const MESSAGE_BYTES_MAX = 1024 ** 2;
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
const STABLE_MS = 30_000;
/** How long a worker may take to end after its last client was sent away, in ms. */
const END_MS = 10_000;

export class WorkerPool implements Gateways {
  readonly #options: WorkerPoolOptions;
  /** The settings of one worker: overall limits are divided among the workers. */
  readonly #settings: Settings;
  readonly #admission: Admission;
  readonly #workers = new Set<WorkerProcess>();
  /** The steps since the last flush. */
  readonly #steps: StepWriter;
  #sentHead = '';
  /** Counters of the workers that have ended. */
  #departed: Promise<MetricValues> = Promise.resolve([]);
  readonly #dispatcher: ConnectionDispatcher;
  #port = 0;
  #isOpen = false;
  #isSuspended = false;
  #isStopping = false;
  #isHeld = false;
  #timers: NodeJS.Timeout[] = [];

  constructor(options: WorkerPoolOptions) {
    const { settings, metrics, certificate } = options;
    const { journal, head } = options.source;
    this.#options = options;
    this.#settings = shareOf(settings);
    this.#steps = new StepWriter(head);
    this.#admission = new Admission(settings.SNO_MAX_CONNECTIONS, settings.SNO_MAX_CONNECTIONS_PER_ADDRESS);
    this.#dispatcher = new ConnectionDispatcher({
      host: settings.SNO_HOST,
      port: settings.SNO_PORT,
      waitingMax: clientSocketsMax(
        { reserved: options.otherFilesMax + settings.SNO_WORKERS * FILES_PER_WORKER, clientsMax: 0 },
        options.logger,
      ),
      limits: new Limits(metrics, options.logger, systemClock, options.incidents),
      logger: options.logger,
    });
    if (certificate !== undefined)
      certificate.onTicketKeys = (keys) => {
        for (const worker of this.#workers) worker.send({ kind: 'ticket-keys', keys });
      };
    certificate?.watch();
    metrics.observe({
      workers: () => this.#serving,
      workersWaitingBytes: () => Math.max(0, ...[...this.#workers].map(({ waitingBytes }) => waitingBytes)),
      journalBytes: () => journal.bytes,
      journalEntries: () => journal.entryCount,
    });
  }

  /** Why no client is served. Undefined: at least one worker serves clients. */
  get unready(): Unready | undefined {
    return this.#serving > 0 ? undefined : { why: 'workers', text: 'no worker serves clients' };
  }

  get #serving(): number {
    return [...this.#workers].filter(({ isOpen, isListening }) => isOpen && isListening).length;
  }

  /** A new worker has the journal's content in its backlog. */
  get #stalledBytesMax(): number {
    return STALLED_BYTES_MAX + this.#options.settings.SNO_REPLAY_BYTES;
  }

  /**
   * Listens on the port and starts the workers. Resolves once all workers accept connections.
   * Throws the error that prevents it.
   */
  async listen(): Promise<number> {
    const { SNO_WORKERS: count } = this.#options.settings;
    this.#port = await this.#dispatcher.listen();
    cluster.setupPrimary({ exec: WORKER_FILE, args: [], serialization: 'advanced' });
    await Promise.all(Array.from({ length: count }, (_, index) => this.#start(index + 1, 0)));
    this.#timers.push(setInterval(() => this.#check(), CHECK_MS));
    this.#timers.push(setInterval(() => this.#options.source.journal.evict(steadyNow()), EVICT_MS));
    return this.#port;
  }

  /** Lets clients in. */
  async open(): Promise<void> {
    this.#isOpen = true;
    // A worker that is still starting opens by itself when it has started.
    await Promise.all([...this.#workers].filter(({ isFollowing }) => isFollowing).map((worker) => worker.open()));
  }

  /** Tells each worker to send its clients away over the same time, and to end. */
  async drain(): Promise<void> {
    this.#isStopping = true;
    this.#dispatcher.close();
    const seconds = drainSeconds(this.#options.settings.SNO_DRAIN_SECONDS, this.#admission.count);
    for (const worker of this.#workers) {
      if (worker.isListening) worker.send({ kind: 'drain', seconds });
      else worker.kill();
    }
    const force = setTimeout(
      () => {
        for (const worker of this.#workers) worker.kill();
      },
      seconds * 1_000 + END_MS,
    );
    await Promise.all([...this.#workers].map(({ ended }) => ended));
    clearTimeout(force);
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#dispatcher.close();
    for (const worker of this.#workers) worker.kill();
    await Promise.all([...this.#workers].map(({ ended }) => ended));
  }

  suspend(): void {
    this.#isSuspended = true;
    for (const worker of this.#workers) worker.send({ kind: 'suspend' });
  }

  resume(): void {
    this.#isSuspended = false;
    for (const worker of this.#workers) worker.send({ kind: 'resume' });
  }

  knows(channel: string): boolean {
    return (
      this.#options.source.journal.knows(channel) || [...this.#workers].some((worker) => worker.retained.has(channel))
    );
  }

  // Steps of the stream:

  begin(beginning: Beginning): void {
    this.#steps.begin(beginning);
  }

  append(batch: Batch): void {
    this.#options.source.journal.append(batch);
    this.#steps.append(batch);
  }

  marker(id: string): void {
    this.#steps.marker(id);
  }

  define(definitions: ServedDefinitions): void {
    this.#steps.define(definitions);
  }

  setKnown(isKnown: boolean): void {
    this.#steps.setKnown(isKnown);
  }

  get burstBytes(): number {
    return BURST_BYTES;
  }

  flush(): void {
    const { headText } = this.#options.source.head;
    if (this.#steps.length === 0 && headText === this.#sentHead) return;
    this.#sentHead = headText;
    this.#steps.head();
    for (const message of messagesOf(this.#steps.take(), MESSAGE_BYTES_MAX))
      for (const worker of this.#workers) if (worker.isFollowing) worker.relay(message);
    this.#options.source.journal.evict(steadyNow());
    this.#pace();
  }

  get metrics(): Gateways['metrics'] {
    return {
      contentType: this.#options.metrics.contentType,
      text: async () => added(await this.#values()).metrics(),
      values: async () => sumOf(await this.#values()),
    };
  }

  readonly ask: AskGateways = (question) => {
    const workers = [...this.#workers].filter(({ isFollowing }) => isFollowing);
    return Promise.all(workers.map((worker) => worker.ask(question)));
  };

  /** The workers in the order of their numbers. A worker that is not replaced yet is missing. */
  get workers(): readonly WorkerView[] {
    return [...this.#workers].map(({ view }) => view).sort((a, b) => (a.worker ?? 0) - (b.worker ?? 0));
  }

  /** The metrics of this process and of all workers. */
  async #values(): Promise<readonly MetricValues[]> {
    const own = await this.#options.metrics.values();
    const all = await Promise.all([...this.#workers].map((worker) => worker.measure()));
    return [own, await this.#departed, ...all];
  }

  async #start(number: number, attempt: number): Promise<void> {
    const { certificate, settings, onBug, peers } = this.#options;
    const worker = new WorkerProcess(cluster.fork(), {
      number,
      admission: this.#admission,
      onFree: (free) => this.#dispatcher.free(free),
      onTaken: () => this.#pace(),
      peers,
    });
    this.#workers.add(worker);
    const startedAt = Date.now();
    void worker.ended.then((how) => {
      this.#workers.delete(worker);
      this.#dispatcher.forget(worker);
      this.#options.metrics.workerExits.inc(this.#isStopping ? 0 : 1);
      this.#departed = this.#departed.then((before) => sumOf([before, worker.counters]));
      this.#pace();
      if (this.#isStopping) return;
      // After a bug, a replacement would fail the same way.
      if (how.isBug) onBug(new SnoError('worker_failed', `worker ${number} ended with ${how.code} because of a bug`));
      else if (worker.isListening) this.#ended(number, how, Date.now() - startedAt > STABLE_MS ? 0 : attempt + 1);
    });
    await worker.ready;
    worker.send({
      kind: 'start',
      number,
      settings: { ...this.#settings, SNO_PORT: this.#port },
      clientsMax: Math.ceil(settings.SNO_MAX_CONNECTIONS / settings.SNO_WORKERS),
      ticketKeys: certificate?.options.ticketKeys,
      peerId: worker.peerId,
    });
    // The first workers tell clients that the service is starting. A later worker accepts
    // connections only once it can serve them.
    if (!this.#isOpen) await worker.listen();
    this.#follow(worker);
    if (!this.#isOpen) return;
    if (this.#isSuspended) worker.send({ kind: 'suspend' });
    await worker.open();
    await worker.listen();
  }

  #ended(number: number, how: Exit, attempt: number): void {
    this.#options.logger.error(
      { worker: number, ...how, hint: ENDED_HINT },
      'a worker ended; Snö starts another in its place',
    );
    void this.#replace(number, attempt);
  }

  async #replace(number: number, attempt: number): Promise<void> {
    for (let failed = attempt; !this.#isStopping; failed++) {
      if (failed > 0) await pauseBefore(failed);
      if (this.#isStopping) return;
      try {
        return await this.#start(number, failed);
      } catch (error) {
        this.#options.logger.error(
          { worker: number, error: String(error), hint: START_HINT },
          'a worker could not start; Snö tries again',
        );
      }
    }
  }

  /** Sends the stream to the worker from now on, starting with the journal's content. */
  #follow(worker: WorkerProcess): void {
    // Pending steps are in the journal already: the other workers receive them first.
    this.flush();
    worker.isFollowing = true;
    for (const steps of backlogOf(this.#options.source))
      for (const message of messagesOf(steps, MESSAGE_BYTES_MAX)) worker.relay(message);
  }

  /**
   * Holds the stream while a worker's backlog is too large and the worker makes progress. A
   * replacement worker may have a larger backlog.
   */
  #pace(): void {
    const isBehind = [...this.#workers].some(
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
    for (const worker of this.#workers) {
      if (!worker.isFollowing) continue;
      worker.check();
      const { stalledChecks, silentChecks, waitingBytes } = worker;
      const isStalled = stalledChecks > (waitingBytes > this.#stalledBytesMax ? PATIENCE_CHECKS : STALLED_CHECKS_MAX);
      if (!isStalled && silentChecks <= SILENT_CHECKS_MAX) {
        if (silentChecks >= MEASURE_CHECKS) void worker.measure();
        continue;
      }
      this.#options.logger.error({ pid: worker.pid, hint: SILENT_HINT }, 'a worker does not answer; Snö kills it');
      worker.kill();
    }
    this.#pace();
  }
}
