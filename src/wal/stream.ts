/**
 * The stream from the walsender, over pg's own connection in replication mode. Why not a replication library, and which
 * hazards that closes: docs/decisions/0001-bare-replication-connection.md.
 */
import type { Socket } from 'node:net';
import type pg from 'pg';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { formatLsn, type Lsn } from '../lsn.ts';
import { createReplicationClient, databaseError } from '../postgres/connect.ts';
import { quoteIdentifier, quoteLiteral } from '../postgres/quote.ts';
import { backoff } from './backoff.ts';
import { Backlog } from './backlog.ts';
import { openSlot, type Progress } from './slot.ts';
import type { Acknowledger, WalHandler, WalSource } from './source.ts';
import { KEEPALIVE, readKeepalive, serverEndOf, statusUpdate, XLOG_DATA, XLOG_DATA_HEADER_BYTES } from './status.ts';

export interface StreamOptions {
  readonly url: string;
  readonly slot: string;
  readonly publication: string;
  /** Bytes of packets that may wait while the handler is held; beyond it the socket is paused. */
  readonly backlogBytesMax: number;
  /** How long creating the slot may wait for running transactions. */
  readonly slotLockTimeoutMs: number;
  /** How long, at start, to wait for another process to leave the slot. */
  readonly slotInUseTimeoutMs: number;
  readonly handler: WalHandler;
  readonly acknowledger: Acknowledger;
  readonly logger: Logger;
  readonly now: () => number;
  readonly random: () => number;
  /** Counts a connection that ended though nobody stopped it. */
  readonly onDisconnect: () => void;
  /** Hears of an error that is a bug: the process must stop. */
  readonly onBug: (error: unknown) => void;
}

const STATUS_INTERVAL_MS = 1_000;
/** Without a change, how often the status is sent nevertheless. */
const STATUS_IDLE_MS = 10_000;
/** A connection on which nothing has come for so long, though replies were asked for, is dead. */
const SILENCE_MAX_MS = 60_000;
const SLOT_IN_USE = '55006';
const UNDEFINED_OBJECT = '42704';

/** What pg's Connection offers beyond its types. */
interface ReplicationConnection {
  readonly stream: Socket;
  on(event: 'copyData', listener: (message: { readonly chunk: Buffer }) => void): void;
  once(event: 'replicationStart', listener: () => void): void;
  sendCopyFromChunk(chunk: Buffer): void;
}

export class ReplicationStream implements WalSource {
  readonly #options: StreamOptions;
  readonly #backlog = new Backlog();
  #client: pg.Client | undefined;
  #connection: ReplicationConnection | undefined;
  #progress: Progress | undefined;
  #isHeld = false;
  #isStopped = false;
  #isStreaming = false;
  #isPaused = false;
  #serverEnd: Lsn = 0;
  #statusTimer: NodeJS.Timeout | undefined;
  #statusSentAt = 0;
  #heardAt = 0;
  #lastWritten: Lsn = -1;
  #lastFlushed: Lsn = -1;
  #wake: (() => void) | undefined;
  #finished: Promise<void> | undefined;

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  get isStreaming(): boolean {
    return this.#isStreaming;
  }

  get serverEnd(): Lsn {
    return this.#serverEnd;
  }

  /** Whether the socket is paused because too much waits. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#finished = this.#run(resolve, reject);
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake?.();
    if (this.#isStreaming) this.#sendStatus(false);
    this.#connection?.stream.end();
    const client = this.#client;
    const force = setTimeout(() => this.#connection?.stream.destroy(), 2_000);
    await this.#finished;
    clearTimeout(force);
    await client?.end().catch(() => undefined);
  }

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#backlog.drain((packet) => {
      this.#take(packet);
      return !this.#isHeld;
    });
    this.#options.handler.flush();
    if (this.#isPaused && this.#backlog.bytes <= this.#options.backlogBytesMax) {
      this.#isPaused = false;
      this.#connection?.stream.resume();
    }
  }

  async #run(started: () => void, refused: (error: unknown) => void): Promise<void> {
    const { logger, now, random } = this.#options;
    const startedAt = now();
    let hasStarted = false;
    for (let attempt = 0; !this.#isStopped; attempt++) {
      try {
        await this.#streamOnce(() => {
          hasStarted = true;
          attempt = 0;
          started();
        });
        if (this.#isStopped) break;
        throw new SnoError('database_unreachable', 'the replication connection ended');
      } catch (error) {
        const fault = streamError(error, this.#options.slot);
        if (this.#isStopped) break;
        const waits = fault.code === 'slot_in_use' && now() - startedAt < this.#options.slotInUseTimeoutMs;
        if (!hasStarted && !waits) return refused(fault);
        const delayMs = backoff(attempt, random());
        if (hasStarted) this.#options.onDisconnect();
        logger.warn({ code: fault.code, mend: fault.mend, retryInMs: delayMs }, `replication: ${fault.message}`);
        await this.#sleep(delayMs);
      }
    }
    if (!hasStarted) refused(new SnoError('database_unreachable', 'stopped before the stream had started'));
  }

  /** One connection, from connecting to its end. Resolves or rejects when it has ended. */
  async #streamOnce(onStreaming: () => void): Promise<void> {
    const { url, slot, publication, slotLockTimeoutMs, handler, logger } = this.#options;
    const client = createReplicationClient(url, 'replication');
    const failed = new Promise<never>((_resolve, reject) => client.on('error', reject));
    failed.catch(() => undefined);
    this.#client = client;
    try {
      await client.connect();
      const connection = (client as unknown as { readonly connection: ReplicationConnection }).connection;
      this.#connection = connection;
      const version = await client.query<{ readonly version: string }>("select current_setting('server_version_num') as version");
      const opened = await openSlot(client, { slot, lockTimeoutMs: slotLockTimeoutMs }, this.#progressNow(), Number(version.rows[0]?.version));
      this.#progress = { epoch: opened.epoch, timeline: opened.timeline, head: opened.from };
      this.#backlog.clear();
      this.#isPaused = false;
      this.#isHeld = false;
      await Promise.race([handler.started(opened), failed]);
      if (this.#isStopped) return;
      connection.on('copyData', ({ chunk }) => this.#receive(chunk));
      connection.once('replicationStart', () => {
        this.#isStreaming = true;
        this.#heardAt = this.#options.now();
        this.#statusTimer = setInterval(() => this.#tick(), STATUS_INTERVAL_MS);
        this.#sendStatus(true);
        logger.info({ slot, epoch: opened.epoch, from: formatLsn(opened.from) }, 'streaming from the WAL');
        onStreaming();
      });
      // registered after the parser's own listener, so it runs when all messages of a read have been handed over
      connection.stream.on('data', () => this.#flush());
      await Promise.race([
        client.query(
          `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${formatLsn(opened.from)} (proto_version '1', publication_names ${quoteLiteral(quoteIdentifier(publication))}, messages 'true')`,
        ),
        failed,
      ]);
    } finally {
      this.#isStreaming = false;
      clearInterval(this.#statusTimer);
      this.#connection?.stream.removeAllListeners('data');
      this.#connection?.stream.destroy();
      this.#connection = undefined;
      this.#client = undefined;
      client.end().catch(() => undefined);
    }
  }

  #progressNow(): Progress | undefined {
    return this.#progress === undefined ? undefined : { ...this.#progress, head: this.#options.acknowledger.written() };
  }

  #receive(packet: Buffer): void {
    if (packet[0] === KEEPALIVE) {
      const { wantsReply } = readKeepalive(packet);
      this.#heardAt = this.#options.now();
      if (wantsReply) this.#sendStatus(false);
    }
    if (!this.#isHeld && this.#backlog.length === 0) return this.#take(packet);
    this.#backlog.push(packet);
    if (!this.#isPaused && this.#backlog.bytes > this.#options.backlogBytesMax) {
      this.#isPaused = true;
      this.#connection?.stream.pause();
    }
  }

  #take(packet: Buffer): void {
    const { handler, onBug } = this.#options;
    try {
      if (packet[0] === XLOG_DATA) {
        const end = serverEndOf(packet);
        if (end > this.#serverEnd) this.#serverEnd = end;
        handler.message(packet, XLOG_DATA_HEADER_BYTES, packet.length);
      } else if (packet[0] === KEEPALIVE) {
        const { end } = readKeepalive(packet);
        if (end > this.#serverEnd) this.#serverEnd = end;
        handler.keepalive(end);
      }
    } catch (error) {
      // what comes after a message that could not be handled must not be taken, let alone acknowledged
      this.#isStopped = true;
      onBug(error);
    }
  }

  #flush(): void {
    this.#heardAt = this.#options.now();
    if (this.#isStreaming && !this.#isStopped && !this.#isHeld) this.#options.handler.flush();
  }

  /** Runs also while the socket is paused: the server must hear of us either way. */
  #tick(): void {
    const { acknowledger, now, logger } = this.#options;
    const silentMs = this.#isPaused ? 0 : now() - this.#heardAt;
    if (silentMs > SILENCE_MAX_MS) {
      logger.warn({ silentMs }, 'replication: nothing has come from Postgres for too long, connecting again');
      this.#connection?.stream.destroy();
      return;
    }
    const isIdle = now() - this.#statusSentAt >= STATUS_IDLE_MS;
    const isNews = acknowledger.flushed() !== this.#lastFlushed || acknowledger.written() !== this.#lastWritten;
    if (isIdle || isNews) this.#sendStatus(isIdle);
  }

  #sendStatus(asksReply: boolean): void {
    const { acknowledger, now } = this.#options;
    this.#lastWritten = acknowledger.written();
    this.#lastFlushed = acknowledger.flushed();
    this.#statusSentAt = now();
    this.#connection?.sendCopyFromChunk(statusUpdate(this.#lastWritten, this.#lastFlushed, now(), asksReply));
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

function streamError(error: unknown, slot: string): SnoError {
  const { code, message } = error as { code?: string; message?: string };
  if (code === SLOT_IN_USE) return new SnoError('slot_in_use', `slot ${slot} is in use: ${message}`, { cause: error });
  if (code === UNDEFINED_OBJECT) return new SnoError('setup_required', `${message}`, { cause: error });
  return databaseError(error);
}
