/**
 * Messages by pg_notify. They do not come by the WAL, and may overtake commits that were there before them. So each waits until
 * a marker that was put into the WAL after it came has come out of the stream: every commit that its sender saw has been told of
 * before it, one that took access away among them.
 */
import { type Notification, parseNotification } from '../channels/published.ts';
import type { Markers } from './markers.ts';

/** Why a message reaches nobody. */
type Dropped = 'payload_malformed' | 'channel_unknown' | 'too_many_waiting';

export interface NotificationsOptions {
  readonly markers: Pick<Markers, 'expect'>;
  /** Bytes of messages that may wait: the stream may be far behind. */
  readonly waitingBytesMax: number;
  /** Puts it into the journal; false where no view makes its channel. */
  readonly publish: (notification: Notification) => boolean;
  /** `isFirst` is false where others were dropped for the same lack of room right before. */
  readonly dropped: (reason: Dropped, channel: string | undefined, isFirst: boolean) => void;
}

export class Notifications {
  readonly #options: NotificationsOptions;
  #waitingBytes = 0;
  #isFull = false;

  constructor(options: NotificationsOptions) {
    this.#options = options;
  }

  /** A payload has been notified. */
  came(payload: string): void {
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
