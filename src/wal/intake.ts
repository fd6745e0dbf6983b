/**
 * Takes the packets of a connection: hands them to the handler, or keeps them while the handler is held or not ready yet.
 * What is kept is bounded: beyond the bound the socket is paused.
 *
 * A socket that nobody reads is given up by the server after tcp_user_timeout, however many status packets we send. So a
 * paused socket is read now and then all the same, for as much as opens the TCP window again.
 */
import type { Lsn } from '../lsn.ts';
import { READ_BYTES_MAX } from '../postgres/in-place-socket.ts';
import { Backlog } from './backlog.ts';
import type { WalHandler } from './source.ts';
import { KEEPALIVE, readKeepalive, serverEndOf, XLOG_DATA, XLOG_DATA_HEADER_BYTES } from './status.ts';
import { DescribedTables } from './undecodable.ts';

export interface IntakeOptions {
  readonly handler: WalHandler;
  /** Bytes of packets that may wait before the socket is paused. */
  readonly backlogBytesMax: number;
  /** Hears of an error of the handler. Nothing more is handed over. */
  readonly onBug: (error: unknown) => void;
}

/** What the intake needs of a connection. */
export interface Line {
  readonly pause: () => void;
  readonly resume: () => void;
  /** The server asks for a reply. */
  readonly onAsked: () => void;
  /** The socket is paused because too much waits, or goes on. */
  readonly onPaused: (isPaused: boolean) => void;
}

/**
 * Linux opens a TCP window that was full once a sixteenth of the receive buffer is free again. That buffer has 6 MB at most
 * (net.ipv4.tcp_rmem), unless the system is told otherwise.
 */
const SIP_BYTES = 1 << 20;
/** Maximum bytes that are read beyond the bound. After them the server may end the connection. */
const SIPS_BYTES_MAX = 32 << 20;
/** How many times a paused socket is read within tcp_user_timeout. */
const SIPS_IN_TIMEOUT = 3;

export class Intake {
  readonly #options: IntakeOptions;
  /** Tables that the connection has described. */
  readonly tables = new DescribedTables();
  readonly #backlog = new Backlog();
  #line: Line | undefined;
  #isHeld = false;
  #isReady = false;
  #isStopped = false;
  #isPaused = false;
  #serverEnd: Lsn = 0;
  #sipTimer: NodeJS.Timeout | undefined;
  /** The socket is paused again when so much waits. */
  #sipUntil = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** The socket is paused because too much waits. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Packets are handed over, or will be when the handler is released. */
  get isReady(): boolean {
    return this.#isReady;
  }

  get backlogBytes(): number {
    return this.#backlog.bytes;
  }

  /** Where the server's WAL ended, as last heard. */
  get serverEnd(): Lsn {
    return this.#serverEnd;
  }

  /** A connection begins at `from`. What it sends waits until `ready`. `tcpUserTimeoutMs` is the server's; 0: none. */
  open(line: Line, from: Lsn, tcpUserTimeoutMs: number): void {
    this.#line = line;
    this.#serverEnd = from;
    this.tables.clear();
    if (tcpUserTimeoutMs > 0)
      this.#sipTimer = setInterval(() => this.#sip(), Math.max(1, tcpUserTimeoutMs / SIPS_IN_TIMEOUT));
  }

  ready(): void {
    this.#isReady = true;
    this.#drain();
  }

  /** The connection has ended. What was not handed over will be sent again. */
  close(): void {
    clearInterval(this.#sipTimer);
    this.#isReady = false;
    this.#isPaused = false;
    this.#backlog.clear();
    this.#line = undefined;
  }

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#drain();
  }

  /** Nothing is handed over any more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** One packet. */
  receive(buffer: Buffer, start: number, end: number): void {
    if (this.#isStopped) return;
    if (buffer[start] === XLOG_DATA) this.tables.note(buffer, start + XLOG_DATA_HEADER_BYTES, end);
    else if (buffer[start] === KEEPALIVE && readKeepalive(buffer, start).wantsReply) this.#line?.onAsked();
    if (this.#isTaking && this.#backlog.length === 0) return this.#take(buffer, start, end);
    this.#backlog.push(buffer.subarray(start, end));
    if (this.#isPaused) {
      if (this.#backlog.bytes >= this.#sipUntil) this.#line?.pause();
    } else if (this.#backlog.bytes > this.#options.backlogBytesMax) this.#pause(true);
  }

  /** The packets that had arrived together have been received. */
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
    this.#sipUntil = 0;
    this.#line?.onPaused(isPaused);
    if (isPaused) this.#line?.pause();
    else this.#line?.resume();
  }

  #sip(): void {
    const { backlogBytesMax } = this.#options;
    if (!this.#isPaused || this.#isStopped || this.#backlog.bytes >= backlogBytesMax + SIPS_BYTES_MAX) return;
    this.#sipUntil = this.#backlog.bytes + SIP_BYTES;
    this.#line?.resume();
  }

  /** As if it came now: no more together than one read brings, since the handler may be held after each packet. */
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

  /** What comes after a message that could not be handled must not be taken, let alone acknowledged. */
  #giveUp(error: unknown): void {
    this.#isStopped = true;
    this.#options.onBug(error);
  }
}
