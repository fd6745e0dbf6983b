/** Receives messages by pg_notify, orders them among commits, and appends them. */
import { backoff } from '../backoff.ts';
import type { ChannelRegistry } from '../channels/definitions/registry.ts';
import type { CommitBuilder } from '../commit/builder.ts';
import { Notifications } from '../commit/notifications.ts';
import { LogThrottle } from '../logger.ts';
import type { Markers } from '../markers/markers.ts';
import { Listener } from '../postgres/listener.ts';
import { steadyNow } from '../steady-clock.ts';
import type { IngestOptions } from './ingest-options.ts';

/** Maximum bytes of waiting pg_notify messages while the stream is behind. */
const NOTIFICATIONS_BYTES_MAX = 16 << 20;
const HINT_OF_NOTIFICATION = 'Send a payload that docs/protocol.md describes, to a channel that a view has.';

export interface NotifiedOptions extends Pick<IngestOptions, 'databaseUrl' | 'logger' | 'metrics'> {
  readonly builder: CommitBuilder;
  readonly registry: ChannelRegistry;
  readonly markers: Markers;
}

/** Returns the listener, which is not started yet. */
export function listenForMessages(options: NotifiedOptions): Listener {
  const { databaseUrl, logger, metrics, markers, builder, registry } = options;
  const { events, patterns, messagesDropped } = metrics;
  const throttle = new LogThrottle(steadyNow);
  const notifications = new Notifications({
    markers,
    waitingBytesMax: NOTIFICATIONS_BYTES_MAX,
    publish: ({ channel, event, data }) => {
      const pattern = registry.patternOf(channel);
      if (pattern === undefined) return false;
      events.message.inc();
      const counts = patterns.of(pattern);
      counts.events++;
      counts.lastEventAt = Math.floor(Date.now() / 1_000);
      builder.notification(pattern, channel, event, data);
      return true;
    },
    dropped: (reason, channel, isFirst) => {
      messagesDropped[reason].inc();
      if (isFirst)
        throttle.log(reason, () =>
          logger.warn(
            { code: 'messages_dropped', reason, channel, hint: HINT_OF_NOTIFICATION },
            'a notification was dropped',
          ),
        );
    },
  });
  return new Listener({
    url: databaseUrl,
    channel: 'sno',
    logger,
    onNotification: (payload) => notifications.receive(payload),
    retryMs: (attempt) => backoff(attempt, Math.random()),
  });
}
