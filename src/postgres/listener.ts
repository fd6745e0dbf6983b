/**
 * LISTEN on a connection of its own, which is made again whenever it breaks. What is notified while it is broken is lost:
 * that is what pg_notify promises.
 */
import type pg from 'pg';
import type { Logger } from '../logger.ts';
import { createClient, databaseError, timed } from './connect.ts';
import { quoteIdentifier } from './quote.ts';

export interface ListenerOptions {
  readonly url: string;
  readonly channel: string;
  readonly logger: Logger;
  readonly onNotification: (payload: string) => void;
  readonly retryMs: (attempt: number) => number;
}

/** How often it is asked whether the connection lives, and how long the answer may take. */
const PING_MS = 30_000;

export class Listener {
  readonly #options: ListenerOptions;
  #client: pg.Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pinger: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Resolves when it listens; throws a SnoError where the first connection cannot be made. */
  async start(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      throw databaseError(error);
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#pinger);
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  async #connect(): Promise<void> {
    const { url, channel, onNotification } = this.#options;
    const client = createClient(url, 'notify');
    client.on('error', (error) => this.#broken(client, error));
    client.on('end', () => this.#broken(client, undefined));
    client.on('notification', ({ payload }) => onNotification(payload ?? ''));
    await client.connect();
    await client.query(timed(`listen ${quoteIdentifier(channel)}`, PING_MS));
    this.#client = client;
    this.#pinger = setInterval(() => this.#ping(client), PING_MS);
  }

  /** Nothing may come for days: only so it is noticed that nothing can. */
  #ping(client: pg.Client): void {
    client.query(timed('select', PING_MS)).catch((error: Error) => this.#broken(client, error));
  }

  #broken(client: pg.Client, error: Error | undefined): void {
    if (this.#isStopped || this.#client !== client) return;
    this.#client = undefined;
    clearInterval(this.#pinger);
    client.end().catch(() => undefined);
    this.#options.logger.warn({ error: error?.message }, 'notifications: the connection broke, connecting again');
    this.#retry(0);
  }

  #retry(attempt: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#connect().catch(() => this.#retry(attempt + 1));
    }, this.#options.retryMs(attempt));
  }
}
