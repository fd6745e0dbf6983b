/**
 * The service, wired from left to right:
 *
 *     wal -> decode -> channels -> journal -> fanout -> gateway
 *
 * and stopped in the opposite order of clients first.
 */
import type pg from 'pg';
import { accessWarnings } from './access/token.ts';
import { ADMIN_CONNECTIONS_MAX, Admin } from './admin/admin.ts';
import { backoff } from './backoff.ts';
import { Definitions, type Redefinition } from './channels/definitions/definitions.ts';
import { ChannelRegistry } from './channels/definitions/registry.ts';
import { tellOfViews, tellRefusal } from './channels/definitions/view-log.ts';
import { RemoteAsker } from './channels/remote/ask.ts';
import { Lookahead } from './channels/remote/lookahead.ts';
import { RemoteAnswers } from './channels/remote-answers.ts';
import { Router } from './channels/router.ts';
import { loadParser } from './channels/sql/parse.ts';
import { CommitBuilder } from './commit/builder.ts';
import type { Batch } from './commit/entry.ts';
import { Notifications } from './commit/notifications.ts';
import { databaseUrl, type Settings, slotWalBytes } from './config/config.ts';
import { PgoutputDecoder } from './decode/pgoutput.ts';
import type { Downstream } from './downstream.ts';
import { assert, SnoError } from './errors.ts';
import { Certificate } from './http/tls.ts';
import { MemoryJournal } from './journal/memory.ts';
import { Retention } from './journal/retention.ts';
import type { Logger } from './logger.ts';
import type { Lsn } from './lsn.ts';
import { Markers } from './markers/markers.ts';
import { Transactions } from './markers/transactions.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { createPool } from './postgres/connect.ts';
import { Listener } from './postgres/listener.ts';
import { Front } from './roles/gateway.ts';
import { CatalogWatch } from './setup/catalog-watch.ts';
import { Rulebook } from './setup/database-setup.ts';
import { steadyNow } from './steady-clock.ts';
import { Guardian } from './wal/slot-monitor.ts';
import { oldestTransaction, readSlotState } from './wal/slot-state.ts';
import type { StreamStart, WalHandler } from './wal/source.ts';
import { ReplicationStream } from './wal/stream.ts';
import { Fleet } from './workers/pool.ts';

export interface Service {
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  /** Rejects when the service cannot continue. Never resolves. */
  readonly failed: Promise<never>;
  /**
   * Reports not ready, disconnects the clients over SNO_DRAIN_SECONDS or less, then stops
   * everything.
   */
  stop(): Promise<void>;
}

const SLOT_LOCK_TIMEOUT_MS = 10_000;
/**
 * How long to wait for another process to leave the slot, in ms, beyond the time that it may take
 * to drain. It leaves the slot when its clients are gone.
 */
const SLOT_IN_USE_TIMEOUT_MS = 15_000;
const CONTROL_CONNECTIONS = 4;
/** The replication connection, and the one that listens. */
const STREAM_CONNECTIONS = 2;
const POLL_MS = 2_000;
const MEASURE_MS = 5_000;
/** Maximum bytes of waiting pg_notify messages while the stream is behind. */
const NOTIFICATIONS_BYTES_MAX = 16 << 20;

/**
 * Starts everything and resolves once clients are served. Throws a SnoError that says what is wrong
 * and what to do.
 */
export async function startService(settings: Settings, logger: Logger): Promise<Service> {
  const service = new RunningService(settings, logger);
  try {
    await service.start();
  } catch (error) {
    await service.stop();
    throw error;
  }
  return service;
}

class RunningService implements Service, WalHandler {
  readonly failed: Promise<never>;
  port = 0;
  adminPort = 0;
  readonly #settings: Settings;
  readonly #logger: Logger;
  readonly #metrics: Metrics = createMetrics();
  readonly #url: string;
  readonly #pool: pg.Pool;
  readonly #rulebook: Rulebook;
  readonly #transactions: Transactions;
  readonly #guardian: Guardian;
  readonly #definitions: Definitions;
  readonly #catalogWatch: CatalogWatch;
  readonly #journal: MemoryJournal;
  readonly #markers: Markers;
  readonly #builder: CommitBuilder;
  readonly #router: Router;
  readonly #decoder: PgoutputDecoder;
  readonly #asker: RemoteAsker;
  readonly #lookahead: Lookahead;
  readonly #retention: Retention;
  readonly #stream: ReplicationStream;
  readonly #notifications: Notifications;
  readonly #listener: Listener;
  readonly #pause = (attempt: number) =>
    new Promise<void>((resolve) => setTimeout(resolve, backoff(attempt, Math.random())));
  #admin: Admin | undefined;
  #certificate: Certificate | undefined;
  /** The client-facing half: in this process, or in the workers. */
  #front: Front | undefined;
  #fleet: Fleet | undefined;
  #downstream: Downstream | undefined;
  /** Why the stream is held. */
  readonly #holds = new Set<'lookahead' | 'workers'>();
  #timers: NodeJS.Timeout[] = [];
  #fail: (error: unknown) => void = () => undefined;
  #state: 'starting' | 'catching up' | 'serving' | 'draining' = 'starting';
  #generation: number | undefined;
  /** Whether the stream has ever reached the WAL's end as of the start. */
  #isCaughtUp = false;

  constructor(settings: Settings, logger: Logger) {
    this.#settings = settings;
    this.#logger = logger;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
    this.#url = databaseUrl(settings);
    this.#pool = createPool(this.#url, 'query', CONTROL_CONNECTIONS);
    this.#pool.on('error', (error) => logger.debug({ error: error.message }, 'an idle connection broke'));
    const now = steadyNow;
    const pause = this.#pause;
    this.#journal = new MemoryJournal({
      bytesMax: settings.SNO_REPLAY_BYTES,
      ageMaxMs: settings.SNO_REPLAY_SECONDS * 1_000,
      now,
    });
    this.#rulebook = new Rulebook({ pool: this.#pool, databaseUrl: this.#url, settings, logger });
    this.#transactions = new Transactions({ pool: this.#pool, logger, pause });
    const boundBytes = slotWalBytes(settings);
    this.#guardian = new Guardian({
      boundBytes,
      policy: settings.SNO_SLOT_WAL_POLICY,
      measure: () => readSlotState(this.#pool, settings.SNO_SLOT),
      oldestTransaction: () => oldestTransaction(this.#pool),
      reopen: (why) => this.#stream.reopen(why),
      logger,
      now,
    });
    this.#markers = new Markers({ emit: (id) => this.#transactions.mark(id), pause });
    const sink = {
      append: (batch: Batch) => this.#told.append(batch),
      knows: (channel: string) => this.#told.knows(channel),
    };
    this.#builder = new CommitBuilder(sink, settings.SNO_COMMIT_BYTES);
    this.#definitions = new Definitions({
      registry: new ChannelRegistry(settings.SNO_PUBLICATION),
      onLoad: (result) => {
        // WAL that is read again after a restart contains definitions that are long outdated.
        if (this.#isCaughtUp) tellOfViews(logger, result);
      },
      onUntold: () => void this.#catalogWatch.tell(),
      onKnown: (isKnown) => this.#told.known(isKnown),
    });
    this.#catalogWatch = new CatalogWatch({
      rulebook: this.#rulebook,
      definitions: this.#definitions,
      afterCommitted: (call) => this.#markers.expect(call),
      logger,
    });
    const { registry } = this.#definitions;
    const { events, commits, messagesDropped } = this.#metrics;
    const answers = new RemoteAnswers();
    this.#router = new Router(registry, this.#builder, answers, {
      catalog: (json, lsn) => this.#catalogMessage(json, lsn),
      marker: (id) => {
        this.#markers.arrived(id);
        this.#told.marker(id);
      },
      dropped: (reason, detail) => {
        messagesDropped[reason].inc();
        logger.warn({ reason, detail }, 'a published message was dropped');
      },
      counted: (op) => events[op].inc(),
      committed: () => commits.inc(),
      failed: (pattern, error) =>
        logger.error({ view: `channels."${pattern}"` }, `a row of a commit could not be evaluated: ${error.message}`),
      unfit: (pattern, error) =>
        logger.warn({ view: `channels."${pattern}"`, hint: error.hint }, `its subscribers are reset: ${error.message}`),
      fit: (pattern) => logger.info({ view: `channels."${pattern}"` }, 'the view fits its table again'),
    });
    this.#decoder = new PgoutputDecoder(this.#router);
    this.#asker = new RemoteAsker({
      pool: this.#pool,
      pause,
      onUnreachable: (error) => logger.warn({ error: error.message }, 'rows could not be evaluated, it is tried again'),
    });
    this.#lookahead = new Lookahead({
      answers,
      routesOf: (oid) =>
        registry
          .viewsOf(oid)
          .flatMap(({ pattern, remote }) => (remote === undefined ? [] : { pattern: pattern.text, query: remote })),
      isNeeded: () => registry.isRemote,
      ask: (query, rows) => this.#asker.ask(query, rows),
      next: {
        message: (buffer, start, end) => this.#decoder.message(buffer, start, end),
        keepalive: (end) => this.#builder.keepalive(end),
        flush: () => this.#told.flush(),
      },
      hold: () => this.#hold('lookahead'),
      release: () => this.#release('lookahead'),
      onBug: (error) => this.#fail(error),
    });
    this.#retention = new Retention({
      journal: this.#journal,
      head: () => this.#builder.head.lsn,
      windowMs: settings.SNO_REPLAY_SECONDS * 1_000,
      walBytesMax: settings.SNO_REPLAY_WAL_BYTES,
      now,
    });
    this.#stream = new ReplicationStream({
      url: this.#url,
      pool: this.#pool,
      slot: settings.SNO_SLOT,
      publication: settings.SNO_PUBLICATION,
      backlogBytesMax: settings.SNO_WAL_BUFFER_BYTES,
      slotLockTimeoutMs: SLOT_LOCK_TIMEOUT_MS,
      tcpUserTimeoutMs: settings.SNO_TCP_USER_TIMEOUT_SECONDS * 1_000,
      slotWalBytesMax: boundBytes > 0 && settings.SNO_SLOT_WAL_POLICY === 'give_up' ? boundBytes : undefined,
      onGivenUp: () => this.#metrics.slotGivenUp.inc(),
      undecodableMs: settings.SNO_UNDECODABLE_SECONDS * 1_000,
      onUndecodable: () => this.#metrics.undecodable.inc(),
      slotInUseTimeoutMs: settings.SNO_DRAIN_SECONDS * 1_000 + SLOT_IN_USE_TIMEOUT_MS,
      handler: this,
      acknowledger: this.#retention,
      logger,
      now,
      random: Math.random,
      onDisconnect: () => this.#metrics.reconnects.inc(),
      onBug: (error) => this.#fail(error),
    });
    this.#notifications = new Notifications({
      markers: this.#markers,
      waitingBytesMax: NOTIFICATIONS_BYTES_MAX,
      publish: ({ channel, event, data }) => {
        const pattern = registry.patternOf(channel);
        if (pattern === undefined) return false;
        events.message.inc();
        this.#builder.notification(pattern, channel, event, data);
        return true;
      },
      dropped: (reason, channel, isFirst) => {
        messagesDropped[reason].inc();
        if (isFirst) logger.warn({ reason, channel }, 'a notification was dropped');
      },
    });
    this.#listener = new Listener({
      url: this.#url,
      channel: 'sno',
      logger,
      onNotification: (payload) => this.#notifications.came(payload),
      retryMs: (attempt) => backoff(attempt, Math.random()),
    });
    this.#metrics.observe({
      walLagBytes: () =>
        this.#stream.isStreaming ? Math.max(0, this.#stream.serverEnd - this.#builder.head.lsn) : undefined,
      slotRetainedBytes: () => this.#guardian.state?.heldBytes,
      slotUnconfirmedBytes: () => this.#guardian.state?.unconfirmedBytes,
      slotBoundBytes: () => (boundBytes > 0 ? boundBytes : undefined),
      slotSecondsLeft: () => this.#guardian.secondsLeft,
      slotGeneration: () => this.#generation,
      slotWalStatus: () => this.#guardian.state?.walStatus,
      caughtUp: () => Number(this.#isCaughtUp),
      certificateExpiry: () => (this.#certificate === undefined ? undefined : this.#certificate.expiresAt / 1_000),
    });
  }

  get host(): string {
    return this.#settings.SNO_HOST;
  }

  async start(): Promise<void> {
    const settings = this.#settings;
    await loadParser();
    // Invalid keys and certificates and ports in use are found before anything changes in the
    // database.
    const front = await this.#openPorts();
    await this.#rulebook.prepare();
    this.#state = 'catching up';
    await this.#stream.start();
    this.#timers.push(setInterval(() => void this.#guardian.check(), MEASURE_MS));
    this.#timers.push(setInterval(() => void this.#catalogWatch.look(), POLL_MS));
    await this.#guardian.check();
    await this.#listener.start();
    await this.#catchUp();
    // Later checks compare partitions and materialized views with their state when clients are
    // first let in.
    await this.#catalogWatch.look();
    for (const refusal of this.#definitions.registry.refusals()) tellRefusal(this.#logger, refusal);
    await front.open();
    this.#state = 'serving';
    for (const { message, hint } of accessWarnings(settings)) this.#logger.warn({ hint }, message);
    this.#logger.info(
      {
        host: this.host,
        port: this.port,
        adminPort: this.adminPort,
        channels: [...this.#definitions.registry.views()].length,
      },
      'serving',
    );
  }

  /** Listens on both ports. Clients are let in later. */
  async #openPorts(): Promise<Front | Fleet> {
    const settings = this.#settings;
    this.#certificate = await Certificate.load(settings, this.#logger);
    const front = settings.SNO_WORKERS === 0 ? this.#serveHere() : this.#serveByWorkers();
    this.#admin = new Admin({
      metrics: this.#fleet ?? this.#metrics,
      certificate: this.#certificate,
      host: settings.SNO_ADMIN_HOST,
      port: settings.SNO_ADMIN_PORT,
      token: settings.SNO_ADMIN_TOKEN,
      unready: () => this.#unready(),
    });
    this.adminPort = (await this.#admin.start()).port;
    this.port = await front.listen();
    return front;
  }

  #serveHere(): Front {
    const front = new Front({
      settings: this.#settings,
      databaseUrl: this.#url,
      logger: this.#logger,
      metrics: this.#metrics,
      pool: this.#pool,
      journal: this.#journal,
      markers: this.#markers,
      transactions: this.#transactions,
      channels: this.#definitions,
      certificate: this.#certificate,
      clientsMax: this.#settings.SNO_MAX_CONNECTIONS,
      otherFilesMax: ADMIN_CONNECTIONS_MAX + CONTROL_CONNECTIONS + STREAM_CONNECTIONS,
      pause: this.#pause,
    });
    const { hub } = front;
    front.follow(this.#builder);
    this.#front = front;
    this.#downstream = {
      append: (batch) => hub.append(batch),
      knows: (channel) => hub.knows(channel),
      begin: (reason) => hub.resetAll(reason),
      // Markers and definitions are the same objects here.
      defined: () => undefined,
      known: () => undefined,
      marker: () => undefined,
      flush: () => hub.flush(),
    };
    return front;
  }

  #serveByWorkers(): Fleet {
    const fleet = new Fleet({
      settings: this.#settings,
      logger: this.#logger,
      metrics: this.#metrics,
      certificate: this.#certificate,
      otherFilesMax: ADMIN_CONNECTIONS_MAX + CONTROL_CONNECTIONS + STREAM_CONNECTIONS,
      journal: this.#journal,
      head: this.#builder,
      definitions: this.#definitions,
      pause: this.#pause,
      hold: () => this.#hold('workers'),
      release: () => this.#release('workers'),
      onBug: (error) => this.#fail(error),
    });
    this.#fleet = fleet;
    this.#downstream = fleet;
    return fleet;
  }

  get #told(): Downstream {
    assert(this.#downstream !== undefined, 'the stream starts when there is somebody to be told');
    return this.#downstream;
  }

  #hold(why: 'lookahead' | 'workers'): void {
    this.#holds.add(why);
    this.#stream.hold();
  }

  #release(why: 'lookahead' | 'workers'): void {
    if (this.#holds.delete(why) && this.#holds.size === 0) this.#stream.release();
  }

  async stop(): Promise<void> {
    this.#state = 'draining';
    await (this.#front ?? this.#fleet)?.drain();
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    await this.#listener.stop();
    this.#markers.stop();
    this.#transactions.stop();
    await this.#stream.stop();
    this.#asker.stop();
    this.#lookahead.reset();
    await this.#admin?.close();
    this.#certificate?.stop();
    await (this.#front ?? this.#fleet)?.stop();
    await this.#pool.end().catch(() => undefined);
  }

  // Calls from the WAL:

  async started(start: StreamStart): Promise<void> {
    this.#lookahead.reset();
    this.#decoder.reset();
    this.#router.reset();
    if (start.epoch === this.#builder.epoch) {
      this.#builder.resumeEpoch();
      return;
    }
    // Steps that may fail come first: then the stream is opened anew, and this is retried.
    const { lsn, key, ...read } = await this.#rulebook.read();
    const { reason, loss, epoch } = start;
    if (loss !== undefined) this.#metrics.slotLost.inc();
    if (reason !== undefined || loss !== undefined)
      this.#logger.error(
        { code: loss === undefined ? undefined : 'slot_lost', reason, epoch },
        `a new history begins${loss === undefined ? '' : ` on the slot, since ${loss}`}: commits may be missing, all subscribers are reset`,
      );
    this.#generation = start.generation;
    this.#builder.startEpoch(start.epoch, start.from);
    this.#journal.clear(this.#builder.head);
    this.#retention.startFrom(start.from);
    this.#definitions.load(read, lsn, key);
    this.#told.begin(start.reason ?? 'epoch_changed');
    this.#router.rebind();
    this.#markers.renew();
  }

  message(buffer: Buffer, start: number, end: number): void {
    this.#lookahead.message(buffer, start, end);
  }

  keepalive(end: Lsn): void {
    this.#lookahead.keepalive(end);
  }

  flush(): void {
    this.#lookahead.flush();
  }

  /**
   * Any role that may write to the database may put a message into the WAL: an invalid catalog must
   * not stop the stream.
   */
  #catalogMessage(json: string, lsn: Lsn): readonly Redefinition[] {
    try {
      const redefinitions = this.#definitions.message(json, lsn);
      const { catalog } = this.#definitions;
      if (catalog !== undefined) this.#told.defined(catalog);
      return redefinitions;
    } catch (error) {
      if (!(error instanceof SnoError)) throw error;
      this.#logger.error({ code: error.code, hint: error.hint }, `a catalog in the WAL: ${error.message}`);
      void this.#catalogWatch.tell();
      return [];
    }
  }

  /** Resolves when the stream has delivered everything committed before the call. */
  #catchUp(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.failed.catch(reject);
      this.#markers.expect(() => {
        this.#isCaughtUp = true;
        resolve();
      });
    });
  }

  #unready(): string | undefined {
    if (this.#state !== 'serving') return this.#state;
    return this.#stream.isStreaming ? this.#fleet?.unready : 'not connected to Postgres';
  }
}
