/**
 * The role `gateway`: serves clients. It consists of fan-out, access and the client port, and
 * follows the stream that ingest reads. It runs in the process that reads the WAL, or in each of
 * SNO_WORKERS processes.
 */
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { ViewAccess } from '../access/access-view.ts';
import { watchKeyServer } from '../access/key-server.ts';
import { createTokens } from '../access/token.ts';
import { pauseBefore } from '../backoff.ts';
import { KnownChannels } from '../channels/served/known-channels.ts';
import type { ServedDefinitions } from '../channels/served/served.ts';
import { systemClock } from '../clock.ts';
import type { Batch } from '../commit/entry.ts';
import type { Head } from '../commit/head.ts';
import type { Settings } from '../config/settings.ts';
import { Deadlines } from '../deadlines.ts';
import { toldToClient } from '../errors.ts';
import { EncodedForms } from '../fanout/encoded-forms.ts';
import type { OlderHistory } from '../fanout/history/older-history.ts';
import { Hub } from '../fanout/hub.ts';
import { Pace } from '../fanout/live/pace.ts';
import { Turns } from '../fanout/live/slices.ts';
import { startBatch } from '../fanout/snapshots/batch-read.ts';
import { startSnapshot } from '../fanout/snapshots/snapshot.ts';
import { SNAPSHOT_CHECK_MS, Snapshots } from '../fanout/snapshots/snapshots.ts';
import type { AdmissionDesk } from '../gateway/accept/admission.ts';
import { clientSocketsMax } from '../gateway/accept/descriptors.ts';
import { drainSeconds } from '../gateway/drain.ts';
import { PusherEncodings } from '../gateway/pusher/encoding.ts';
import { Gateway } from '../gateway/server.ts';
import { frameEncodings } from '../gateway/sno/encodings.ts';
import { eventEncodings } from '../gateway/sse/encoding.ts';
import type { Certificate } from '../http/tls.ts';
import type { MemoryJournal } from '../journal/memory.ts';
import type { Logger } from '../logger.ts';
import { Markers } from '../markers/markers.ts';
import { Transactions } from '../markers/transactions.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { Exchange } from '../peers/exchange.ts';
import type { PeerSwitch } from '../peers/peer-switch.ts';
import { Peers } from '../peers/peers.ts';
import { SignOuts } from '../peers/sign-outs.ts';
import { SubscriptionCounts } from '../peers/subscription-counts.ts';
import { createCopyPool } from '../postgres/connect.ts';
import { Publisher } from '../postgres/publisher.ts';
import { Presence } from '../presence/presence.ts';
import { HEARTBEAT_SECONDS } from '../protocol.ts';
import type { Beginning } from '../relay/follower.ts';
import { steadyNow } from '../steady-clock.ts';
import type { CommitSpans, TracedCommit } from '../telemetry/commit-spans.ts';
import type { Gateways } from './gateways.ts';
import { GatewayDesk } from './inspect/gateway-desk.ts';
import type { AskGateways } from './inspect/questions.ts';

export interface GatewayRoleOptions {
  readonly settings: Settings;
  readonly databaseUrl: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** For queries that must not wait for clients. */
  readonly pool: pg.Pool;
  /** Filled by this role. */
  readonly journal: MemoryJournal;
  /** The stream's head at the current step. */
  readonly head: Head;
  /**
   * Where to read older history, for clients that resume from a position before the journal.
   * Undefined: they are reset.
   */
  readonly history?: OlderHistory;
  readonly certificate: Certificate | undefined;
  /** Undefined: no spans are recorded. */
  readonly spans: CommitSpans | undefined;
  /** Maximum clients of this process by the settings. 0: no limit. */
  readonly clientsMax: number;
  /** Number of files that the process may open beside clients, snapshots and access checks. */
  readonly otherFilesMax: number;
  /** Counts connections, if other processes count them too. */
  readonly admission?: AdmissionDesk;
  /** Recent faults of this process. */
  readonly incidents: Incidents;
  /** Passes messages between the processes that serve clients. */
  readonly peers: PeerSwitch;
  /** The id of this process among its peers. */
  readonly peerId?: string;
}

const BUNDLE_FILE = fileURLToPath(new URL('../../dist/sno.js', import.meta.url));
const EVICT_MS = 1_000;
/** How long to wait for the server beyond a snapshot's own limit, in ms. */
const SNAPSHOT_SILENCE_MS = 10_000;
/** Maximum bytes of the encoded forms of entries, as a share of the journal's bytes. */
const FORMS_SHARE = 0.25;

const atTurnEnd = (call: () => void): void => process.nextTick(call);

function nextTurn(call: () => void): () => void {
  const turn = setImmediate(call);
  return () => clearImmediate(turn);
}

export class GatewayRole implements Gateways {
  readonly hub: Hub;
  readonly presence: Presence;
  /** Answers the admin API. */
  readonly desk: GatewayDesk;
  readonly workers = [];
  readonly #options: GatewayRoleOptions;
  readonly #channels = new KnownChannels();
  readonly #transactions: Transactions;
  readonly #markers: Markers;
  readonly #snapshotPool: pg.Pool;
  readonly #snapshots: Snapshots;
  readonly #pace: Pace;
  readonly #access: ViewAccess;
  readonly #gateway: Gateway;
  #timers: NodeJS.Timeout[] = [];
  /** Before `open`, commits only refill the journal: they were sent long ago. */
  #isOpen = false;
  /** Commits of this turn that carry a trace. */
  readonly #traced = new Turns<TracedCommit>();

  /** Throws `setting_invalid` if a configured token key is not a valid key. */
  constructor(options: GatewayRoleOptions) {
    const { settings, databaseUrl, logger, metrics, pool, journal, head, incidents } = options;
    const { deliveries, commitToSend, resets, snapshotReads, limitsMet, compression, history } = metrics;
    const now = steadyNow;
    const deadlines = new Deadlines(systemClock);
    this.#options = options;
    const transactions = new Transactions({ pool, logger, pause: pauseBefore });
    this.#transactions = transactions;
    this.#markers = new Markers({ emit: (id) => transactions.mark(id), pause: pauseBefore });
    const keepMsMax = settings.SNO_JWKS_KEEP_SECONDS * 1_000;
    const tokens = createTokens(settings, { remoteKeys: { keepMsMax, onAsked: watchKeyServer(logger, metrics) } });
    const forms = new EncodedForms(settings.SNO_REPLAY_BYTES * FORMS_SHARE);
    const deflation = {
      bytesMin: settings.SNO_COMPRESS_BYTES,
      forms,
      deflated: (before: number, after: number) => compression.frame(before, after),
    };
    const frames = frameEncodings(deflation);
    // Snapshots wait for slow clients. Queries that the stream waits for must not wait for them.
    const snapshotMsMax = settings.SNO_SNAPSHOT_SECONDS * 1_000 + SNAPSHOT_SILENCE_MS;
    const { SNO_SNAPSHOT_SECONDS: secondsMax, SNO_SNAPSHOT_BYTES: batchBytesMax, SNO_SNAPSHOTS: runningMax } = settings;
    this.#snapshotPool = createCopyPool(databaseUrl, 'snapshot', runningMax, { logger, timeoutMs: snapshotMsMax });
    const reader = { pool: this.#snapshotPool, control: pool, secondsMax, batchBytesMax };
    const waitingMax = settings.SNO_MAX_WAITING_SNAPSHOTS || Number.POSITIVE_INFINITY;
    this.#snapshots = new Snapshots({
      read: (channel, sink) => startSnapshot(reader, channel, sink),
      readMany: (many, sinks) => startBatch(reader, many, sinks),
      runningMax,
      waitingMax,
      windowBytesMax: settings.SNO_SNAPSHOT_BYTES,
      ageMaxMs: settings.SNO_SNAPSHOT_SECONDS * 1_000,
      now,
      onRead: () => snapshotReads.inc(),
      onRefused: () => limitsMet.waiting_snapshots.inc(),
      atTurnEnd,
    });
    this.hub = new Hub(journal, this.#markers, {
      outboundBytesMax: settings.SNO_OUTBOUND_BYTES,
      outboundTotalBytesMax: settings.SNO_OUTBOUND_TOTAL_BYTES,
      waitingCommitsMax: settings.SNO_MAX_WAITING_COMMITS,
      visible: (xid, isWanted) => transactions.visible(xid, isWanted),
      ended: (xid) => transactions.ended(xid),
      snapshots: this.#snapshots,
      ...(options.history === undefined ? {} : { history: options.history }),
      waitingHistoryMax: waitingMax,
      pause: pauseBefore,
      now,
      beforeDelivery: () => deadlines.check(),
      atTurnEnd,
      patterns: metrics.patterns,
      events: {
        delivered: (count) => deliveries.inc(count),
        reset: (reason, channel) => {
          resets[reason].inc();
          incidents.record('reset', reason, { channel });
        },
        sent: (committedAt) => {
          if (this.#isOpen) commitToSend.observe(Math.max(0, (Date.now() - committedAt) / 1_000));
        },
        outboundFull: () => limitsMet.outbound_bytes.inc(),
        history: {
          pass: () => history.passes.inc(),
          batches: (count) => history.batches.inc(count),
          resumed: () => history.resumes.inc(),
          refused: () => limitsMet.waiting_history.inc(),
        },
        refused: (error) => metrics.denials[toldToClient(error).code]?.inc(),
        failed: (error, channel) =>
          logger.warn({ code: error.code, channel, cause: String(error.cause ?? ''), hint: error.hint }, error.message),
      },
    });
    this.hub.follow(head);
    this.#pace = new Pace({
      pass: () => this.#passOn(),
      slice: (slice) => this.#passOnTo(slice),
      isPending: () => this.hub.isPending,
      bytes: () => journal.bytes,
      now: () => performance.now(),
      after: (ms, call) => (ms > 0 ? systemClock.after(ms, call) : nextTurn(call)),
    });
    this.#access = new ViewAccess({ databaseUrl, settings, logger, metrics });
    const { certificate, admission, clientsMax, otherFilesMax, peerId } = options;
    const peers = new Peers(options.peers, peerId);
    this.presence = new Presence({ peers, clock: systemClock, graceSeconds: settings.SNO_PRESENCE_GRACE_SECONDS });
    const reserved = otherFilesMax + settings.SNO_SNAPSHOTS + settings.SNO_ACCESS_QUERIES;
    const publisher = new Publisher(pool);
    this.#gateway = new Gateway({
      certificate,
      metrics,
      settings,
      logger,
      tokens,
      access: this.#access,
      rights: this.#access,
      exchange: new Exchange(this.hub, peers),
      presence: this.presence,
      signOuts: new SignOuts(peers),
      subscriptions: new SubscriptionCounts({
        local: this.hub,
        peers,
        others: () => this.presence.others(),
        clock: systemClock,
      }),
      channels: this.#channels,
      fanout: this.hub,
      frames,
      events: eventEncodings(forms, () => this.hub.epoch ?? ''),
      pusherEncodings: new PusherEncodings(deflation),
      publish: (messages) => publisher.publish(messages),
      bundleFile: BUNDLE_FILE,
      deadlines,
      incidents,
      socketsMax: () => clientSocketsMax({ reserved, clientsMax }, logger),
      ...(admission === undefined ? {} : { admission }),
    });
    this.desk = new GatewayDesk({ hub: this.hub, gateway: this.#gateway, presence: this.presence, incidents });
    metrics.observe({
      journalBytes: () => journal.bytes,
      journalEntries: () => journal.entryCount,
      compressedCopiesBytes: () => forms.bytes,
      outboundBytes: () => this.hub.outboundBytes,
      sentBytes: () => this.hub.outbound.sentBytes,
      historyWaiting: () => this.hub.history?.waiting ?? 0,
      snapshotsRunning: () => this.#snapshots.runningCount,
      snapshotsWaiting: () => this.#snapshots.waitingCount,
      accessWaiting: () => this.#access.waiting,
      presenceMembers: () => this.presence.ownCount,
    });
  }

  get metrics(): Metrics {
    return this.#options.metrics;
  }

  readonly ask: AskGateways = async (question) => [{ worker: null, answer: this.desk.answer(question) }];

  get unready(): undefined {
    return undefined;
  }

  async listen(): Promise<number> {
    return (await this.#gateway.listen()).port;
  }

  /** Used instead of `listen` if main has the port and passes its connections to `enter`. */
  prepare(): Promise<void> {
    return this.#gateway.prepare();
  }

  enter(socket: Socket): void {
    this.#gateway.enter(socket);
  }

  async open(): Promise<void> {
    this.#isOpen = true;
    this.presence.start();
    this.#gateway.open();
    this.#timers.push(setInterval(() => this.#options.journal.evict(steadyNow()), EVICT_MS));
    this.#timers.push(setInterval(() => this.#snapshots.check(), SNAPSHOT_CHECK_MS));
    this.#timers.push(setInterval(() => this.hub.heartbeat(), HEARTBEAT_SECONDS * 1_000));
  }

  async drain(
    seconds = drainSeconds(this.#options.settings.SNO_DRAIN_SECONDS, this.#gateway.connectionCount),
  ): Promise<void> {
    await this.#gateway.drain(seconds);
    this.presence.stop();
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }

  async stop(): Promise<void> {
    this.#pace.stop();
    this.#markers.stop();
    this.#transactions.stop();
    await this.#access.close();
    await this.#snapshotPool.end().catch(() => undefined);
  }

  suspend(): void {
    this.#gateway.suspend();
  }

  resume(): void {
    this.#gateway.resume();
  }

  knows(channel: string): boolean {
    return this.hub.knows(channel);
  }

  // Steps of the stream:

  begin({ reason, definitions, isKnown, oldest, evicted }: Beginning): void {
    this.#options.journal.clear(oldest, evicted);
    this.#channels.load(definitions);
    this.#channels.setKnown(isKnown);
    this.hub.resetAll(reason);
    this.#markers.renew();
  }

  append(batch: Batch): void {
    const { trace, part, committedAt, xid } = batch;
    if (trace !== undefined && part === 0 && committedAt > 0 && this.#isOpen)
      this.#traced.add({ trace, committedAt, xid });
    this.hub.append(batch);
  }

  marker(id: string): void {
    this.#markers.receive(id);
  }

  define(definitions: ServedDefinitions): void {
    this.#channels.load(definitions);
  }

  setKnown(isKnown: boolean): void {
    this.#channels.setKnown(isKnown);
  }

  get burstBytes(): number {
    return this.hub.burstBytes;
  }

  flush(): void {
    this.#pace.flush();
  }

  #passOn(): void {
    this.hub.flush();
    this.#sent(this.#traced.takeAll());
  }

  #passOnTo(slice: number): void {
    this.#sent(this.hub.flushSlice(slice) ? this.#traced.takeAll() : this.#traced.next());
  }

  #sent(commits: readonly TracedCommit[]): void {
    for (const commit of commits) this.#options.spans?.sent(commit);
  }
}
