/** Checks again whether a client may receive a channel. */
import type { UnsubscribedCode } from '../../protocol.ts';
import type { Verdict } from '../fanout.ts';
import type { Subscription } from '../subscription.ts';

/** The connection that the subscription belongs to. */
export interface CheckedConnection {
  unsubscribe(name: string, code: UnsubscribedCode, verdict?: Verdict): boolean;
}

/** Ends the subscription if its grant no longer allows the channel. Never rejects. */
export function checkAccess(connection: CheckedConnection, subscription: Subscription): Promise<void> {
  const { channel, grant } = subscription;
  if (subscription.isEnded) return Promise.resolve();
  return grant.stillAllowed(channel).then((verdict) => {
    // The client may have left the channel meanwhile.
    if (verdict === true || subscription.isEnded) return;
    const code = verdict === 'dropped' ? 'channel_dropped' : 'access_revoked';
    connection.unsubscribe(subscription.name, code, verdict);
  });
}
