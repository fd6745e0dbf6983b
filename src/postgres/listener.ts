/**
 * LISTEN on a connection of its own, which is renewed whenever it breaks. Notifications during the
 * gap are lost, as pg_notify documents.
 */
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { createClient, databaseError, timed } from './connect.ts';
import { quoteIdentifier, quoteLiteral } from './quote.ts';
import type { Session } from './session.ts';

const POOLER_HINT = 'Let SNO_DATABASE_URL name Postgres itself, if the app uses pg_notify.';
const BROKEN_HINT = 'Messages by pg_notify are lost until it is back. Use sno.publish for those that matter.';

export interface ListenerOptions {
  readonly url: string;
  readonly channel: string;
  readonly logger: Logger;
  readonly onNotification: (payload: string) => void;
  readonly retryMs: (attempt: number) => number;
}

/** Interval between checks that the connection lives, and how long the answer may take, in ms. */
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

  /**
   * Resolves when it listens, or was stopped. Throws a SnoError if the first connection fails.
   */
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
    if (this.#isStopped) return;
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
    // `stop` did not know this connection
    if (this.#isStopped) return client.abandon();
    this.#client = client;
    if (client.isPooled)
      this.#options.logger.warn(
        { hint: POOLER_HINT },
        'notifications: a pooler between Snö and Postgres may lose them',
      );
    this.#pinger = setInterval(() => this.#ping(client), PING_MS);
  }

  /** Notifications may be days apart, so only a query shows that the connection still works. */
  #ping(client: Session): void {
    this.#check(client).catch((error: Error) => this.#broken(client, error));
  }

  /** Behind a pooler another session may answer, which does not listen. */
  async #check(client: Session): Promise<void> {
    const { channel } = this.#options;
    const sql = `select from pg_catalog.pg_listening_channels() c where c operator(pg_catalog.=) ${quoteLiteral(channel)}`;
    const { rowCount } = await client.query(timed(sql, PING_MS));
    if (rowCount === 0)
      throw new SnoError(
        'session_settings',
        `the session does not listen to ${channel} any more: a pooler gave a different session`,
      );
  }

  #broken(client: Session, error: Error | undefined): void {
    if (this.#isStopped || this.#client !== client) return;
    this.#client = undefined;
    clearInterval(this.#pinger);
    client.end().catch(() => undefined);
    this.#options.logger.warn(
      { error: error?.message, hint: BROKEN_HINT },
      'notifications: the connection broke, reconnecting',
    );
    this.#retry(0);
  }

  #retry(attempt: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#connect().catch(() => this.#retry(attempt + 1));
    }, this.#options.retryMs(attempt));
  }
}
