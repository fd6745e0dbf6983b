/**
 * The stream from the walsender, over connections of pg-logical-replication whose messages and
 * acknowledgements are handled here: docs/decisions/0001-replication-connection.md.
 */
import type pg from 'pg';
import { backoff } from '../backoff.ts';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { formatLsn, type Lsn } from '../lsn.ts';
import { createReplicationClient } from '../postgres/connect.ts';
import { CopyReader } from '../postgres/copy-reader.ts';
import { endFault, isPublicationMissing, startFault, streamFault } from './fault.ts';
import { Intake } from './intake.ts';
import { KeepaliveSender } from './keepalive.ts';
import { PgoutputMessages } from './output-plugin.ts';
import { recheckSlot } from './recheck.ts';
import { connectionOf, type ReplicationConnection, ReplicationService } from './replication-service.ts';
import { openSlot, type Progress } from './slot.ts';
import type { Acknowledger, WalHandler, WalSource } from './source.ts';
import { ReadThrottle } from './throttle.ts';
import type { Impasse } from './undecodable/impasse.ts';
import { positionOf } from './undecodable/server-error.ts';
import { isDecoding, leave, meetWalsender, STOP_TIMEOUT_MS } from './walsender.ts';

export interface StreamOptions {
  readonly url: string;
  /** Used to query the slot's state, beside the replication connection that holds it. */
  readonly pool: pg.Pool;
  readonly slot: string;
  readonly publication: string;
  /** Maximum bytes of packets that wait while the handler is held, before the socket is paused. */
  readonly backlogBytesMax: number;
  /** How long creating the slot may wait for running transactions, in ms. */
  readonly slotLockTimeoutMs: number;
  /**
   * How long the server may wait for this process to read before it ends the connection, in ms. 0:
   * the server's own setting.
   */
  readonly tcpUserTimeoutMs: number;
  /**
   * Maximum bytes of WAL that a slot may hold before it is given up and a new history begins.
   * Undefined: no maximum.
   */
  readonly slotWalBytesMax?: number | undefined;
  /** Called when a slot was given up for its WAL. */
  readonly onGivenUp?: (heldBytes: number) => void;
  /** Positions that Postgres fails to decode. Given up, they begin a new history. */
  readonly impasse: Impasse;
  /** Whether the next connection sends large transactions while they are in progress. */
  readonly inProgress?: () => boolean;
  /** Whether a transaction in progress is being received. */
  readonly isInProgress?: () => boolean;
  /** Counts each failure of Postgres to decode. */
  readonly onUndecodable: () => void;
  /** How long, at start, to wait for another process to leave the slot, in ms. */
  readonly slotInUseTimeoutMs: number;
  readonly handler: WalHandler;
  readonly acknowledger: Acknowledger;
  readonly logger: Logger;
  readonly now: () => number;
  readonly random: () => number;
  /** The history to continue, and how far another process has read it. */
  readonly progress?: Progress | undefined;
  /** How long the server may be silent before it is asked for a reply, in ms. */
  readonly quietMs?: number;
  /**
   * Called when a connection ended without `stop`. It is opened again, unless this calls `stop`.
   */
  readonly onDisconnect: (fault: SnoError) => void;
  /** Called with an error that is a bug: the process must stop. */
  readonly onBug: (error: unknown) => void;
}

/** How long a stream must last, in ms, before the backoff starts over. */
const STABLE_MS = 10_000;
/** Interval, at start, between checks whether another process has left the slot, in ms. */
const SLOT_IN_USE_RETRY_MS = 200;
/** Maximum attempts, at start, to open a slot that changes while it is opened. */
const OPEN_ATTEMPTS_MAX = 5;

export class ReplicationStream implements WalSource {
  readonly #options: StreamOptions;
  readonly #intake: Intake;
  #client: ReturnType<typeof createReplicationClient> | undefined;
  /** The client's connection, once it is connected. */
  #connection: ReplicationConnection | undefined;
  #keepaliveSender: KeepaliveSender | undefined;
  #throttle: ReadThrottle | undefined;
  #progress: Progress | undefined;
  #isStopped = false;
  #wake: (() => void) | undefined;
  /** Ends the current connection. */
  #fail: (error: unknown) => void = () => undefined;
  #finished: Promise<void> | undefined;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#progress = options.progress;
    const { handler, backlogBytesMax } = options;
    this.#intake = new Intake({ handler, backlogBytesMax, onBug: (error) => this.#giveUp(error) });
  }

  get isStreaming(): boolean {
    return this.#intake.isReady;
  }

  /** Time since something arrived from the server, in ms. */
  get silenceMs(): number {
    return this.#keepaliveSender?.silenceMs ?? Number.POSITIVE_INFINITY;
  }

  /** Time since something arrived, or since Postgres was known to decode the WAL, in ms. */
  get stalledMs(): number {
    return this.#keepaliveSender?.stalledMs ?? Number.POSITIVE_INFINITY;
  }

  get serverEnd(): Lsn {
    return this.#intake.serverEnd;
  }

  /** Whether the socket is paused because the backlog is full. */
  get isPaused(): boolean {
    return this.#intake.isPaused;
  }

  /** Bytes that wait because the handler is held. */
  get backlogBytes(): number {
    return this.#intake.backlogBytes;
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#finished = this.#run(resolve, reject);
    });
  }

  async stop(): Promise<void> {
    const connection = this.#connection;
    if (this.isStreaming && !this.#isStopped) this.#keepaliveSender?.beat(false);
    this.#isStopped = true;
    this.#intake.stop();
    this.#wake?.();
    this.#throttle?.stop();
    if (this.isStreaming) {
      connection?.end();
      // A paused socket would not notice that the server closes.
      connection?.stream.resume();
    } else {
      this.#client?.abandon();
    }
    const force = setTimeout(() => this.#client?.abandon(), STOP_TIMEOUT_MS);
    await this.#finished;
    clearTimeout(force);
  }

  hold(): void {
    this.#intake.hold();
  }

  release(): void {
    this.#intake.release();
  }

  /** Ends the current connection, if any, so that the slot is opened anew. */
  reopen(why: SnoError): void {
    this.#fail(why);
  }

  async #run(started: () => void, refused: (error: unknown) => void): Promise<void> {
    const { slot, slotInUseTimeoutMs, onDisconnect, logger, now, random } = this.#options;
    const startedAt = now();
    let hasStarted = false;
    let isWaiting = false;
    let attempt = 0;
    let changes = 0;
    while (!this.#isStopped) {
      let streamingSince: number | undefined;
      try {
        await this.#streamOnce(() => {
          streamingSince = now();
          hasStarted = true;
          started();
        });
      } catch (error) {
        if (this.#isStopped) break;
        const fault = streamFault(error, slot);
        // Another process is stopping (a rolling restart): it leaves the slot when its clients are
        // gone.
        const waits = !hasStarted && fault.code === 'slot_in_use' && now() - startedAt < slotInUseTimeoutMs;
        const opensAgain = fault.code === 'slot_lost' && ++changes < OPEN_ATTEMPTS_MAX;
        const isStuck = fault.code === 'wal_undecodable';
        if (!hasStarted && !waits && !opensAgain && !isStuck) return refused(fault);
        if (hasStarted) onDisconnect(fault);
        if (streamingSince !== undefined && now() - streamingSince >= STABLE_MS) attempt = 0;
        const retryInMs = waits ? SLOT_IN_USE_RETRY_MS : backoff(attempt++, random());
        if (!waits)
          logger[isStuck ? 'error' : 'warn'](
            { code: fault.code, hint: fault.hint, retryInMs },
            `replication: ${fault.message}`,
          );
        else if (!isWaiting) logger.info({ code: fault.code }, `${fault.message}: waiting until that process ends`);
        isWaiting = waits;
        await this.#sleep(retryInMs);
      }
    }
    if (!hasStarted) refused(new SnoError('database_unreachable', 'stopped before the stream had started'));
  }

  /** One connection, from connecting to its end. Always rejects, with the reason for its end. */
  async #streamOnce(onStreaming: () => void): Promise<never> {
    const { url, slot, publication, pool, slotLockTimeoutMs, slotWalBytesMax, onGivenUp, tcpUserTimeoutMs } =
      this.#options;
    const { handler, acknowledger, impasse, now, logger } = this.#options;
    const client = createReplicationClient(url, 'replication');
    this.#client = client;
    let fail: (error: unknown) => void = () => undefined;
    const failed = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    failed.catch(() => undefined);
    this.#fail = fail;
    client.on('error', fail);
    const intake = this.#intake;
    const output = new PgoutputMessages({ publication, inProgress: this.#options.inProgress?.() ?? false });
    let throttle: ReadThrottle | undefined;
    try {
      await client.connect();
      const connection = connectionOf(client);
      const pause = () => connection.stream.pause();
      const resume = () => connection.stream.resume();
      const paced = new ReadThrottle({
        now: () => performance.now(),
        pause,
        resume: () => intake.isPaused || resume(),
        isInProgress: () => this.#options.isInProgress?.() === true,
      });
      throttle = paced;
      this.#connection = connection;
      this.#throttle = paced;
      await output.requirePublication(client);
      const opened = await openSlot(
        client,
        {
          slot,
          lockTimeoutMs: slotLockTimeoutMs,
          givenUp: impasse.givenUp(this.#readTo),
          walBytesMax: slotWalBytesMax,
          ...(onGivenUp === undefined ? {} : { onGivenUp }),
        },
        this.#progressNow(),
      );
      impasse.passed();
      const walsender = await meetWalsender(client, tcpUserTimeoutMs);
      await output.prepare(client);
      const { pid, walSenderTimeoutMs } = walsender;
      const send = (packet: Buffer) => connection.sendCopyFromChunk(packet);
      const keepaliveSender = new KeepaliveSender({
        acknowledger,
        now,
        send,
        fail,
        walSenderTimeoutMs,
        isDecoding: () => isDecoding(pool, pid),
        ...(this.#options.quietMs === undefined ? {} : { quietMs: this.#options.quietMs }),
      });
      this.#keepaliveSender = keepaliveSender;
      const onPaused = (isPaused: boolean) => {
        keepaliveSender.isPaused = isPaused;
      };
      intake.open(
        { pause, resume, onAsked: () => keepaliveSender.asked(), onPaused },
        opened.from,
        walsender.tcpUserTimeoutMs,
      );
      const service = new ReplicationService(client);
      new CopyReader(connection.stream, {
        onData: (buffer, start, end) => intake.receive(buffer, start, end),
        onRead: (bytes) => {
          keepaliveSender.heard();
          intake.flush();
          paced.read(bytes);
        },
        onFault: fail,
      });
      const streamed = service.subscribe(output, slot, formatLsn(opened.from)).then(ended);
      const over = Promise.race([streamed, failed]).catch((error) => {
        throw service.isStop() ? startFault(error, slot) : this.#endFault(error);
      });
      over.catch(() => undefined);
      await Promise.race([service.accepted, over]);
      // From here on we hold the slot and the server must hear of us. Its messages wait for the
      // handler.
      keepaliveSender.start();
      const recheck = recheckSlot(pool, { slot, publication, pid }, opened);
      await Promise.race([recheck, over]).catch(async (error) => {
        await leave(connection);
        throw error;
      });
      await Promise.race([handler.started(opened), over]);
      this.#progress = { ...opened, head: opened.from };
      keepaliveSender.ready();
      logger.info({ slot, epoch: opened.epoch, from: formatLsn(opened.from) }, 'streaming from the WAL');
      onStreaming();
      intake.ready();
      return await over;
    } finally {
      intake.close();
      this.#keepaliveSender?.stop();
      throttle?.stop();
      this.#connection?.stream.removeAllListeners('data');
      this.#connection = undefined;
      client.abandon();
      this.#client = undefined;
    }
  }

  /** Returns why the stream has ended, and records what must be given up because of it. */
  #endFault(error: unknown): SnoError {
    const { slot, impasse, onUndecodable, now } = this.#options;
    const readTo = this.#readTo;
    const fault = endFault(error, slot, this.#intake.tables, formatLsn(readTo.head));
    if (isPublicationMissing(error))
      impasse.giveUp(readTo, 'the publication did not exist when the next WAL was written');
    if (fault.code === 'wal_undecodable') {
      onUndecodable();
      impasse.failed(positionOf(error), readTo, `Snö could not read on: ${fault.message}`, now());
    }
    return fault;
  }

  get #readTo() {
    return { epoch: this.#progress?.epoch, head: this.#options.acknowledger.written() };
  }

  #progressNow(): Progress | undefined {
    return this.#progress === undefined ? undefined : { ...this.#progress, head: this.#options.acknowledger.written() };
  }

  /** The handler has failed: the process must stop, and receives nothing more. */
  #giveUp(error: unknown): void {
    this.#isStopped = true;
    this.#client?.abandon();
    this.#options.onBug(error);
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

function ended(): never {
  throw new SnoError('database_unreachable', 'Postgres ended the replication stream');
}
