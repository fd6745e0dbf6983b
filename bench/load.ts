/** Starts the load client (load-client.ts) and sends it commands. */
import type { DialectName } from './dialects.ts';
import { type Child, delay, start } from './processes.ts';

export interface LoadOptions {
  readonly port: number;
  /** Whether the clients connect without TLS, as a proxy that terminates TLS does. */
  readonly isPlain: boolean;
  readonly dialect: DialectName;
  readonly clients: number;
  /** How many subscribers read their events. The bytes of the others are counted. */
  readonly readers: number;
  /** Channel name; `{}` stands for the channel's number. */
  readonly channel: string;
  readonly firstChannel: number;
  readonly channelsEach: number;
  readonly token: string;
  /** Signs a token of its own for each client. Undefined: all clients have the same token. */
  readonly secret?: string | undefined;
  readonly since?: string | undefined;
  /** How many clients connect at the same time. */
  readonly concurrency: number;
  /**
   * How many of them at most begin in one turn of the load client's loop. In the others it reads
   * and answers.
   */
  readonly perTurn: number;
  /**
   * Whether the clients offer compression. If so, compressed frames are counted instead of events.
   */
  readonly compresses: boolean;
  /** Whether all but the first resume its TLS session, as returning clients do. */
  readonly resumesSession: boolean;
  /** Text that occurs once in each event. */
  readonly needle: string;
  /** Whether the needle is followed by the time when the event was made. */
  readonly isTimed: boolean;
}

export interface LoadReport {
  /** When the last bytes came, in ms since 1970. */
  readonly at: number;
  /** Seconds since the client started. */
  readonly seconds: number;
  /** Seconds from the first event to the last bytes. */
  readonly burstSeconds: number;
  /** Events that every reader has received. */
  readonly readerEvents: number;
  /** Number of subscribers that read their events. */
  readonly readers: number;
  /** Events of all readers together. */
  readonly events: number;
  /** Bytes of ciphertext of all subscribers. */
  readonly bytes: number;
  /** Connections that ended before they were subscribed. */
  readonly retries: number;
  /** Ages of events in ms. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export const EVENT_NEEDLE = '{"op":';
export const COMMIT_NEEDLE = '"committed_at":"';

const DEFAULTS = {
  isPlain: false,
  dialect: 'sno',
  clients: 1,
  readers: 20,
  channel: 'notes:1',
  firstChannel: 1,
  channelsEach: 1,
  concurrency: 100,
  perTurn: 1_000_000,
  compresses: false,
  resumesSession: false,
  needle: EVENT_NEEDLE,
  isTimed: false,
} as const satisfies Partial<LoadOptions>;

const WARM_UP_SETTLE_MS = 100;

export class Load {
  readonly #child: Child;

  constructor(options: Partial<LoadOptions> & Pick<LoadOptions, 'port' | 'token'>) {
    this.#child = start(process.execPath, ['dist/bench/load-client.js', JSON.stringify({ ...DEFAULTS, ...options })]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when all clients are subscribed. */
  ready(): Promise<LoadReport> {
    return this.#answer('ready');
  }

  /** Sets all counters to zero. */
  reset(): Promise<LoadReport> {
    this.#child.tell('reset');
    return this.#answer('reset');
  }

  /**
   * Waits until every subscriber has received the `events` events that `send` makes, and then
   * resets the counters.
   */
  async warmUp(events: number, send: () => unknown): Promise<void> {
    const complete = this.complete(events);
    await send();
    await complete;
    // the server's work after the last byte belongs to the warm-up
    await delay(WARM_UP_SETTLE_MS);
    await this.reset();
  }

  report(): Promise<LoadReport> {
    this.#child.tell('report');
    return this.#answer('report');
  }

  /** Resolves when every subscriber has received `events` events. */
  complete(events: number): Promise<LoadReport> {
    this.#child.tell(String(events));
    return this.#answer('complete');
  }

  end(): Promise<void> {
    return this.#child.kill();
  }

  async #answer(kind: string): Promise<LoadReport> {
    return JSON.parse(await this.#child.line((line) => line.includes(`"${kind}":true`))) as LoadReport;
  }
}
