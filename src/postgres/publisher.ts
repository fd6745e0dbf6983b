/**
 * Publishes messages by sno.publish. All waiting messages are one transaction. Transactions run one
 * after the other, so that they never take more than one connection.
 */
import type pg from 'pg';

export interface Publication {
  readonly channel: string;
  readonly event: string;
  /** JSON text. */
  readonly data: string;
  /** The socket id of the Pusher client that does not receive it. Undefined: all clients do. */
  readonly except: string | undefined;
}

interface Waiting {
  readonly messages: readonly Publication[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const PUBLISH = `
  select sno.publish(channel, data, event, except_socket)
  from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as messages (channel, data, event, except_socket)`;

export class Publisher {
  readonly #pool: Pick<pg.Pool, 'query'>;
  #waiting: Waiting[] = [];
  #isBusy = false;

  constructor(pool: Pick<pg.Pool, 'query'>) {
    this.#pool = pool;
  }

  /** Resolves when the messages are committed, all together. */
  publish(messages: readonly Publication[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ messages, resolve, reject });
      if (!this.#isBusy) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      const messages = batch.flatMap((each) => each.messages);
      const columns = [
        messages.map(({ channel }) => channel),
        messages.map(({ data }) => data),
        messages.map(({ event }) => event),
        messages.map(({ except = null }) => except),
      ];
      try {
        await this.#pool.query(PUBLISH, columns);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#isBusy = false;
  }
}
