/**
 * The stream from the walsender, over pg's own connection in replication mode. Why not a replication library, and which
 * hazards that closes: docs/decisions/0001-bare-replication-connection.md.
 */
import type { Socket } from 'node:net';
import type pg from 'pg';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { formatLsn, type Lsn } from '../lsn.ts';
import { createReplicationClient, NO_TIMEOUT_MS, timed } from '../postgres/connect.ts';
import { READ_BYTES_MAX } from '../postgres/in-place-socket.ts';
import { quoteIdentifier, quoteLiteral } from '../postgres/quote.ts';
import { Backlog } from './backlog.ts';
import { backoff } from './backoff.ts';
import { CopyReader } from './copy-reader.ts';
import { sqlState, startFault, streamFault, UNDEFINED_OBJECT } from './fault.ts';
import { Pace } from './pace.ts';
import { Pulse } from './pulse.ts';
import { recheckSlot } from './recheck.ts';
import { openSlot, type Progress } from './slot.ts';
import type { Acknowledger, WalHandler, WalSource } from './source.ts';
import { KEEPALIVE, readKeepalive, serverEndOf, XLOG_DATA, XLOG_DATA_HEADER_BYTES } from './status.ts';

export interface StreamOptions {
  readonly url: string;
  /** Answers, beside the replication connection, what the slot is once that connection holds it. */
  readonly pool: pg.Pool;
  readonly slot: string;
  readonly publication: string;
  /** Bytes of packets that may wait while the handler is held; beyond it the socket is paused. */
  readonly backlogBytesMax: number;
  /** How long creating the slot may wait for running transactions. */
  readonly slotLockTimeoutMs: number;
  /** A slot that holds more WAL is given up, and a new history begins; undefined: none is. */
  readonly slotWalBytesMax?: number | undefined;
  /** Hears of a slot that was given up for its WAL. */
  readonly onGivenUp?: (heldBytes: number) => void;
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

/** A stream that lasted so long was a good one: the next failure is the first again. */
const STABLE_MS = 10_000;
/** How often it is looked, at start, whether another process has left the slot. */
const SLOT_IN_USE_RETRY_MS = 200;
/** How long saying goodbye may take. */
const STOP_TIMEOUT_MS = 2_000;
/** At start, how often a slot that changes hands while it is opened is looked at anew before that is an error. */
const LOOKS_MAX = 5;

/** What pg's Connection offers beyond its types. */
interface ReplicationConnection {
  readonly stream: Socket;
  once(event: 'replicationStart', listener: () => void): void;
  sendCopyFromChunk(chunk: Buffer): void;
  /** Says goodbye, then closes. */
  end(): void;
}

export class ReplicationStream implements WalSource {
  readonly #options: StreamOptions;
  readonly #backlog = new Backlog();
  #connection: ReplicationConnection | undefined;
  #pulse: Pulse | undefined;
  #pace: Pace | undefined;
  #progress: Progress | undefined;
  #isHeld = false;
  #isStopped = false;
  /** Messages are handed over; before, while the handler gets ready, they wait. */
  #isStreaming = false;
  #isPaused = false;
  /** What the slot would send cannot be decoded, now or ever: there was no publication then. */
  #isUndecodable = false;
  #serverEnd: Lsn = 0;
  #wake: (() => void) | undefined;
  /** Ends the connection that there is. */
  #fail: (error: unknown) => void = () => undefined;
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

  /** Bytes that wait because the handler is held. */
  get backlogBytes(): number {
    return this.#backlog.bytes;
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#finished = this.#run(resolve, reject);
    });
  }

  async stop(): Promise<void> {
    const connection = this.#connection;
    if (this.#isStreaming && !this.#isStopped) this.#pulse?.beat(false);
    this.#isStopped = true;
    this.#wake?.();
    this.#pace?.stop();
    if (this.#isStreaming) {
      connection?.end();
      // a paused socket would not see the server's end
      connection?.stream.resume();
    } else {
      connection?.stream.destroy();
    }
    const force = setTimeout(() => connection?.stream.destroy(), STOP_TIMEOUT_MS);
    await this.#finished;
    clearTimeout(force);
  }

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#drain();
  }

  /** Ends the connection, if there is one, so that the slot is opened anew. */
  reopen(why: SnoError): void {
    this.#fail(why);
  }

  async #run(started: () => void, refused: (error: unknown) => void): Promise<void> {
    const { slot, slotInUseTimeoutMs, onDisconnect, logger, now, random } = this.#options;
    const startedAt = now();
    let hasStarted = false;
    let isWaiting = false;
    let attempt = 0;
    let looks = 0;
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
        // another process that stops (a rolling restart): it leaves the slot when its clients are gone
        const waits = !hasStarted && fault.code === 'slot_in_use' && now() - startedAt < slotInUseTimeoutMs;
        const looksAgain = fault.code === 'slot_lost' && ++looks < LOOKS_MAX;
        if (!hasStarted && !waits && !looksAgain) return refused(fault);
        if (hasStarted) onDisconnect();
        if (streamingSince !== undefined && sqlState(error) === UNDEFINED_OBJECT) this.#isUndecodable = true;
        if (streamingSince !== undefined && now() - streamingSince >= STABLE_MS) attempt = 0;
        const retryInMs = waits ? SLOT_IN_USE_RETRY_MS : backoff(attempt++, random());
        if (!waits) logger.warn({ code: fault.code, mend: fault.mend, retryInMs }, `replication: ${fault.message}`);
        else if (!isWaiting) logger.info({ code: fault.code }, `${fault.message}: waiting until it leaves`);
        isWaiting = waits;
        await this.#sleep(retryInMs);
      }
    }
    if (!hasStarted) refused(new SnoError('database_unreachable', 'stopped before the stream had started'));
  }

  /** One connection, from connecting to its end. Always rejects, with the reason why it has ended. */
  async #streamOnce(onStreaming: () => void): Promise<never> {
    const { url, slot, publication, pool, slotLockTimeoutMs, slotWalBytesMax, onGivenUp } = this.#options;
    const { handler, acknowledger, now, logger } = this.#options;
    const client = createReplicationClient(url, 'replication');
    const { connection } = client as unknown as { readonly connection: ReplicationConnection };
    let fail: (error: unknown) => void = () => undefined;
    const failed = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    failed.catch(() => undefined);
    this.#fail = fail;
    client.on('error', fail);
    const pulse = new Pulse({ acknowledger, now, send: (packet) => connection.sendCopyFromChunk(packet), fail });
    const pace = new Pace({
      now: () => performance.now(),
      pause: () => connection.stream.pause(),
      resume: () => {
        if (!this.#isPaused) connection.stream.resume();
      },
    });
    this.#connection = connection;
    this.#pulse = pulse;
    this.#pace = pace;
    try {
      await client.connect();
      await this.#requirePublication(client);
      const opened = await openSlot(
        client,
        {
          slot,
          lockTimeoutMs: slotLockTimeoutMs,
          isUndecodable: this.#isUndecodable,
          walBytesMax: slotWalBytesMax,
          ...(onGivenUp === undefined ? {} : { onGivenUp }),
        },
        this.#progressNow(),
      );
      this.#isUndecodable = false;
      this.#serverEnd = opened.from;
      const { rows } = await client.query<{ readonly pid: string }>('select pg_backend_pid() as pid');
      const accepted = new Promise<void>((resolve) => connection.once('replicationStart', resolve));
      new CopyReader(connection.stream, {
        onData: (buffer, start, end) => this.#receive(buffer, start, end),
        onRead: (bytes) => {
          this.#readDone();
          pace.read(bytes);
        },
        onFault: fail,
      });
      const over = Promise.race([
        client.query(timed(this.#startCommand(opened.from), NO_TIMEOUT_MS)).then(ended),
        failed,
      ]);
      over.catch(() => undefined);
      await Promise.race([accepted, over]).catch((error) => {
        throw startFault(error, slot);
      });
      // from here on the slot is ours and the server must hear of us; what it sends waits for the handler
      pulse.start();
      const recheck = recheckSlot(pool, { slot, publication, pid: rows[0]?.pid ?? '' }, opened);
      await Promise.race([recheck, over]).catch(async (error) => {
        await this.#leave(connection);
        throw error;
      });
      await Promise.race([handler.started(opened), over]);
      this.#progress = { ...opened, head: opened.from };
      this.#isStreaming = true;
      pulse.ready();
      logger.info({ slot, epoch: opened.epoch, from: formatLsn(opened.from) }, 'streaming from the WAL');
      onStreaming();
      this.#drain();
      return await over;
    } finally {
      this.#isStreaming = false;
      this.#isPaused = false;
      pulse.stop();
      pace.stop();
      // what was not handed over will be sent again
      this.#backlog.clear();
      connection.stream.removeAllListeners('data');
      connection.stream.destroy();
      this.#connection = undefined;
      client.end().catch(() => undefined);
    }
  }

  /** Says goodbye, and waits until the server has heard it: the slot is free then. */
  async #leave(connection: ReplicationConnection): Promise<void> {
    const { stream } = connection;
    if (stream.closed) return;
    const closed = new Promise<void>((resolve) => stream.once('close', resolve));
    const force = setTimeout(() => stream.destroy(), STOP_TIMEOUT_MS);
    connection.end();
    await closed;
    clearTimeout(force);
  }

  /** Without it, Postgres 15 to 17 break the stream at the first change, and 18 leaves changes out silently. */
  async #requirePublication(client: pg.Client): Promise<void> {
    const { publication } = this.#options;
    const sql = `select from pg_publication where pubname = ${quoteLiteral(publication)}`;
    const { rowCount } = await client.query(sql);
    if (rowCount === 0) throw new SnoError('setup_required', `publication ${publication} does not exist`);
  }

  #startCommand(from: Lsn): string {
    const { slot, publication } = this.#options;
    // the grammar of replication commands has no E'' strings
    const publications = `'${quoteIdentifier(publication).replaceAll("'", "''")}'`;
    return `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${formatLsn(from)} (proto_version '1', publication_names ${publications}, messages 'true')`;
  }

  #progressNow(): Progress | undefined {
    return this.#progress === undefined ? undefined : { ...this.#progress, head: this.#options.acknowledger.written() };
  }

  get #isTaking(): boolean {
    return this.#isStreaming && !this.#isHeld && !this.#isStopped;
  }

  #receive(buffer: Buffer, start: number, end: number): void {
    if (this.#isStopped) return;
    if (buffer[start] === KEEPALIVE && readKeepalive(buffer, start).wantsReply) this.#pulse?.asked();
    if (this.#isTaking && this.#backlog.length === 0) return this.#take(buffer, start, end);
    this.#backlog.push(buffer.subarray(start, end));
    if (!this.#isPaused && this.#backlog.bytes > this.#options.backlogBytesMax) this.#pause(true);
  }

  #pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    if (this.#pulse !== undefined) this.#pulse.isPaused = isPaused;
    if (isPaused) this.#connection?.stream.pause();
    else this.#connection?.stream.resume();
  }

  /** As if it came now: no more together than one read brings, since whoever takes it may hold the stream after each. */
  #drain(): void {
    if (!this.#isTaking) return;
    do {
      let bytes = 0;
      this.#backlog.drain((packet) => {
        this.#take(packet, 0, packet.length);
        bytes += packet.length;
        return this.#isTaking && bytes < READ_BYTES_MAX;
      });
      this.#flush();
    } while (this.#isTaking && this.#backlog.length > 0);
    if (this.#isPaused && this.#backlog.bytes <= this.#options.backlogBytesMax) this.#pause(false);
  }

  #take(buffer: Buffer, start: number, end: number): void {
    const { handler } = this.#options;
    try {
      if (buffer[start] === XLOG_DATA) {
        this.#heardEnd(serverEndOf(buffer, start));
        handler.message(buffer, start + XLOG_DATA_HEADER_BYTES, end);
      } else if (buffer[start] === KEEPALIVE) {
        const { end: serverEnd } = readKeepalive(buffer, start);
        this.#heardEnd(serverEnd);
        handler.keepalive(serverEnd);
      }
    } catch (error) {
      this.#giveUp(error);
    }
  }

  #heardEnd(end: Lsn): void {
    if (end > this.#serverEnd) this.#serverEnd = end;
  }

  #readDone(): void {
    this.#pulse?.heard();
    this.#flush();
  }

  #flush(): void {
    if (!this.#isTaking) return;
    try {
      this.#options.handler.flush();
    } catch (error) {
      this.#giveUp(error);
    }
  }

  /** What comes after a message that could not be handled must not be taken, let alone acknowledged. */
  #giveUp(error: unknown): void {
    this.#isStopped = true;
    this.#connection?.stream.destroy();
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
