/** A channel as a stream of events. */
import type { SnapshotRow } from '../protocol.ts';
import { Emitter } from './emitter.ts';
import { type SnoClientError, toError } from './error.ts';
import type { Commit, Message } from './event.ts';
import { Handle } from './handle.ts';
import type { ChannelStatus, ClientResetReason, Delivery, Item } from './state/machine.ts';

export interface ChannelEvents<Row> {
  /** One transaction's changes to this channel, whole, in commit order. */
  change: Commit<Row>;
  /** A message that the app published. */
  message: Message;
  /** The rows at one point, if `snapshot` was requested. Later events continue from there. */
  snapshot: { readonly rows: readonly SnapshotRow<Row>[]; readonly position: string };
  /**
   * State built from earlier events is void. The channel continues by itself: from now, or with a
   * new snapshot.
   */
  reset: { readonly reason: ClientResetReason };
  /**
   * The position to pass as `since`, to continue after everything delivered so far. Store it
   * together with your work up to it. Comes after each commit and message, and with heartbeats, so
   * that it advances on a quiet channel too.
   */
  position: { readonly position: string };
  status: { readonly status: ChannelStatus; readonly error: SnoClientError | undefined };
}

export interface ChannelOptions {
  /** Begin with the rows (`snapshot` event), and again after each reset. */
  readonly snapshot?: boolean | undefined;
  /**
   * Begin after this position, that of an earlier event. For the first handle of a channel. `null`,
   * as `localStorage` gives it, means no position.
   */
  readonly since?: string | null | undefined;
  /** If access is denied or revoked, retry until it is granted. Default: false. */
  readonly waitForAccess?: boolean | undefined;
  /**
   * Whether updates and deletes carry the row as it was, as `old`, where the server has it (replica
   * identity full). Other handles of the channel receive it too. Default: false.
   */
  readonly old?: boolean | undefined;
}

/** A channel's events: from now on, or from where `ChannelOptions` says. */
export interface Channel<Row = unknown> {
  readonly channel: string;
  readonly status: ChannelStatus;
  readonly error: SnoClientError | undefined;
  readonly position: string | undefined;
  /** Resolves when the channel is first live. Rejects with a SnoClientError if it ends before. */
  readonly ready: Promise<void>;
  /** Returns a function that removes the listener. */
  on<Name extends keyof ChannelEvents<Row>>(
    name: Name,
    listener: (event: ChannelEvents<Row>[Name]) => void,
  ): () => void;
  close(): void;
}

export class ChannelHandle<Row> extends Handle implements Channel<Row> {
  readonly #emitter = new Emitter<ChannelEvents<Row>>();

  on<Name extends keyof ChannelEvents<Row>>(
    name: Name,
    listener: (event: ChannelEvents<Row>[Name]) => void,
  ): () => void {
    return this.#emitter.on(name, listener);
  }

  protected override tell(delivery: Delivery<Row>): void {
    switch (delivery.kind) {
      case 'joined': {
        const { rows, position } = delivery;
        if (rows !== undefined && this.want === 'snapshot') this.#emitter.emit('snapshot', { rows, position });
        for (const item of delivery.items) this.#tellItem(item);
        break;
      }
      case 'reset':
        this.#emitter.emit('reset', { reason: delivery.reason });
        break;
      case 'status':
        this.#emitter.emit('status', { status: delivery.status, error: delivery.failure && toError(delivery.failure) });
        break;
      case 'commit':
      case 'message':
        this.#tellItem(delivery);
        break;
      case 'position':
        this.#emitter.emit('position', { position: delivery.position });
        break;
      case 'reached':
        break;
    }
  }

  protected override silence(): void {
    this.#emitter.clear();
  }

  #tellItem(item: Item<Row>): void {
    if (item.kind === 'commit') this.#emitter.emit('change', item.commit);
    else this.#emitter.emit('message', item.message);
  }
}
