/**
 * Ingest on several machines: one process reads the WAL and publishes, the others stand by.
 *
 * The process that holds the slot reads. Another process takes the slot if it is free. It also
 * takes the slot if its holder has published nothing for TAKEOVER_MS: then the holder is stopped,
 * or cut off from NATS or from Postgres. A holder that has just taken the slot has START_MS. A
 * wrong decision loses nothing: the stream takes the messages of one publisher only, and stops the
 * other.
 *
 * A term is the time during which this process reads and publishes. It ends with the first fault.
 * The next term continues from what the stream has.
 */
import { backoff } from '../backoff.ts';
import type { Settings } from '../config/settings.ts';
import { SnoError } from '../errors.ts';
import type { Relay } from '../jetstream/connection.ts';
import { cutOf, envelopeOf } from '../jetstream/envelope.ts';
import { lastPlace } from '../jetstream/last-place.ts';
import { StreamPublisher } from '../jetstream/publisher.ts';
import type { Lsn } from '../lsn.ts';
import { foreignStream, type Installation } from '../relay/installation.ts';
import { steadyNow } from '../steady-clock.ts';
import { holderOf, removeHolder, type SlotHolder } from '../wal/slot-holder.ts';
import { Impasse } from '../wal/undecodable/impasse.ts';
import type { SpoolPause } from './in-progress.ts';
import { IngestRole } from './ingest.ts';
import type { IngestOptions } from './ingest-options.ts';

export interface IngestStandbyOptions extends Omit<IngestOptions, 'relayed'> {
  readonly relay: Relay;
  readonly installation: Installation;
  /** The last sequence of the stream that has arrived here. 0: this process does not follow it. */
  readonly followedSequence: () => number;
}

/** How long the holder of the slot may publish nothing before another process takes it, in ms. */
const TAKEOVER_MS = 5_000;
/**
 * The same for a holder that has published nothing since it took the slot, in ms: it reads the
 * catalogs first. Otherwise processes that start slowly would end each other in turns.
 */
const START_MS = 15_000;
const UNPUBLISHED_MS_MAX = 5_000;
/** A foreign stream is taken when it was silent for SNO_RELAY_SILENCE_SECONDS times this. */
const FOREIGN_SILENCES = 4;
/**
 * How long Postgres may neither send anything nor decode while followers are told that the WAL is
 * read, in ms.
 */
const STALLED_MS = 4_000;
const QUIET_MS = 1_500;
const LOOK_MS = 500;
/** Number of failures after which the pauses do not grow further. */
const ATTEMPTS_COUNTED_MAX = 5;
/** How often a state is published: a new follower reads at most this much of the stream. */
const STATE_EVERY_BYTES = 16 * 1024 ** 2;
const STATE_EVERY_MS = 60_000;
/** Added to SNO_NATS_SYNC_SECONDS, within which a power cut may lose confirmed messages, in ms. */
const MARGIN_MS = 10_000;
/**
 * Sequences of a term begin at the time in seconds, times SEQUENCES_PER_SECOND, or SEQUENCE_GAP
 * after the last one that this process knows, if that is later. So they grow even if the stream has
 * lost the latest ones.
 */
const SEQUENCES_PER_SECOND = 2 ** 21;
const SEQUENCE_GAP = 2 ** 28;

/** How long a process may be unable to publish before it leaves the slot, in ms. */
export function unpublishedMs({
  SNO_RELAY_SILENCE_SECONDS: seconds,
}: Pick<Settings, 'SNO_RELAY_SILENCE_SECONDS'>): number {
  return Math.min(UNPUBLISHED_MS_MAX, (seconds * 1_000) / 3);
}

export class IngestStandby {
  readonly #options: IngestStandbyOptions;
  #isStopped = false;
  #ingest: IngestRole | undefined;
  #publisher: StreamPublisher | undefined;
  #endTerm: (why: SnoError) => void = () => undefined;
  #finished: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;
  /** The last sequence of this process's last term. */
  #sequence = 0;
  /** The newest sequence of the stream that was seen, and since when. */
  #seen = { sequence: -1, since: 0 };
  /** The holder of the slot, and the newest sequence of the stream when it was first seen. */
  #holder: { readonly pid: string; readonly since: number; readonly sequence: number } | undefined;
  #terms = 0;
  #logged = '';
  /** Why this process cannot publish in the stream. Undefined: it can, or another one does. */
  #refusal: SnoError | undefined;
  /**
   * What the stream from Postgres could not pass ends the term: the next one must not fail there
   * again.
   */
  readonly #spoolPause: SpoolPause = { until: undefined };
  readonly #impasse: Impasse;
  /** Whether the stream has been fitted to the settings of this process. */
  #isFitted = false;

  constructor(options: IngestStandbyOptions) {
    this.#options = options;
    this.#impasse = new Impasse(options.settings.SNO_UNDECODABLE_SECONDS * 1_000);
    options.metrics.observe({
      ingesting: () => Number(this.#ingest !== undefined),
      relayWaitingBytes: () => this.#publisher?.waitingBytes,
      relayPublishedSequence: () => this.#publisher?.confirmed,
      relayTerms: () => this.#terms,
    });
  }

  /**
   * Why the stream does not take messages. Undefined: it does, or another process publishes.
   */
  get fault(): string | undefined {
    return this.#publisher?.fault?.message ?? this.#refusal?.message;
  }

  /** Number of channel views that are served. Undefined on standby. */
  get channelCount(): number | undefined {
    return this.#ingest?.channelCount;
  }

  start(): void {
    this.#finished = this.#run().catch((error) => this.#options.onBug(error));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake();
    this.#endTerm(new SnoError('relay_superseded', 'this process stops'));
    await this.#finished;
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#isStopped; ) {
      let pauseMs = LOOK_MS;
      const startedAt = steadyNow();
      try {
        if (await this.#mayRead()) await this.#read();
      } catch (error) {
        if (!(error instanceof SnoError)) throw error;
        this.#logOnce(error);
        if (error.code === 'relay_stream') this.#refusal = error;
        // After a long term the backoff starts over.
        attempt = steadyNow() - startedAt > TAKEOVER_MS ? 1 : attempt + 1;
        pauseMs = backoff(Math.min(attempt, ATTEMPTS_COUNTED_MAX), Math.random());
      }
      if (!this.#isStopped) await this.#sleep(pauseMs);
    }
  }

  /** Whether the slot is free, or its holder has published nothing for long. */
  async #mayRead(): Promise<boolean> {
    const { relay, pool, settings, logger } = this.#options;
    if (!relay.isConnected) return false;
    let holder: SlotHolder | undefined;
    try {
      holder = await holderOf(pool, settings.SNO_SLOT);
    } catch (error) {
      throw new SnoError('database_unreachable', `Postgres could not be asked: ${(error as Error).message}`);
    }
    const bounds = await relay.bounds();
    const sequence = bounds?.last ?? 0;
    const now = steadyNow();
    if (this.#seen.sequence !== sequence) this.#seen = { sequence, since: now };
    if (holder === undefined) {
      this.#holder = undefined;
      // The term that begins makes a stream that is missing.
      return bounds === undefined || this.#mayTakeStream(now - this.#seen.since);
    }
    if (this.#holder?.pid !== holder.pid) this.#holder = { pid: holder.pid, since: now, sequence };
    this.#refusal = undefined;
    // If nothing was ever published, the holder may be a Snö without NATS.
    if (sequence === 0 || !holder.isSno) {
      this.#logOnce(new SnoError('slot_in_use', `slot ${settings.SNO_SLOT} is in use by ${holder.text}`));
      return false;
    }
    const silentMs = now - Math.max(this.#seen.since, this.#holder.since);
    if (silentMs < (sequence === this.#holder.sequence ? START_MS : TAKEOVER_MS)) return false;
    logger.warn(
      {
        pid: holder.pid,
        silentMs: Math.round(silentMs),
        hint: 'See why that process hangs or is cut off from NATS.',
      },
      `the process that holds the slot publishes nothing: its connection to Postgres is ended, and this process takes the slot`,
    );
    await removeHolder(pool, holder);
    return true;
  }

  /** Whether the stream belongs to this installation, or its owner has been silent for long. */
  async #mayTakeStream(silentMs: number): Promise<boolean> {
    const { relay, installation, settings } = this.#options;
    const newest = await relay.lastMessage();
    const isForeign = newest !== undefined && (await installation.isSurelyForeign(envelopeOf(newest.bytes)));
    const isTaken = isForeign && silentMs < FOREIGN_SILENCES * settings.SNO_RELAY_SILENCE_SECONDS * 1_000;
    this.#refusal = isTaken ? foreignStream(settings.SNO_NATS_STREAM) : undefined;
    if (this.#refusal !== undefined) this.#logOnce(this.#refusal);
    return !isTaken;
  }

  /** Runs one term. Resolves or rejects when it is over. */
  async #read(): Promise<void> {
    const { relay, installation, settings, logger, metrics, onBug } = this.#options;
    if (!this.#isFitted) await relay.ensureStream();
    this.#isFitted = true;
    const { newest, ownership, continued } = await lastPlace(relay, await installation.id());
    if (this.#isStopped) return;
    let over: (why: SnoError) => void = () => undefined;
    const isOver = new Promise<never>((_resolve, reject) => {
      over = reject;
    });
    isOver.catch(() => undefined);
    this.#endTerm = over;
    const time = Math.floor(Date.now() / 1_000) * SEQUENCES_PER_SECOND;
    const known = Math.max(continued?.head.sequence ?? 0, this.#options.followedSequence(), this.#sequence);
    const sequence = Math.max(time, known + SEQUENCE_GAP);
    const cut = cutOf(settings.SNO_COMMIT_BYTES);
    let publisher: StreamPublisher | undefined;
    let publishedHead: Lsn = continued?.head.head.lsn ?? 0;
    const ingest = new IngestRole({
      ...this.#options,
      onBug,
      relayed: {
        continued:
          continued === undefined
            ? undefined
            : {
                place: { ...continued.head, sequence },
                definitions: continued.definitions,
                isCutAlike: continued.cut === 0 || continued.cut === cut,
              },
        sequence,
        publishedHead: () => Math.max(publishedHead, publisher?.confirmedHead ?? 0),
        startedFrom: (from) => {
          publishedHead = from;
        },
        marginMs: settings.SNO_NATS_SYNC_SECONDS * 1_000 + MARGIN_MS,
        quietMs: QUIET_MS,
        spoolPause: this.#spoolPause,
        impasse: this.#impasse,
        onDisconnect: over,
      },
    });
    publisher = new StreamPublisher({
      relay,
      stream: settings.SNO_NATS_STREAM,
      ownership,
      cut,
      head: ingest.head,
      state: () => ({ definitions: ingest.definitions.served, isKnown: ingest.definitions.known === undefined }),
      last: newest,
      recent: continued?.recent ?? [],
      joinableAt: continued?.state ?? 0,
      stateEveryBytes: Math.min(STATE_EVERY_BYTES, settings.SNO_NATS_MAX_BYTES / 8),
      stateEveryMs: Math.min(STATE_EVERY_MS, settings.SNO_NATS_MAX_AGE_SECONDS * 250),
      now: steadyNow,
      logger,
      isStreaming: () => ingest.unready === undefined && ingest.stalledMs < STALLED_MS,
      hold: () => ingest.hold('relay'),
      release: () => ingest.release('relay'),
      onPublished: (bytes) => metrics.relayPublishedBytes.inc(bytes),
      onOver: over,
    });
    ingest.setFollowers(publisher);
    this.#refusal = undefined;
    this.#publisher = publisher;
    this.#ingest = ingest;
    this.#terms++;
    const watch = setInterval(() => {
      const { fault = new SnoError('relay_unreachable', 'NATS confirms nothing'), unconfirmedMs } = publisher;
      if (unconfirmedMs > unpublishedMs(settings)) over(fault);
    }, LOOK_MS);
    try {
      await Promise.race([ingest.start(), isOver]);
      this.#logged = '';
      logger.info({ slot: settings.SNO_SLOT, term: publisher.term }, 'this process reads the WAL and publishes it');
      await isOver;
    } finally {
      clearInterval(watch);
      this.#endTerm = () => undefined;
      publisher.stop();
      await ingest.stop();
      this.#sequence = ingest.head.sequence;
      this.#ingest = undefined;
      this.#publisher = undefined;
      this.#seen = { sequence: -1, since: 0 };
      this.#holder = undefined;
      metrics.observe(NOTHING_READ);
    }
  }

  /** Logs why this process does not read, once for each reason. */
  #logOnce({ code, message, hint }: SnoError): void {
    if (this.#isStopped || this.#logged === message) return;
    this.#logged = message;
    const level = code === 'slot_in_use' ? 'info' : 'warn';
    this.#options.logger[level]({ code, hint }, `this process neither reads the WAL nor publishes: ${message}`);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

const none = () => undefined;
const NOTHING_READ = {
  walLagBytes: none,
  walPositionBytes: none,
  slotRetainedBytes: none,
  slotUnconfirmedBytes: none,
  slotBoundBytes: none,
  slotSecondsLeft: none,
  slotGeneration: none,
  slotWalStatus: none,
  slotFailover: none,
  oldestTransactionSeconds: none,
  channelViews: none,
  spoolBytes: none,
  caughtUp: none,
};
