/**
 * Messages sent by pg_notify. They do not arrive through the WAL, and may overtake earlier commits.
 * So each message waits for a marker that was put into the WAL after the message arrived. By then
 * the stream has delivered every commit that the sender saw, including commits that revoke access.
 */
import { type Notification, parseNotification } from '../channels/published.ts';
import type { Markers } from '../markers/markers.ts';

/** Why a message is not delivered. */
type Dropped = 'payload_malformed' | 'channel_unknown' | 'too_many_waiting';

export interface NotificationsOptions {
  readonly markers: Pick<Markers, 'expect'>;
  /** Maximum bytes of waiting messages: the stream may be far behind. */
  readonly waitingBytesMax: number;
  /** Adds the message to the journal. Returns false if no view defines its channel. */
  readonly publish: (notification: Notification) => boolean;
  /**
   * Called when a message was dropped. `isFirst` is false while messages drop one after another.
   */
  readonly dropped: (reason: Dropped, channel: string | undefined, isFirst: boolean) => void;
}

export class Notifications {
  readonly #options: NotificationsOptions;
  #waitingBytes = 0;
  #isFull = false;

  constructor(options: NotificationsOptions) {
    this.#options = options;
  }

  /** Call when a notification with this payload arrived. */
  receive(payload: string): void {
    const { markers, waitingBytesMax, dropped } = this.#options;
    const notification = parseNotification(payload);
    if (notification === undefined) return dropped('payload_malformed', undefined, true);
    const bytes = Buffer.byteLength(payload);
    if (this.#waitingBytes + bytes > waitingBytesMax) {
      dropped('too_many_waiting', notification.channel, !this.#isFull);
      this.#isFull = true;
      return;
    }
    this.#waitingBytes += bytes;
    markers.expect(() => this.#publish(notification, bytes));
  }

  #publish(notification: Notification, bytes: number): void {
    this.#waitingBytes -= bytes;
    this.#isFull = false;
    if (!this.#options.publish(notification)) this.#options.dropped('channel_unknown', notification.channel, true);
  }
}
