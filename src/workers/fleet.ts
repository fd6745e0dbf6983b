/**
 * SNO_WORKERS processes that own the client sockets, seen from the one that reads the WAL. Each gets the whole stream, in turns, and
 * serves clients by itself; see docs/decisions/0026-workers.md.
 *
 * Main keeps the journal too: a worker that ends is made anew, and begins with what the journal has. While one has more of the stream before it
 * than it should, the stream is held; one that makes no progress for long is ended, so that it holds up nobody.
 */
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { Catalog } from '../channels/catalog.ts';
import type { Settings } from '../config.ts';
import type { Downstream } from '../downstream.ts';
import { SnoError } from '../errors.ts';
import { Admission } from '../gateway/admission.ts';
import { systemClock } from '../gateway/clock.ts';
import { clientSocketsMax } from '../gateway/descriptors.ts';
import { drainSeconds } from '../gateway/drain.ts';
import { Limits } from '../gateway/limits.ts';
import type { Certificate } from '../gateway/tls.ts';
import type { Batch } from '../journal/journal.ts';
import type { Logger } from '../logger.ts';
import type { Metrics, MetricValues } from '../metrics.ts';
import type { ResetReason } from '../protocol.ts';
import { steadyNow } from '../steady-clock.ts';
import { Acceptor } from './acceptor.ts';
import { type Exit, Member } from './member.ts';
import { shareOf } from './share.ts';
import { added, sumOf } from './sums.ts';
import { Turns, type TurnsOptions } from './turns.ts';

export interface FleetOptions extends TurnsOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly certificate: Certificate | undefined;
  /** How many files this process may open for anything but connections of clients. */
  readonly otherFilesMax: number;
  /** Resolves when it is time for another try. */
  readonly pause: (attempt: number) => Promise<void>;
  /** Stops the stream, until `release`. */
  readonly hold: () => void;
  readonly release: () => void;
  /** A worker has met a bug, and ended. */
  readonly onBug: (error: SnoError) => void;
}

const WORKER_FILE = fileURLToPath(new URL('./worker.js', import.meta.url));
const CHECK_MS = 1_000;
/** Whoever has not been heard of in so many checks is asked what it has measured. */
const MEASURE_CHECKS = 5;
const EVICT_MS = 1_000;
/** Its channel, and the connection that it is being given. */
const FILES_PER_WORKER = 3;
/** Bytes of the stream that may wait for one worker before the stream is held. */
const WAITING_BYTES_MAX = 8 * 1024 ** 2;
/** The stream is not held for a worker that has taken nothing in so many checks. */
const PATIENCE_CHECKS = 2;
/** It is ended then where so much and the journal waits for it, and in any case after STALLED_CHECKS_MAX. */
const STALLED_BYTES_MAX = 64 * 1024 ** 2;
const STALLED_CHECKS_MAX = 10;
/** So is one that does not answer. */
const SILENT_CHECKS_MAX = 60;
/** A worker that lasted so long was well: the next is made at once. */
const WELL_MS = 30_000;
/** How long after the last client has been sent away a worker may take to end. */
const END_MS = 10_000;

export class Fleet implements Downstream {
  readonly #options: FleetOptions;
  /** Those of one worker: what is bounded in all is divided. */
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

  /** Why no client is served; undefined: some worker serves them. */
  get unready(): string | undefined {
    return this.#serving > 0 ? undefined : 'no worker serves clients';
  }

  get #serving(): number {
    return [...this.#members].filter(({ isOpen, isListening }) => isOpen && isListening).length;
  }

  /** One that begins has the journal before it. */
  get #stalledBytesMax(): number {
    return STALLED_BYTES_MAX + this.#options.settings.SNO_REPLAY_BYTES;
  }

  /** Takes the port and starts the workers; resolves once all take connections. Throws what keeps them from it. */
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
    // one that is only starting sees to it when it has started
    await Promise.all([...this.#members].filter(({ isFollowing }) => isFollowing).map((member) => member.open()));
  }

  /** Has each send its clients away over the same time, and end. */
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

  // from the stream

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

  // metrics

  /** Of this process and all workers together. */
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
      // whatever it was, the one in its place would meet it too
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
    // the first tell clients that the service is starting; one that comes later takes connections when it can serve them
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

  /** From here on the member gets the stream; first what the journal has. */
  #follow(member: Member): void {
    // what is not sent yet is in the journal, and the others get it first
    this.flush();
    member.isFollowing = true;
    for (const turn of this.#turns.sinceBeginning()) member.turn(turn);
  }

  /** Holds the stream while a worker has too much before it, and is getting on with it. One that takes another's place may have more. */
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
