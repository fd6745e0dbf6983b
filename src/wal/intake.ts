/**
 * Receives the packets of a connection. It delivers them to the handler, or keeps them while the
 * handler is held or not ready. Kept bytes are limited: beyond the limit the socket is paused.
 *
 * If nothing reads the socket, the server ends the connection after tcp_user_timeout, even if it
 * receives our status packets. So a paused socket is still read from time to time, enough to open
 * the TCP window again.
 */
import type { Lsn } from '../lsn.ts';
import { READ_BYTES_MAX } from '../postgres/in-place-socket.ts';
import { Backlog } from './backlog.ts';
import type { WalHandler } from './source.ts';
import { KEEPALIVE, readKeepalive, serverEndOf, XLOG_DATA, XLOG_DATA_HEADER_BYTES } from './status.ts';
import { DescribedTables } from './undecodable/described-tables.ts';

export interface IntakeOptions {
  readonly handler: WalHandler;
  /** Maximum bytes of waiting packets before the socket is paused. */
  readonly backlogBytesMax: number;
  /** Called with an error of the handler. Nothing more is delivered. */
  readonly onBug: (error: unknown) => void;
}

/** The connection: what the intake needs of it. */
export interface IntakeConnection {
  readonly pause: () => void;
  readonly resume: () => void;
  /** Called when the server asks for a reply. */
  readonly onAsked: () => void;
  /** Called when the socket was paused because the backlog is full, or resumed. */
  readonly onPaused: (isPaused: boolean) => void;
}

/**
 * Bytes read at a time from a paused socket. Linux opens a full TCP window once a sixteenth of the
 * receive buffer is free again. That buffer has at most 6 MB (net.ipv4.tcp_rmem), unless configured
 * otherwise.
 */
const PAUSED_READ_BYTES = 1 << 20;
/** Maximum bytes kept beyond the limit. Then nothing is read, and the server may disconnect. */
const PAUSED_BYTES_MAX = 32 << 20;
/** Number of reads from a paused socket within tcp_user_timeout. */
const PAUSED_READS_IN_TIMEOUT = 3;

export class Intake {
  readonly #options: IntakeOptions;
  /** Tables that the connection has described. */
  readonly tables = new DescribedTables();
  readonly #backlog = new Backlog();
  #connection: IntakeConnection | undefined;
  #isHeld = false;
  #isReady = false;
  #isStopped = false;
  #isPaused = false;
  #serverEnd: Lsn = 0;
  #pausedReadTimer: NodeJS.Timeout | undefined;
  /** Backlog bytes at which the socket is paused again. */
  #pauseAgainAt = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Whether the socket is paused because the backlog is full. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Whether packets are delivered, or will be when the handler is released. */
  get isReady(): boolean {
    return this.#isReady;
  }

  get backlogBytes(): number {
    return this.#backlog.bytes;
  }

  /** End of the server's WAL, as last reported. */
  get serverEnd(): Lsn {
    return this.#serverEnd;
  }

  /**
   * A connection begins at `from`. Its packets wait until `ready`. `tcpUserTimeoutMs` is the
   * server's; 0: none.
   */
  open(connection: IntakeConnection, from: Lsn, tcpUserTimeoutMs: number): void {
    this.#connection = connection;
    this.#serverEnd = from;
    this.tables.clear();
    if (tcpUserTimeoutMs > 0)
      this.#pausedReadTimer = setInterval(
        () => this.#readWhilePaused(),
        Math.max(1, tcpUserTimeoutMs / PAUSED_READS_IN_TIMEOUT),
      );
  }

  ready(): void {
    this.#isReady = true;
    this.#drain();
  }

  /** The connection has ended. Packets not delivered will be sent again. */
  close(): void {
    clearInterval(this.#pausedReadTimer);
    this.#isReady = false;
    this.#isPaused = false;
    this.#backlog.clear();
    this.#connection = undefined;
  }

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#drain();
  }

  /** Delivers nothing more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Receives one packet. */
  receive(buffer: Buffer, start: number, end: number): void {
    if (this.#isStopped) return;
    if (buffer[start] === XLOG_DATA) this.tables.note(buffer, start + XLOG_DATA_HEADER_BYTES, end);
    else if (buffer[start] === KEEPALIVE && readKeepalive(buffer, start).wantsReply) this.#connection?.onAsked();
    if (this.#isTaking && this.#backlog.length === 0) return this.#take(buffer, start, end);
    this.#backlog.push(buffer.subarray(start, end));
    if (this.#isPaused) {
      if (this.#backlog.bytes >= this.#pauseAgainAt) this.#connection?.pause();
    } else if (this.#backlog.bytes > this.#options.backlogBytesMax) this.#pause(true);
  }

  /** All packets that arrived together have been received. */
  flush(): void {
    if (!this.#isTaking) return;
    try {
      this.#options.handler.flush();
    } catch (error) {
      this.#giveUp(error);
    }
  }

  get #isTaking(): boolean {
    return this.#isReady && !this.#isHeld && !this.#isStopped;
  }

  #pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#pauseAgainAt = 0;
    this.#connection?.onPaused(isPaused);
    if (isPaused) this.#connection?.pause();
    else this.#connection?.resume();
  }

  #readWhilePaused(): void {
    const { backlogBytesMax } = this.#options;
    if (!this.#isPaused || this.#isStopped || this.#backlog.bytes >= backlogBytesMax + PAUSED_BYTES_MAX) return;
    this.#pauseAgainAt = this.#backlog.bytes + PAUSED_READ_BYTES;
    this.#connection?.resume();
  }

  /**
   * Delivers the backlog like new packets, at most as much at a time as one read brings. The
   * handler may be held after each packet.
   */
  #drain(): void {
    if (!this.#isTaking) return;
    do {
      let bytes = 0;
      this.#backlog.drain((packet) => {
        this.#take(packet, 0, packet.length);
        bytes += packet.length;
        return this.#isTaking && bytes < READ_BYTES_MAX;
      });
      this.flush();
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

  /** Packets after a failed message must not be delivered, let alone acknowledged. */
  #giveUp(error: unknown): void {
    this.#isStopped = true;
    this.#options.onBug(error);
  }
}
