/** The members of every handle on a channel: status, error, position, ready, close. */
import type { Connection } from './connection.ts';
import { checkText, SnoClientError, toError } from './error.ts';
import type { OpenOptions } from './options.ts';
import type { ChannelStatus, Delivery, Want } from './state/machine.ts';
import { statusOf } from './state/turn.ts';
import type { Listener } from './topics.ts';

export abstract class Handle implements Listener {
  readonly channel: string;
  readonly want: Want;
  /** Resolves when the channel is first live. Rejects if it ends before, or is refused. */
  readonly ready: Promise<void>;
  protected readonly connection: Connection;
  #isClosed = false;
  #resolve: () => void = () => {};
  #reject: (error: SnoClientError) => void = () => {};

  constructor(connection: Connection, channel: string, want: Want) {
    this.connection = connection;
    this.channel = channel;
    this.want = want;
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A caller that does not use `ready` need not catch its rejection.
    this.ready.catch(() => {});
  }

  /** Joins the channel. Separate from the constructor, since deliveries may arrive at once. */
  begin(options: OpenOptions = {}): this {
    const { connection, channel } = this;
    checkText('The name of a channel', channel);
    if (options.since !== undefined) checkText('`since`', options.since);
    if (connection.status === 'closed') throw new SnoClientError('closed', 'The client is closed: connect again.');
    if (options.since !== undefined && connection.isUsed(channel)) {
      throw new SnoClientError('channel_open', `\`since\` needs ${channel} for itself: close its other handles first.`);
    }
    connection.open(this, options);
    this.#settle();
    return this;
  }

  get status(): ChannelStatus {
    return this.#isClosed ? 'closed' : statusOf(this.connection.subscription(this.channel));
  }

  /** Why the status is `error` or `closed`. */
  get error(): SnoClientError | undefined {
    if (this.#isClosed) return new SnoClientError('closed', 'The handle was closed.');
    const ending = this.connection.subscription(this.channel)?.ending;
    return ending === undefined ? undefined : toError(ending.failure);
  }

  /**
   * The position of the last whole commit or message, or of the last heartbeat after it. Undefined:
   * nothing to resume from.
   */
  get position(): string | undefined {
    return this.connection.subscription(this.channel)?.position;
  }

  /**
   * Ends the handle; the last one of a channel ends its subscription. A second call does nothing.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.connection.shut(this);
    this.#settle();
    this.silence();
  }

  hear(delivery: Delivery): void {
    if (this.#isClosed) return;
    this.tell(delivery);
    if (delivery.kind === 'status') this.#settle();
  }

  protected abstract tell(delivery: Delivery): void;
  /** Removes all listeners. */
  protected abstract silence(): void;

  #settle(): void {
    const { status, error } = this;
    if (status === 'live') this.#resolve();
    else if (error !== undefined && (this.#isClosed || this.connection.subscription(this.channel)?.ending?.rejects))
      this.#reject(error);
  }
}
