/** Starts the load client (load-client.ts) and asks it. */
import type { DialectName } from './dialects.ts';
import { type Child, delay, start } from './processes.ts';

export interface LoadOptions {
  readonly port: number;
  readonly dialect: DialectName;
  readonly clients: number;
  /** How many of them read what they get; of the others bytes are counted. */
  readonly readers: number;
  /** `{}` stands for the channel's number. */
  readonly channel: string;
  readonly firstChannel: number;
  readonly channelsEach: number;
  readonly token: string;
  readonly since?: string | undefined;
  /** How many connect at the same time. */
  readonly concurrency: number;
  /** Whether it offers compression; then compressed frames are counted, not events. */
  readonly compresses: boolean;
  /** Whether all but the first resume its TLS session, as clients do that come back. */
  readonly resumesSession: boolean;
  /** Stands once in each event. */
  readonly needle: string;
  /** Behind the needle stands when the event was made. */
  readonly isTimed: boolean;
}

export interface LoadReport {
  /** When bytes came last, in ms since 1970. */
  readonly at: number;
  /** Since the client started. */
  readonly seconds: number;
  /** From the first event to the last bytes. */
  readonly burstSeconds: number;
  /** Events that every reader has got. */
  readonly readerEvents: number;
  /** Of all readers. */
  readonly events: number;
  /** Of all subscribers, of ciphertext. */
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
  dialect: 'sno',
  clients: 1,
  readers: 20,
  channel: 'notes:1',
  firstChannel: 1,
  channelsEach: 1,
  concurrency: 100,
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

  /** All are subscribed. */
  ready(): Promise<LoadReport> {
    return this.#answer('ready');
  }

  /** Counts from nothing. */
  reset(): Promise<LoadReport> {
    this.#child.tell('reset');
    return this.#answer('reset');
  }

  /** Waits until every subscriber has got so many events that `send` makes, and counts from nothing. */
  async warmUp(events: number, send: () => unknown): Promise<void> {
    const complete = this.complete(events);
    await send();
    await complete;
    // what the server still does after the last byte belongs to it
    await delay(WARM_UP_SETTLE_MS);
    await this.reset();
  }

  report(): Promise<LoadReport> {
    this.#child.tell('report');
    return this.#answer('report');
  }

  /** Resolves when every subscriber has got so many events. */
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
