/** Checks whether a client may join a channel, as a subscription does. */
import type { Claims, Member } from '../../access/access.ts';
import type { SnoError } from '../../errors.ts';
import { type AttemptServices, SubscribeAttempt } from '../subscribe-attempt.ts';

/**
 * `appears`: whether the client is to appear. Returns the member that it would be, or why it may
 * not join. Undefined: it may, without appearing.
 */
export function mayJoin(
  channel: string,
  claims: Claims,
  address: string,
  services: AttemptServices,
  appears = false,
): Promise<Member | SnoError | undefined> {
  return new Promise((resolve) => {
    const session = {
      claims,
      address,
      isCurrent: () => true,
      allow: ({ member }: SubscribeAttempt) => resolve(member),
      refuseAttempt: (_attempt: SubscribeAttempt, error: SnoError) => resolve(error),
    };
    const wish = { channel, ...(appears ? { presence: true as const } : {}) };
    void new SubscribeAttempt(session, services, { kind: 'now' }, wish).run();
  });
}
