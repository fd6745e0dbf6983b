/**
 * LISTEN on a connection of its own, which is made again whenever it breaks. What is notified while it is broken is lost:
 * that is what pg_notify promises.
 */
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { createClient, databaseError, timed } from './connect.ts';
import { quoteIdentifier, quoteLiteral } from './quote.ts';
import type { Session } from './session.ts';

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
  #client: Session | undefined;
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
    try {
      await client.query(timed(`listen ${quoteIdentifier(channel)}`, PING_MS));
      await this.#check(client);
    } catch (error) {
      client.abandon();
      throw error;
    }
    this.#client = client;
    if (client.isPooled)
      this.#options.logger.warn('notifications: a pooler stands between Snö and Postgres, and may lose them');
    this.#pinger = setInterval(() => this.#ping(client), PING_MS);
  }

  /** Nothing may come for days: only so it is noticed that nothing can. */
  #ping(client: Session): void {
    this.#check(client).catch((error: Error) => this.#broken(client, error));
  }

  /** Behind a pooler another session may answer, which listens to nothing. */
  async #check(client: Session): Promise<void> {
    const { channel } = this.#options;
    const sql = `select from pg_catalog.pg_listening_channels() c where c operator(pg_catalog.=) ${quoteLiteral(channel)}`;
    const { rowCount } = await client.query(timed(sql, PING_MS));
    if (rowCount === 0)
      throw new SnoError(
        'session_settings',
        `the session does not listen to ${channel} any more: a pooler gave another one`,
      );
  }

  #broken(client: Session, error: Error | undefined): void {
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
