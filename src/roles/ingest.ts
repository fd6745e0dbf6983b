/**
 * The role `ingest`: reads the WAL, turns commits into entries of channels, and passes them to the
 * gateways. Its journal decides which WAL Postgres may drop.
 *
 *     stream -> pipeline -> commit builder -> gateways
 *                 |                |
 *            definitions        journal -> retention -> stream (what is acknowledged)
 */

import { pauseBefore } from '../backoff.ts';
import { Definitions, type Redefinition } from '../channels/definitions/definitions.ts';
import { ChannelRegistry } from '../channels/definitions/registry.ts';
import { logRefusal, logViews } from '../channels/definitions/view-log.ts';
import type { ServedDefinitions } from '../channels/served/served.ts';
import { CommitBuilder } from '../commit/builder.ts';
import type { Batch } from '../commit/entry.ts';
import type { StreamHead } from '../commit/stream-head.ts';
import { slotWalBytes } from '../config/derived.ts';
import type { Settings } from '../config/settings.ts';
import { assert, ERRORS, SnoError } from '../errors.ts';
import { MemoryJournal } from '../journal/memory.ts';
import { Retention } from '../journal/retention.ts';
import type { Lsn } from '../lsn.ts';
import { Markers } from '../markers/markers.ts';
import { Transactions } from '../markers/transactions.ts';
import type { Listener } from '../postgres/listener.ts';
import { type BacklogSource, beginningOf } from '../relay/backlog.ts';
import { CatalogWatch } from '../setup/catalog-watch.ts';
import { DatabaseSetup } from '../setup/database-setup.ts';
import { steadyNow } from '../steady-clock.ts';
import type { Unready } from '../unready.ts';
import { SlotMonitor } from '../wal/slot-monitor.ts';
import { oldestTransaction, readSlotState } from '../wal/slot-state.ts';
import type { StreamStart } from '../wal/source.ts';
import type { ReplicationStream } from '../wal/stream.ts';
import { ChangePipeline } from './change-pipeline.ts';
import { type Hold, Holds } from './holds.ts';
import { InProgress } from './in-progress.ts';
import type { Followers, IngestOptions } from './ingest-options.ts';
import type { IngestView } from './inspect/view.ts';
import { listenForMessages } from './notified-messages.ts';
import { createSlotStream } from './slot-stream.ts';

const POLL_MS = 2_000;
const MEASURE_MS = 5_000;
const NEVER = new Promise<never>(() => undefined);

export class IngestRole implements BacklogSource {
  readonly journal: MemoryJournal;
  /** The head of the stream. */
  readonly head: StreamHead;
  readonly #builder: CommitBuilder;
  readonly #options: IngestOptions;
  readonly #setup: DatabaseSetup;
  readonly #transactions: Transactions;
  readonly #markers: Markers;
  readonly #definitions: Definitions;
  readonly #catalogWatch: CatalogWatch;
  readonly #pipeline: ChangePipeline;
  readonly #inProgress: InProgress;
  readonly #retention: Retention;
  readonly #stream: ReplicationStream;
  readonly #slotMonitor: SlotMonitor;
  readonly #listener: Listener;
  readonly #holds = new Holds();
  #givenFollowers: Followers | undefined;
  #timers: NodeJS.Timeout[] = [];
  #generation: number | undefined;
  /** The definitions that the followers have: those at the head of the stream. */
  #served: ServedDefinitions;
  /** Whether the stream has ever reached the WAL's end as of the start. */
  #isCaughtUp = false;
  #isStopped = false;

  constructor(options: IngestOptions) {
    const { settings, databaseUrl, pool, logger, relayed } = options;
    this.#options = options;
    this.journal = new MemoryJournal({
      bytesMax: settings.SNO_REPLAY_BYTES,
      ageMaxMs: settings.SNO_REPLAY_SECONDS * 1_000,
      now: steadyNow,
    });
    this.#builder = new CommitBuilder(
      {
        append: (batch: Batch) => this.#followers.append(batch),
        knows: (channel) => this.#followers.knows(channel),
      },
      settings.SNO_COMMIT_BYTES,
    );
    this.head = this.#builder.head;
    if (relayed !== undefined) this.head.countFrom(relayed.sequence);
    if (relayed?.continued !== undefined) this.head.continueFrom(relayed.continued.place);
    const transactions = new Transactions({ pool, logger, pause: pauseBefore });
    this.#transactions = transactions;
    this.#markers = new Markers({ emit: (id) => transactions.mark(id), pause: pauseBefore });
    this.#setup = new DatabaseSetup({ pool, databaseUrl, settings, logger });
    this.#definitions = this.#createDefinitions();
    this.#served = this.#definitions.registry.served;
    this.#catalogWatch = new CatalogWatch({
      setup: this.#setup,
      definitions: this.#definitions,
      afterCommitted: (call) => this.#markers.expect(call),
      logger,
    });
    this.#pipeline = this.#createPipeline();
    this.#inProgress = new InProgress({
      settings,
      metrics: options.metrics,
      pipeline: this.#pipeline,
      pause: relayed?.spoolPause ?? { until: undefined },
      afterCommitted: (call) => this.#markers.expect(call),
      isHeld: () => this.#holds.isHeldBeside('commit'),
      hold: (why) => this.hold(why),
      release: (why) => this.release(why),
      reopen: (why) => this.#stream.reopen(why),
      onBug: options.onBug,
    });
    this.#retention = new Retention({
      // If JetStream keeps the history, this journal is not refilled after a restart.
      journal: relayed === undefined ? this.journal : { walNeeded: undefined },
      head: relayed?.publishedHead ?? (() => this.head.head.lsn),
      windowMs: relayed?.marginMs ?? settings.SNO_REPLAY_SECONDS * 1_000,
      walBytesMax: relayed === undefined ? settings.SNO_REPLAY_WAL_BYTES : marginBytes(settings),
      now: steadyNow,
    });
    this.#slotMonitor = new SlotMonitor({
      boundBytes: slotWalBytes(settings),
      policy: settings.SNO_SLOT_WAL_POLICY,
      measure: () => readSlotState(pool, settings.SNO_SLOT),
      oldestTransaction: () => oldestTransaction(pool),
      reopen: (why) => this.#stream.reopen(why),
      logger,
      now: steadyNow,
    });
    this.#stream = createSlotStream(options, { inProgress: this.#inProgress, acknowledger: this.#retention });
    this.#listener = listenForMessages({
      databaseUrl,
      logger,
      metrics: options.metrics,
      builder: this.#builder,
      registry: this.#definitions.registry,
      markers: this.#markers,
    });
    this.#observe();
    options.running.ingest = this;
  }

  /** The definitions in force, for followers that join later. */
  get definitions(): BacklogSource['definitions'] {
    return { served: this.#served, known: this.#definitions.known };
  }

  /** Number of channel views that are served. */
  get channelCount(): number {
    return [...this.#definitions.registry.views()].length;
  }

  /** What the admin API shows of it. */
  get view(): IngestView {
    const { registry, catalog } = this.#definitions;
    const { bytesPerSecond, secondsLeft } = this.#slotMonitor;
    return {
      registry,
      catalog,
      walLagBytes: this.#walLagBytes,
      growthBytesPerSecond: bytesPerSecond,
      secondsLeft,
      generation: this.#generation,
      isCaughtUp: this.#isCaughtUp,
    };
  }

  /**
   * A walsender reports how far it has sent, not where the WAL ends. The slot's measurements show
   * the WAL that it has not sent yet.
   */
  get #walLagBytes(): number | undefined {
    if (!this.#stream.isStreaming) return undefined;
    const end = Math.max(this.#stream.serverEnd, this.#slotMonitor.state?.walEnd ?? 0);
    return Math.max(0, end - this.head.head.lsn);
  }

  /** Time since something arrived from Postgres, or since it was known to decode the WAL, in ms. */
  get stalledMs(): number {
    return this.#stream.stalledMs;
  }

  /** Why commits do not arrive. Undefined: they do. */
  get unready(): Unready | undefined {
    return this.#stream.isStreaming ? undefined : { why: 'postgres', text: 'not connected to Postgres' };
  }

  /** Sets the followers. Call it once, before `start`. */
  setFollowers(followers: Followers): void {
    this.#givenFollowers = followers;
  }

  /** Sets the database up. Throws a SnoError that says what is missing. */
  prepare(): Promise<void> {
    return this.#setup.prepare();
  }

  /**
   * Starts the stream. Resolves when it has delivered everything committed before; never if `stop`
   * is called before that. Throws a SnoError if it cannot start.
   */
  async start(): Promise<void> {
    await this.#stream.start();
    if (this.#isStopped) return NEVER;
    this.#timers.push(setInterval(() => void this.#slotMonitor.check(), MEASURE_MS));
    this.#timers.push(setInterval(() => void this.#catalogWatch.check(), POLL_MS));
    await this.#slotMonitor.check();
    await this.#listener.start();
    if (this.#isStopped) return NEVER;
    await new Promise<void>((resolve) => {
      this.#markers.expect(() => {
        this.#isCaughtUp = true;
        resolve();
      });
    });
    // Later checks compare partitions and materialized views with their state when clients are
    // first let in.
    await this.#catalogWatch.check();
    for (const refusal of this.#definitions.registry.refusals()) logRefusal(this.#options.logger, refusal);
  }

  /** Pauses the stream until everything that holds it has released it. */
  hold(why: Hold): void {
    this.#holds.add(why);
    this.#stream.hold();
  }

  release(why: Hold): void {
    if (!this.#holds.delete(why)) return;
    if (!this.#holds.isHeld) this.#stream.release();
    else if (!this.#holds.isHeldBeside('commit')) this.#inProgress.assembler.resume();
  }

  async stop(): Promise<void> {
    const { running } = this.#options;
    this.#isStopped = true;
    if (running.ingest === this) running.ingest = undefined;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    await this.#listener.stop();
    this.#markers.stop();
    this.#transactions.stop();
    await this.#stream.stop();
    this.#inProgress.stop();
    this.#pipeline.stop();
  }

  async #startStream({ epoch, from, confirmed, generation, reason, loss }: StreamStart): Promise<void> {
    const { logger, metrics } = this.#options;
    const isContinued = epoch === this.head.epoch;
    if (isContinued && this.#generation !== undefined) {
      this.#builder.resumeEpoch();
      // a part of the commit may have needed its definitions
      if (this.#definitions.rollBack()) this.#define();
      return;
    }
    // Steps that may fail come first: then the stream is opened anew, and this is retried.
    const { lsn, key, ...read } = await this.#setup.read();
    if (loss !== undefined) metrics.slotLost.inc();
    if (reason !== undefined || loss !== undefined)
      logger.error(
        { code: loss === undefined ? undefined : 'slot_lost', reason, epoch, hint: ERRORS.slot_lost.hint },
        `a new history begins${loss === undefined ? '' : ` on the slot, because ${loss}`}: commits may be missing, so all subscribers are reset`,
      );
    this.#generation = generation;
    this.#options.relayed?.startedFrom(from);
    // With JetStream, the margin of what another process has published stays.
    this.#retention.startFrom(this.#options.relayed === undefined ? from : confirmed);
    if (!isContinued) {
      this.#builder.startEpoch(epoch, from);
      this.journal.clear(this.head.head);
    }
    this.#definitions.load(read, lsn, key);
    this.#served = this.#definitions.registry.served;
    if (isContinued) this.#continue();
    else this.#followers.begin(beginningOf(this, reason ?? 'epoch_changed'));
    this.#pipeline.rebind();
    this.#markers.renew();
  }

  /** Continues a history that another process has read, perhaps with other definitions. */
  #continue(): void {
    const { registry } = this.#definitions;
    const { definitions: before, isCutAlike = true } = this.#options.relayed?.continued ?? {};
    this.#builder.resumeEpoch();
    if (!isCutAlike || JSON.stringify(before) !== JSON.stringify(registry.served))
      this.#builder.voidOpenCommit([...registry.views()].map(({ pattern }) => pattern.text));
    this.#define();
    this.#followers.setKnown(true);
  }

  /** Passes the definitions on. They apply from here on. */
  #define(): void {
    this.#served = this.#definitions.registry.served;
    this.#followers.define(this.#served);
  }

  get #followers(): Followers {
    assert(this.#givenFollowers !== undefined, 'the followers are set before the stream starts');
    return this.#givenFollowers;
  }

  /**
   * Any role that may write to the database may put a message into the WAL: an invalid catalog must
   * not stop the stream.
   */
  #catalogMessage(json: string, lsn: Lsn): readonly Redefinition[] {
    try {
      const redefinitions = this.#definitions.message(json, lsn);
      this.#builder.defineAtEnd(() => this.#define());
      return redefinitions;
    } catch (error) {
      if (!(error instanceof SnoError)) throw error;
      const { code, hint, message } = error;
      this.#options.logger.error({ code, hint }, `a catalog in the WAL is invalid: ${message}`);
      void this.#catalogWatch.report();
      return [];
    }
  }

  #createDefinitions(): Definitions {
    const { settings, logger } = this.#options;
    return new Definitions({
      registry: new ChannelRegistry(settings.SNO_PUBLICATION),
      onLoad: (result) => {
        // WAL that is read again after a restart contains definitions that are long outdated.
        if (this.#isCaughtUp) logViews(logger, result);
      },
      onUnreported: () => void this.#catalogWatch.report(),
      onKnown: (isKnown) => this.#followers.setKnown(isKnown),
    });
  }

  #createPipeline(): ChangePipeline {
    const { settings, pool, metrics, logger, onBug } = this.#options;
    return new ChangePipeline({
      registry: this.#definitions.registry,
      builder: this.#builder,
      pool,
      metrics,
      logger,
      started: (start) => this.#startStream(start),
      catalog: (json, lsn) => this.#catalogMessage(json, lsn),
      committed: () => this.#definitions.committed(),
      marker: (id) => {
        this.#markers.receive(id);
        this.#followers.marker(id);
      },
      mark: (id) => this.#transactions.mark(id),
      silenceMs: () => this.#stream.silenceMs,
      joinCacheBytes: settings.SNO_JOIN_CACHE_BYTES,
      joinRows: settings.SNO_JOIN_ROWS,
      flushed: () => this.#followers.flush(),
      hold: () => this.hold('lookahead'),
      release: () => this.release('lookahead'),
      onBug,
    });
  }

  #observe(): void {
    const boundBytes = slotWalBytes(this.#options.settings);
    this.#options.metrics.observe({
      walLagBytes: () => this.#walLagBytes,
      walPositionBytes: () => (this.#stream.isStreaming ? this.head.head.lsn : undefined),
      slotRetainedBytes: () => this.#slotMonitor.state?.heldBytes,
      slotUnconfirmedBytes: () => this.#slotMonitor.state?.unconfirmedBytes,
      slotBoundBytes: () => (boundBytes > 0 ? boundBytes : undefined),
      slotSecondsLeft: () => this.#slotMonitor.secondsLeft,
      slotFailover: () => {
        const isCopied = this.#slotMonitor.state?.isCopied;
        return isCopied === undefined ? undefined : Number(isCopied);
      },
      oldestTransactionSeconds: () => this.#slotMonitor.state?.oldestTransactionSeconds,
      channelViews: () => this.#definitions.registry.viewCounts,
      slotGeneration: () => this.#generation,
      slotWalStatus: () => this.#slotMonitor.state?.walStatus,
      spoolBytes: () => this.#inProgress.assembler.bytes,
      caughtUp: () => Number(this.#isCaughtUp),
    });
  }
}

/** Maximum bytes of WAL that Postgres keeps after they were published. */
function marginBytes(settings: Settings): number {
  return slotWalBytes(settings) / 2 || Number.POSITIVE_INFINITY;
}
